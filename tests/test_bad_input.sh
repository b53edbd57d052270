#!/usr/bin/env bash
# The command lines of the model binaries: what is wrong is refused with exit code 2 and one line, and nothing is written; what is
# right works. Usage: test_bad_input.sh FOLDER_OF_THE_BINARIES
. "$(dirname "$0")/command_line.sh"

# Small sets from the sample: 60 training and 30 test images.
sample=$root/datasets/samples/mnist
idx() { # COUNT PREFIX OF_FOLDER: the first COUNT images and labels
  printf "\\0\\0\\10\\3\\0\\0\\0\\$(printf %o "$1")\\0\\0\\0\\34\\0\\0\\0\\34" >"$3/$2-images-idx3-ubyte"
  gunzip -c "$sample/$2-images-idx3-ubyte.gz" | tail -c +17 | head -c $(($1 * 784)) >>"$3/$2-images-idx3-ubyte"
  printf "\\0\\0\\10\\1\\0\\0\\0\\$(printf %o "$1")" >"$3/$2-labels-idx1-ubyte"
  gunzip -c "$sample/$2-labels-idx1-ubyte.gz" | tail -c +9 | head -c "$1" >>"$3/$2-labels-idx1-ubyte"
}
mkdir "$work/good"
idx 60 train "$work/good"
idx 30 t10k "$work/good"
damage() { # NAME -> a copy of the good set, to be damaged
  cp -r "$work/good" "$work/$1"
  printf %s "$work/$1"
}
poke() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; } # FILE OFFSET BYTES

# Flags.
for model in mnist_cnn mnist_mlp cifar10_resnet18; do
  refuse $model "--no-such-flag" --no-such-flag
  refuse $model "surplus" surplus
  refuse $model "--lr" --lr
  refuse $model "expected one of: constant, linear, step, exponential, cosine, one-cycle" --schedule cosin
  refuse $model "factor" --schedule step --schedule-option factor=2
  refuse $model "every" --schedule step --schedule-option evry=2
  refuse $model "'every'" --schedule step --schedule-option every
  refuse $model "every" --schedule step --schedule-option every=2 --schedule-option every=3
  refuse $model "--batch-size is 0, expected 1 to 1000000000" --batch-size 0
  refuse $model "--batch-size is -64, expected 1 to 1000000000" --batch-size -64
  refuse $model "--epochs is 0, expected 1 to 1000000" --epochs 0
  refuse $model "--lr is -0.001, expected a positive number" --lr -0.001
  refuse $model "--lr is 0, expected a positive number" --lr 0
  refuse $model "--lr is nan, expected a positive number" --lr nan
  refuse $model "--lr is inf, expected a positive number" --lr inf
  refuse $model "--lr" --lr fast
  refuse $model "--epochs" --epochs 1.5
  refuse $model "--epochs is 9223372036854775807, expected 1 to 1000000" --epochs 9223372036854775807
  refuse $model "--batch-size is 9223372036854775807, expected 1 to 1000000000" --batch-size 9223372036854775807
  refuse $model "--seed" --seed -1
  refuse $model "--threads is -1, expected 1 to 1024" --threads -1
  refuse $model "--threads is 5000, expected 1 to 1024" --threads 5000
  refuse $model "--limit-train is -1, expected at least 0" --limit-train -1
  refuse $model "--limit-eval is -1, expected at least 0" --limit-eval -1
  refuse $model "--validation-fraction is 1, expected 0 <= value < 1" --validation-fraction 1
  refuse $model "--validation-fraction is -0.1, expected 0 <= value < 1" --validation-fraction -0.1
  refuse $model "--validation-fraction is nan" --validation-fraction nan
  refuse $model "--weight-decay is -1, expected at least 0" --weight-decay -1
  refuse $model "--clip-norm is nan, expected at least 0" --clip-norm nan
  refuse $model "--eval-every is -1, expected at least 0" --eval-every -1
  refuse $model "--save-every is -1, expected at least 0" --save-every -1
  refuse $model "--keep-checkpoints is -1, expected at least 0" --keep-checkpoints -1
  refuse $model "--label-smoothing is 1, expected 0 <= value < 1" --label-smoothing 1
  refuse $model "expected one of: adam, sgd" --optimizer rmsprop
  refuse $model "expected one of: none, flip-rotate" --augment crop
  refuse $model "expected cpu, cuda or cuda:INDEX" --device gpu
  refuse $model "cpu:1" --device cpu:1
  refuse $model "--recompute is 'yes', expected one of: auto, on, off" --recompute yes
  refuse $model "--precision is 'fp16', expected one of: fp32, tf32, bf16" --precision fp16
  refuse $model "--precision bf16: cpu has no tensor cores, expected --device cuda" --precision bf16
  refuse $model "--precision tf32: cpu has no tensor cores, expected --device cuda" --precision tf32
  refuse $model "--eval-only: expected --checkpoint" --eval-only
  refuse $model "--checkpoint" --checkpoint "$work/good"
