#!/usr/bin/env bash
# A binary with a CUDA half where the device is missing, has another index, or is too small: one line, exit code 2, nothing left
# behind; and where it is there, a run that goes on. Usage: test_bad_device.sh FOLDER_OF_THE_BINARIES [RUNTIME_OF_THE_SIMULATED_GPU]
. "$(dirname "$0")/command_line.sh"
simulated=${2-}
limit=200
refused() { # EXPRESSION FLAG ...
  call 2 mnist_mlp "${@:2}"
  [ "$(wc -l <"$work/err")" = 1 ] || fail "expected one line on standard error"
  [ ! -s "$work/out" ] || fail "expected nothing on standard output"
  shows "^mnist_mlp: error: $1" "$work/err"
}
small=(--epochs 1 --limit-train 64 --limit-eval 16 --batch-size 16 --json)
# A machine with a GPU hides it; one without needs nothing of the kind.
without=(env -u LD_PRELOAD CUDA_VISIBLE_DEVICES=)
with=(env ${simulated:+LD_PRELOAD="$simulated"})

# Without a device the program starts, trains on the CPU, and says that there is none.
launcher=("${without[@]}")
call 0 mnist_mlp "${small[@]}" --out cpu
[ -s cpu/summary.json ] || fail "no summary"
for device in cuda cuda:0 cuda:7; do
  refused "device '$device': no CUDA device: " "${small[@]}" --out none --device $device
  [ ! -e none ] || fail "left a run folder behind"
done

launcher=("${with[@]}")
if ! "${with[@]}" "$bin/mnist_mlp" "${small[@]}" --device cuda --out device >"$work/out" 2>"$work/err"; then
  if grep -q "no CUDA device" "$work/err"; then
    echo "a wrong index and exhausted memory were not tried: no CUDA device"
  else
    case="training on cuda"
    fail "exit code $?"
  fi
else
  refused "device 'cuda:64': expected an index below [0-9]+" "${small[@]}" --out none --device cuda:64
  [ ! -e none ] || fail "left a run folder behind"

  # A run that goes on from an earlier checkpoint, its data in the device's memory or brought there.
  for residence in host device; do
    call 0 mnist_mlp "${small[@]}" --epochs 3 --save-every 3 --augment flip-rotate --device cuda --residence $residence --out whole-$residence
    cp -r whole-$residence half
    newest=$(ls half/checkpoints | sort -t- -k2 -n | tail -n 1)
    rm "half/checkpoints/$newest" half/summary.json half/model.safetensors
    call 0 mnist_mlp --resume half --json
    cmp -s whole-$residence/model.safetensors half/model.safetensors || fail "$residence: other weights than the undisturbed run's"
    rm -r half
  done
fi

# 24 MB hold the parameters, not the batch; the same folder serves the next run.
if [ -n "$simulated" ]; then
  launcher=("${with[@]}" SIMULATED_GPU_MEMORY=24M)
  refused "allocator: out of memory on cuda:0: requested [0-9]+ bytes, free [0-9]+, cached [0-9]+.*, live [0-9]+$" \
    --epochs 1 --batch-size 5000 --json --device cuda --out full
  [ ! -e full ] || fail "left behind: $(ls full)"
  call 0 mnist_mlp "${small[@]}" --device cuda --out full
  [ -s full/summary.json ] || fail "no summary"
fi

finish "bad device"
