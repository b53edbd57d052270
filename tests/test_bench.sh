#!/usr/bin/env bash
# The benchmarks' command lines where there is no device: one line and exit code 2; on the CPU the keys of a line of JSON; on the
# simulated GPU counters and never a time. Usage: test_bench.sh FOLDER_OF_THE_BINARIES [RUNTIME_OF_THE_SIMULATED_GPU]
. "$(dirname "$0")/command_line.sh"
simulated=${2-}
limit=200
launcher=(env -u LD_PRELOAD CUDA_VISIBLE_DEVICES=)

for bench in bench_kernels bench_training; do
  call 2 "$bench" --device cuda
  [ "$(wc -l <"$work/err")" = 1 ] || fail "expected one line on standard error"
  [ ! -s "$work/out" ] || fail "expected nothing on standard output"
  shows "^$bench: device 'cuda': (no CUDA device: |this build has no CUDA half)" "$work/err"
  call 2 "$bench" --precision half
done
call 2 bench_training --precision bf16
shows '^bench_training: --precision bf16: cpu has no tensor cores' "$work/err"

call 0 bench_kernels --filter 'gemm nn 127x129x131' --seconds 0.01 --json kernels.jsonl
shows '^gemm +us +p10 - p90 +GFLOP/s +GB/s +% floor +error$'
for key in case shape dtype device implementation us p10 p90 gflops gbs floor_us pct_floor relative_error threads commit; do
  shows "\"$key\":" kernels.jsonl
done
shows '"device":"cpu"' kernels.jsonl

if [ -n "$simulated" ]; then
  counters='^[a-z].* launches +instructions +MB read +MB written +sectors +sectors/request +bank conflicts +divergent$'
  times='\bus\b|p10|GFLOP/s|GB/s|peer / ours|_ms|"(us|warm_us|gbs|gflops|pct_floor|step_ms|ratio)"'
  launcher=(env LD_PRELOAD="$simulated")
  call 0 bench_kernels --device cuda --filter 'gemm nn 127x129x131' --json kernels.jsonl
  shows "$counters"
  shows '^nn 127x129x131 +1 +[0-9]{7,} +[0-9.]+ +[0-9.]+ +[0-9]+ +[0-9.]+ +0 +[0-9]+  gemm$'
  shows ' cublaslt +absent$'
  hides "$times"
  hides "$times" kernels.jsonl
  for pattern in '"device":"simulated"' '"dtype":"f32"' '"peer":"absent"' '"peer_implementation":"cublaslt"' '"thread_instructions":[1-9]' \
    '"global_bytes_read":[1-9]' '"global_sectors":[1-9]' '"shared_bank_conflicts":0'; do
    shows "$pattern" kernels.jsonl
  done
  call 0 bench_kernels --device cuda --precision bf16 --filter '127x129x131'
  shows '^bf16 nn 127x129x131 .* gemm_tensor$'
  hides '^tf32|^nn'
  for precision in fp32 bf16; do
    call 0 bench_training --device cuda --model mlp --batch 8 --precision $precision
    shows "^mlp in $precision, batch 8, one step on the simulated GPU: counters and no times$"
    shows "$counters"
    shows '^adam +1 +[0-9]{5,} '
    hides "$times"
  done
  call 0 bench_training --device cuda --model mlp --batch 8 --json
  shows '"device":"simulated"'
  hides "$times"
fi

finish bench