done
refuse mnist_mlp "expected one of: simple, complex" --variant huge
refuse mnist_cnn "--variant" --variant simple
refuse mnist_cnn "--width" --width 8
refuse mnist_cnn "--dataset" --dataset imdb
refuse mnist_cnn "--max-length" --max-length 8
refuse cifar10_resnet18 "--width is 0, expected 1 to 4096" --width 0
refuse mnist_mlp "expected one of: simple-constant, complex-augmented, complex-adaptive" --preset huge
refuse mnist_cnn "expected one of: constant, adaptive, quick" --preset simple-constant
refuse mnist_cnn "--lr is 0, expected a positive number" --preset quick --lr 0
FLYBALL_ALLOCATOR=none refuse mnist_mlp "FLYBALL_ALLOCATOR is 'none', expected caching or passthrough"

# Data. What is wrong with the test data is said before any training.
refuse mnist_cnn "$work/none does not exist" --data "$work/none"
refuse mnist_cnn "$work/good/t10k-labels-idx1-ubyte is not a folder" --data "$work/good/t10k-labels-idx1-ubyte"
refuse mnist_cnn "in $empty, its mnist/" --data "$empty"
for split in train t10k; do
  images=$split-images-idx3-ubyte
  labels=$split-labels-idx1-ubyte
  bad=$(damage $split-missing); rm "$bad/$labels"
  refuse mnist_mlp "$bad has no file ${labels}[.gz]" --data "$bad"
  bad=$(damage $split-truncated); truncate -s 20000 "$bad/$images"
  refuse mnist_mlp "$images: offset 20000: the payload ends after 19984 bytes" --data "$bad"
  bad=$(damage $split-truncated-header); truncate -s 9 "$bad/$images"
  refuse mnist_mlp "$images: offset 9: the header ends here" --data "$bad"
  bad=$(damage $split-truncated-gzip); gzip "$bad/$images"; truncate -s 3000 "$bad/$images.gz"
  refuse mnist_mlp "$images.gz: gzip data is cut off at packed offset 3000" --data "$bad"
  bad=$(damage $split-magic); poke "$bad/$images" 0 '\1'
  refuse mnist_mlp "$images: offset 0: magic number is 0x01000803, expected 0x00000803" --data "$bad"
  bad=$(damage $split-type); poke "$bad/$labels" 2 '\15'
  refuse mnist_mlp "$labels: offset 2: type is 0x0d, expected 0x08" --data "$bad"
  bad=$(damage $split-label); poke "$bad/$labels" 13 '\12'
  refuse mnist_mlp "$labels: label 5 is 10, expected 0..9" --data "$bad"
  bad=$(damage $split-counts); poke "$bad/$labels" 7 '\24'; truncate -s 28 "$bad/$labels"
  refuse mnist_mlp "$labels: holds 20 labels, expected" --data "$bad"
done
refuse mnist_mlp "no training sample" --data "$work/good" --validation-fraction 0.999
refuse mnist_mlp "no training sample" --data "$work/good" --validation-fraction 0.999 --limit-train 10

# The environment.
FLYBALL_CPU_BACKEND=mkl refuse mnist_cnn 'FLYBALL_CPU_BACKEND is "mkl", expected eigen or onednn' --data "$work/good"
FLYBALL_CPU_WINOGRAD=on refuse mnist_cnn 'FLYBALL_CPU_WINOGRAD is "on", expected auto, off or always' --data "$work/good"
FLYBALL_CPU_ISA=sse9 refuse mnist_cnn 'FLYBALL_CPU_ISA is "sse9", expected portable, avx2 or avx512' --data "$work/good"
for isa in avx2 avx512; do
  ! grep -qw "${isa/avx512/avx512vl}" /proc/cpuinfo || continue
  FLYBALL_CPU_ISA=$isa refuse mnist_cnn "FLYBALL_CPU_ISA is $isa, but this machine does not have it" --data "$work/good"
done

