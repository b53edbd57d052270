#!/usr/bin/env bash
# Runs that are stopped, killed or damaged, and go on: what comes out is what an undisturbed run gives, bit for bit.
# Usage: test_resume.sh FOLDER_OF_THE_BINARIES
. "$(dirname "$0")/command_line.sh"

flags=(--variant complex --epochs 6 --limit-train 1500 --limit-eval 200 --batch-size 16 --augment flip-rotate --threads 1
  --eval-every 40 --save-every 25 --keep-checkpoints 2 --label-smoothing 0.1)
figures() { sed -E 's/,"seconds":[^,]*//; s/,"eval_(runtime|samples_per_second|steps_per_second)":[^,}]*//g' "$1/metrics.jsonl"; }
alike() { # FOLDER: ended as the undisturbed run did
  for file in model.safetensors best.safetensors; do
    cmp -s "$work/whole/$file" "$work/$1/$file" || fail "$file differs from the undisturbed run's"
  done
  same "$(figures "$work/$1" | cksum)" "$(figures "$work/whole" | cksum)" "metrics"
}
newest() { ls "$work/$1/checkpoints" | sort -t- -k2 -n | tail -n 1; }

start=$(date +%s%N)
call 0 mnist_mlp "${flags[@]}" --out "$work/whole" --json
took=$((($(date +%s%N) - start) / 1000000))
same "$(ls "$work/whole/checkpoints" | sort -t- -k2 -n | tr '\n' ' ')" "step-525.safetensors step-550.safetensors " "the checkpoints kept"
same "$(grep -c train_loss "$work/whole/metrics.jsonl")" 564 "steps"

# Killed anywhere, twenty times, and gone on each time.
RANDOM=7
killed=0
for i in $(seq 20); do
  rm -rf "$work/killed"
  "$bin/mnist_mlp" "${flags[@]}" --out "$work/killed" --json >"$work/out" 2>"$work/err" &
  sleep "$(printf '0.%03d' $((RANDOM % (took < 999 ? took : 999))))"
  kill -KILL $! 2>/dev/null && [ ! -e "$work/killed/summary.json" ] && killed=$((killed + 1))
  wait $! 2>/dev/null
  [ ! -e "$work/killed/summary.json" ] || continue
  if [ -z "$(ls "$work"/killed/checkpoints/*.safetensors 2>/dev/null)" ]; then # before the first checkpoint there is nothing to go on from
    rm -rf "$work/killed"
    continue
  fi
  call 0 mnist_mlp --resume "$work/killed" --json
  alike killed
done
[ $killed -ge 12 ] || fail "only $killed of 20 runs were killed before their end"

# One run killed again and again.
"$bin/mnist_mlp" "${flags[@]}" --out "$work/often" --json >"$work/out" 2>"$work/err" &
sleep 0.3
kill -KILL $!
wait $! 2>/dev/null
for i in $(seq 40); do
  [ ! -e "$work/often/summary.json" ] || break
  "$bin/mnist_mlp" --resume "$work/often" --json >"$work/out" 2>"$work/err" &
  sleep 0.$((2 + RANDOM % 4))
  kill -KILL $! 2>/dev/null
  wait $! 2>/dev/null
done
[ -e "$work/often/summary.json" ] || call 0 mnist_mlp --resume "$work/often" --json
case="killed often"
alike often

# Asked to stop.
for signal in TERM INT; do
  rm -rf "$work/asked"
  case="stopped by SIG$signal"
  # A shell that is not interactive starts background jobs with SIGINT ignored.
  env --default-signal=INT "$bin/mnist_mlp" "${flags[@]}" --out "$work/asked" >"$work/out" 2>"$work/err" &
  until [ -s "$work/asked/metrics.jsonl" ]; do sleep 0.02; done # it listens by then, however busy the machine is
  kill -$signal $!
  wait $! || fail "exit code $?, expected 0"
  if [ -e "$work/asked/summary.json" ]; then continue; fi
  says "go on with: mnist_mlp --resume $work/asked" "$work/err"
  call 0 mnist_mlp --resume "$work/asked" --json
  alike asked
done

# A damaged checkpoint falls back to the one before.
halfway() { # a run that stopped between its checkpoints
  rm -rf "$work/half"
  cp -r "$work/whole" "$work/half"
  rm "$work/half/summary.json" "$work/half/model.safetensors"
}
halfway
printf '\1\2\3' | dd of="$work/half/checkpoints/$(newest half)" bs=1 seek=300000 conv=notrunc status=none
call 0 mnist_mlp --resume "$work/half" --json
says "note: $work/half/checkpoints/step-550.safetensors: the checksum does not match" "$work/err"
alike half
halfway
truncate -s 1000 "$work/half/checkpoints/$(newest half)"
printf '{"step":563,"train_lo' >>"$work/half/metrics.jsonl" # a line cut short
call 0 mnist_mlp --resume "$work/half" --json
says "going back to the checkpoint before" "$work/err"
alike half
halfway
for file in "$work"/half/checkpoints/*; do truncate -s 1000 "$file"; done
call 2 mnist_mlp --resume "$work/half" --json
says "holds no whole checkpoint" "$work/err"

# Without --save-every: a checkpoint an epoch while it runs, none afterwards.
call 0 mnist_mlp --limit-train 64 --limit-eval 32 --epochs 2 --out "$work/plain" --json
[ ! -e "$work/plain/checkpoints" ] || fail "checkpoints of a finished run were kept"

# What cannot be resumed.
halfway
refuse mnist_cnn "holds a run of mnist_mlp, expected mnist_cnn" --resume "$work/half"
refuse mnist_mlp "holds a finished run" --resume "$work/whole"
refuse mnist_mlp "--lr: expected only --threads and --json beside --resume" --resume "$work/half" --lr 0.1
refuse mnist_mlp "$work/none/config.json: cannot open" --resume "$work/none"
rm -r "$work/half/checkpoints"
refuse mnist_mlp "holds no checkpoint to resume from" --resume "$work/half"
halfway
head -n 20 "$work/half/metrics.jsonl" >"$work/short" && cp "$work/short" "$work/half/metrics.jsonl"
refuse mnist_mlp "metrics.jsonl: holds 20 of the first steps, expected 550" --resume "$work/half"

# A text model: its vocabulary comes from its folder.
texts=(--epochs 3 --limit-train 300 --limit-eval 50 --max-length 30 --embedding 8 --hidden 6 --save-every 4 --threads 1)
call 0 imdb_bilstm "${texts[@]}" --out "$work/texts-whole" --json
cp -r "$work/texts-whole" "$work/texts"
rm "$work/texts/summary.json" "$work/texts/model.safetensors"
rm "$work/texts/checkpoints/$(newest texts)"
call 0 imdb_bilstm --resume "$work/texts" --json
cmp -s "$work/texts-whole/model.safetensors" "$work/texts/model.safetensors" || fail "weights differ from the undisturbed run's"

finish "resume"
