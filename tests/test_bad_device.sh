#!/usr/bin/env bash
# A binary with a CUDA half where the device is missing, has another index, or is too small: one line, exit code 2, nothing left
# behind; and where it is there, a run that goes on. Usage: test_bad_device.sh FOLDER_OF_THE_BINARIES [RUNTIME_OF_THE_SIMULATED_GPU]
set -uo pipefail
bin=$(cd "$1" && pwd)
simulated=${2-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

checks=0
failures=0
case=
fail() {
  failures=$((failures + 1))
  echo "FAILED: $case: $*"
  sed 's/^/  out| /' out | head -n 3
  sed 's/^/  err| /' err | head -n 3
}
call() { # EXPECTED_CODE COMMAND ...
  case="${*:2}"
  checks=$((checks + 1))
  timeout 200 "${@:2}" >out 2>err
  local code=$?
  [ $code = "$1" ] || fail "exit code $code, expected $1"
}
refuse() { # EXPRESSION COMMAND ...
  call 2 "${@:2}"
  [ "$(wc -l <err)" = 1 ] || fail "expected one line on standard error"
  [ ! -s out ] || fail "expected nothing on standard output"
  grep -qE -- "^mnist_mlp: error: $1" err || fail "the line lacks: $1"
}
model=$bin/mnist_mlp
small=(--epochs 1 --limit-train 64 --limit-eval 16 --batch-size 16 --json)
# A machine with a GPU hides it; one without needs nothing of the kind.
without=(env -u LD_PRELOAD CUDA_VISIBLE_DEVICES=)
with=(env ${simulated:+LD_PRELOAD="$simulated"})

# Without a device the program starts, trains on the CPU, and says that there is none.
call 0 "${without[@]}" "$model" "${small[@]}" --out cpu
[ -s cpu/summary.json ] || fail "no summary"
for device in cuda cuda:0 cuda:7; do
  refuse "device '$device': no CUDA device: " "${without[@]}" "$model" "${small[@]}" --out none --device $device
  [ ! -e none ] || fail "left a run folder behind"
done

if ! "${with[@]}" "$model" "${small[@]}" --device cuda --out device >out 2>err; then
  if grep -q "no CUDA device" err; then
    echo "a wrong index and exhausted memory were not tried: no CUDA device"
  else
    case="training on cuda"
    fail "exit code $?"
  fi
else
  refuse "device 'cuda:64': expected an index below [0-9]+" "${with[@]}" "$model" "${small[@]}" --out none --device cuda:64
  [ ! -e none ] || fail "left a run folder behind"

  # A run that goes on from an earlier checkpoint, its data in the device's memory or brought there.
  for residence in host device; do
    call 0 "${with[@]}" "$model" "${small[@]}" --epochs 3 --save-every 3 --augment flip-rotate --device cuda --residence $residence --out whole-$residence
    cp -r whole-$residence half
    newest=$(ls half/checkpoints | sort -t- -k2 -n | tail -n 1)
    rm "half/checkpoints/$newest" half/summary.json half/model.safetensors
    call 0 "${with[@]}" "$model" --resume half --json
    cmp -s whole-$residence/model.safetensors half/model.safetensors || fail "$residence: other weights than the undisturbed run's"
    rm -r half
  done
fi

# 8 MB hold the parameters, not the batch; the same folder serves the next run.
if [ -n "$simulated" ]; then
  refuse "allocator: out of memory on cuda:0: requested [0-9]+ bytes, free [0-9]+, cached [0-9]+.*, live [0-9]+$" \
    "${with[@]}" SIMULATED_GPU_MEMORY=8M "$model" --epochs 1 --batch-size 5000 --json --device cuda --out full
  [ ! -e full ] || fail "left behind: $(ls full)"
  call 0 "${with[@]}" SIMULATED_GPU_MEMORY=8M "$model" "${small[@]}" --device cuda --out full
  [ -s full/summary.json ] || fail "no summary"
fi

if [ $failures = 0 ]; then echo "bad device: all $checks command lines behaved"; else echo "bad device: $failures checks failed"; exit 1; fi