# Good runs, on the small sets.
small=(--data "$work/good" --epochs 1 --threads 2)
call 0 mnist_mlp "${small[@]}" --out "$work/mlp" --json
same "$(wc -l <"$work/out")" 1 "lines on standard output"
same "$(cat "$work/err")" "" "standard error"
if command -v python3 >/dev/null; then
  python3 -c 'import json, sys; json.loads(sys.stdin.read())' <"$work/out" || fail "standard output is not JSON"
fi
same "$(ls "$work/mlp" | tr '\n' ' ')" "best.safetensors config.json events.out.tfevents.0.flyball metrics.jsonl model.safetensors summary.json " "the run folder"
same "$(value test_accuracy "$work/out")" "$(value test_accuracy "$work/mlp/summary.json")" "test_accuracy of --json"
same "$(grep -c '"train_loss"' "$work/mlp/metrics.jsonl")" 1 "steps (54 samples)"
same "$(grep -c '"split":"validation"' "$work/mlp/metrics.jsonl")" 1 "validations"
same "$(grep -c '"split":"test"' "$work/mlp/metrics.jsonl")" 1 "tests"
cp "$work/out" "$work/mlp.json"

call 0 mnist_mlp "${small[@]}" --eval-only --checkpoint "$work/mlp" --json
same "$(wc -l <"$work/out")" 1 "lines on standard output"
same "$(value eval_accuracy "$work/out")" "$(value test_accuracy "$work/mlp/summary.json")" "accuracy scored again"
same "$(value eval_loss "$work/out")" "$(value test_loss "$work/mlp/summary.json")" "loss scored again"
call 0 mnist_mlp "${small[@]}" --eval-only --checkpoint "$work/mlp/model.safetensors"
says "accuracy" "$work/out"
call 0 mnist_mlp "${small[@]}" --out "$work/again" --json
cmp -s "$work/mlp/model.safetensors" "$work/again/model.safetensors" || fail "the same seed gave other weights"
call 0 mnist_mlp "${small[@]}" --out "$work/seed" --seed 2 --json
! cmp -s "$work/mlp/model.safetensors" "$work/seed/model.safetensors" || fail "another seed gave the same weights"

call 0 mnist_cnn "${small[@]}" --out "$work/cnn" --batch-size 16
says "$work/cnn/model.safetensors" "$work/out"
says "54 training and 6 validation samples" "$work/err"
same "$(grep -c '^epoch 1/1' "$work/err")" 1 "progress lines (one look at the log)"
FLYBALL_CPU_WINOGRAD=off FLYBALL_CPU_ISA=portable call 0 mnist_cnn "${small[@]}" --out "$work/plain_cnn" --batch-size 16
says "cpu (portable, Winograd off), 2 threads" "$work/err"
! cmp -s "$work/cnn/model.safetensors" "$work/plain_cnn/model.safetensors" || fail "the same bits without Winograd"
call 0 mnist_cnn "${small[@]}" --eval-only --checkpoint "$work/cnn" --batch-size 16 --json
same "$(value eval_accuracy "$work/out")" "$(value test_accuracy "$work/cnn/summary.json")" "accuracy scored again"

call 0 mnist_mlp "${small[@]}" --out "$work/no-validation" --validation-fraction 0 --json
! grep -q validation_ "$work/out" || fail "the summary speaks of a validation"
! grep -q validation "$work/no-validation/metrics.jsonl" || fail "the metrics speak of a validation"
call 0 mnist_mlp "${small[@]}" --out "$work/limited" --limit-train 9 --limit-eval 4 --batch-size 2 --json
same "$(value steps "$work/out")" 5 "steps"
call 0 mnist_mlp "${small[@]}" --out "$work/often" --batch-size 9 --eval-every 4 --save-every 2 --keep-checkpoints 0 --json
same "$(ls "$work/often/checkpoints" | tr '\n' ' ')" "step-0.safetensors step-2.safetensors step-4.safetensors step-6.safetensors " "checkpoints"
same "$(grep '"split":"validation"' "$work/often/metrics.jsonl" | cut -d, -f1 | tr '\n' ' ')" '{"step":4 {"step":6 ' "validations"
loss_of() { "$bin/evaluate" --checkpoint "$1" --data "$work/good" --json | sed -n 's/.*"eval_loss":\([^,]*\).*/\1/p'; }
same "$(loss_of "$work/often/checkpoints/step-6.safetensors")" "$(loss_of "$work/often")" "loss of the last checkpoint"
same "$(loss_of "$work/often/checkpoints/step-$(value best_step "$work/out").safetensors")" "$(loss_of "$work/often/best.safetensors")" \
  "loss of the best"
call 0 mnist_mlp "${small[@]}" --schedule step --schedule-option every=2 --schedule-option factor=0.5 --epochs 4 --out "$work/step" --json
same "$(sed -n 's/.*"learning_rate":\([^,}]*\).*/\1/p' "$work/step/metrics.jsonl" | tr '\n' ' ')" "0.001 0.001 0.0005 0.0005 " "the rates"
call 0 mnist_mlp "${small[@]}" --optimizer sgd --schedule linear --augment flip-rotate --out "$work/sgd" --json
call 0 mnist_mlp "${small[@]}" --json
same "$(ls "$empty")" runs "the folder of runs"
ls -d "$empty"/runs/mnist_mlp-*/summary.json >"$work/out" 2>"$work/err" || fail "no run folder of its own"
rm -rf "$empty/runs"

# Presets: flags beside them win, on either side.
call 0 mnist_mlp --preset complex-augmented "${small[@]}" --lr 0.25 --out "$work/after" --json
call 0 mnist_mlp "${small[@]}" --lr 0.25 --out "$work/before" --preset complex-augmented --json
for config in "$work/after/config.json" "$work/before/config.json"; do
  for pair in variant=complex schedule=constant augment=flip-rotate learning_rate=0.25 epochs=1 batch_size=64; do
    same "$(value "${pair%=*}" "$config")" "${pair#*=}" "${pair%=*}"
  done
done
call 0 mnist_mlp --preset complex-augmented --data "$work/good" --epochs 1 --out "$work/plain" --json
same "$(value learning_rate "$work/plain/config.json")" 0.0005 "learning_rate"

# Help.
for model in cifar10_resnet18 mnist_cnn mnist_mlp; do
  call 0 $model --help
  for flag in data epochs batch-size lr schedule seed device threads out limit-train limit-eval validation-fraction optimizer \
    weight-decay clip-norm augment eval-only json preset; do
    says "--$flag" "$work/out"
  done
  says "Presets:" "$work/out"
  same "$(cat "$work/err")" "" "standard error"
done
says "complex-augmented: " "$work/out"

# Run folders and checkpoints.
before=$(cat "$work"/mlp/* | cksum)
refuse mnist_mlp "--out: $work/mlp already holds a run" "${small[@]}" --out "$work/mlp"
same "$(cat "$work"/mlp/* | cksum)" "$before" "the run that was there"
call 0 mnist_mlp "${small[@]}" --out "$work/mlp" --overwrite --seed 9 --json
same "$(value seed "$work/mlp/config.json")" 9 "seed after --overwrite"
echo text >"$work/file"
refuse mnist_mlp "--out: cannot create folder $work/file/run: Not a directory" "${small[@]}" --out "$work/file/run"
refuse mnist_mlp "--out: cannot create folder $work/file: " "${small[@]}" --out "$work/file"
same "$(cat "$work/file")" text "the file that was there"
long=$(printf 'n%.0s' $(seq 300))
refuse mnist_mlp "--out: cannot create folder $long" "${small[@]}" --out "$long"
call 0 mnist_mlp "${small[@]}" --out "$work/"$'\xff' --json
same "$(ls "$work/"$'\xff' | wc -l)" 6 "files in a folder whose name is not UTF-8"
refuse mnist_mlp "$work/none: cannot open" "${small[@]}" --eval-only --checkpoint "$work/none"
refuse mnist_mlp "$work/good/model.safetensors: cannot open" "${small[@]}" --eval-only --checkpoint "$work/good"
refuse mnist_mlp "$work/file: header length" "${small[@]}" --eval-only --checkpoint "$work/file"
refuse mnist_mlp "$long: cannot open" "${small[@]}" --eval-only --checkpoint "$long"
refuse mnist_mlp "tensor 'fc1.weight' is f32[128,784], expected f32[256,784]" "${small[@]}" --eval-only --checkpoint "$work/mlp" \
  --variant complex
refuse mnist_cnn "$work/mlp/model.safetensors: tensor 'conv1.weight' is missing" "${small[@]}" --eval-only --checkpoint "$work/mlp"
head -c 4000 "$work/mlp/model.safetensors" >"$work/cut.safetensors"
refuse mnist_mlp "$work/cut.safetensors: tensor 'fc1.weight': data_offsets" "${small[@]}" --eval-only --checkpoint \
  "$work/cut.safetensors"

finish "bad input"
