#!/usr/bin/env bash
# imdb_bilstm, evaluate and predict as a user calls them. Usage: test_text_programs.sh FOLDER_OF_THE_BINARIES
. "$(dirname "$0")/command_line.sh"

# Small sets of our own making in the real layouts.
data=$work/data
for part in train test; do
  mkdir -p "$data/aclImdb/$part/pos" "$data/aclImdb/$part/neg" "$work/one-sided/aclImdb/$part/pos"
  for i in $(seq 1 30); do
    printf 'A fine film.<br />Fine number %s, not dull.' "$i" >"$data/aclImdb/$part/pos/${i}_9.txt"
    printf "A dull film.\nDull number %s, isn't it?" "$i" >"$data/aclImdb/$part/neg/${i}_2.txt"
  done
  cp "$data/aclImdb/$part/pos/1_9.txt" "$work/one-sided/aclImdb/$part/pos"
done
printf 'fine \xff\xfe\xc3 fine' >"$data/aclImdb/train/pos/31_9.txt" # not UTF-8
: >"$data/aclImdb/train/neg/31_2.txt"                                 # an empty review
head -c 10000000 /dev/zero | tr '\0' 'a' | sed 's/aaaaaaaaa/dull film/g' >"$data/aclImdb/test/neg/31_2.txt" # 10 MB
cp "$data/aclImdb/test/pos/1_9.txt" "$data/aclImdb/test/pos/31_9.txt"
mkdir -p "$data/sst2"
{
  printf 'sentence\tlabel\n'
  for i in $(seq 1 20); do printf 'a fine film %s \t1\na dull film %s \t0\n' "$i" "$i"; done
} | tee "$data/sst2/train.tsv" >"$data/sst2/dev.tsv"

small=(--epochs 2 --embedding 8 --hidden 6 --min-count 1 --max-length 40 --threads 2)

# Flags.
model=imdb_bilstm
refuse $model "--augment" --augment crop-flip
refuse $model "--vocabulary is 2, expected 3 to 10000000" --vocabulary 2
refuse $model "--min-count is 0, expected 1 to 1000000" --min-count 0
refuse $model "--max-length is 0, expected 1 to 1000000" --max-length 0
refuse $model "--hidden is 0, expected 1 to 4096" --hidden 0
refuse $model "--embedding is -1, expected 1 to 4096" --embedding -1
refuse $model "--layers is 17, expected 1 to 16" --layers 17
refuse $model "--keep is 'middle', expected one of: head, tail, both" --keep middle
refuse $model "--pool is 'min', expected one of: mean, max, last" --pool min
refuse $model "--dropout is 1, expected 0 <= value < 1" --dropout 1
refuse $model "--dataset is 'yelp', expected one of: imdb, sst2, synthetic" --dataset yelp
refuse $model "--dataset imdb: expected --data, the folder that holds it" --dataset imdb
refuse $model "--dataset synthetic is generated: expected no --data beside it" --dataset synthetic --data "$data"
refuse $model "--precision bf16: cpu has no tensor cores" --precision bf16

# Data.
refuse $model "$work/none does not exist" --data "$work/none"
refuse $model "aclImdb" --data "$empty"
refuse $model "neg" --data "$work/one-sided"
cp -r "$data" "$work/damaged"
printf 'a line without a label\n' >>"$work/damaged/sst2/dev.tsv"
refuse $model "dev.tsv" --data "$work/damaged" --dataset sst2

# Without data: the synthetic reviews.
call 0 $model "${small[@]}" --limit-train 200 --limit-eval 100 --out "$work/synthetic"
says "synthetic train" "$work/err"
call 0 $model --preset quick --limit-train 64 --limit-eval 32 --out "$work/quick" --json
same "$(value embedding "$work/quick/config.json")" 50 "embedding of the preset"

# IMDB in its layout.
call 0 $model "${small[@]}" --data "$data" --out "$work/imdb" --json
same "$(cat "$work/err")" "" "standard error"
same "$(ls "$work/imdb" | tr '\n' ' ')" "best.safetensors config.json events.out.tfevents.0.flyball metrics.jsonl model.safetensors summary.json vocabulary.txt " \
  "the run folder"
same "$(head -n 2 "$work/imdb/vocabulary.txt" | tr '\n' ' ')" "<pad> <unk> " "the vocabulary's first lines"
grep -qx fine "$work/imdb/vocabulary.txt" || fail "the vocabulary lacks a word of the training texts"
[ -s "$data/imdb-train.tokens" ] || fail "no cache"
cp "$work/out" "$work/imdb.json"
call 0 $model "${small[@]}" --data "$data" --out "$work/cached" --json # from the cache
cmp -s "$work/imdb/model.safetensors" "$work/cached/model.safetensors" || fail "the cache gave other weights"
printf x | dd of="$data/imdb-train.tokens" bs=1 seek=400 conv=notrunc status=none
call 0 $model "${small[@]}" --data "$data" --out "$work/repaired" --json # a damaged cache is rebuilt
cmp -s "$work/imdb/model.safetensors" "$work/repaired/model.safetensors" || fail "a damaged cache gave other weights"
rm "$data"/*.tokens
mkdir "$data/imdb-train.tokens" # in the cache's place
call 0 $model "${small[@]}" --data "$data" --out "$work/uncached" --json
says "note: cannot write $data/imdb-train.tokens" "$work/err"
cmp -s "$work/imdb/model.safetensors" "$work/uncached/model.safetensors" || fail "no cache gave other weights"
rmdir "$data/imdb-train.tokens"

# Evaluate.
call 0 evaluate --checkpoint "$work/imdb" --data "$data" --json
for key in eval_loss eval_accuracy; do same "$(value $key "$work/out")" "$(value test_${key#eval_} "$work/imdb.json")" $key; done
for key in eval_runtime eval_samples_per_second eval_steps_per_second; do says "\"$key\":" "$work/out"; done
call 0 evaluate --checkpoint "$work/imdb/best.safetensors" --data "$data"
says "recall" "$work/out"
call 0 evaluate --checkpoint "$work/imdb" --data "$data" --dataset sst2 --limit 10
says "sst2 dev" "$work/out"
says "samples    10" "$work/out"
call 0 evaluate --checkpoint "$work/imdb" --data "$data" --part training --json
same "$(value samples "$work/out")" 62 "training samples"
call 0 evaluate --checkpoint "$work/synthetic"
refuse evaluate "--checkpoint" --data "$data"
refuse evaluate "$work/none does not exist" --checkpoint "$work/none" --data "$data"
refuse evaluate "$data/config.json: cannot open" --checkpoint "$data/sst2/dev.tsv" --data "$data"
refuse evaluate "--part is dev, expected training or test" --checkpoint "$work/imdb" --data "$data" --part dev
refuse evaluate "--batch-size is 0" --checkpoint "$work/imdb" --data "$data" --batch-size 0
refuse evaluate "--limit is -1" --checkpoint "$work/imdb" --data "$data" --limit -1
refuse evaluate "--dataset imdb: expected --data" --checkpoint "$work/imdb"
refuse evaluate "expected one of: imdb, sst2, synthetic" --checkpoint "$work/imdb" --data "$data" --dataset mnist
refuse evaluate "trained on the synthetic set: expected --dataset" --checkpoint "$work/synthetic" --data "$data"
cp -r "$work/imdb" "$work/odd"
head -n -1 "$work/odd/vocabulary.txt" >"$work/odd/shorter" && mv "$work/odd/shorter" "$work/odd/vocabulary.txt"
refuse evaluate "tensor 'embedding.weight'" --checkpoint "$work/odd" --data "$data"
printf '{' >"$work/odd/config.json"
refuse evaluate "$work/odd/config.json: is not the config.json of a run" --checkpoint "$work/odd" --data "$data"

# Predict.
printf 'A fine film.\n\nA dull film, \xff dull.\r\n' >"$work/lines"
call 0 predict --checkpoint "$work/imdb" --top 2 <"$work/lines"
same "$(wc -l <"$work/out")" 3 "answers"
call 0 predict --checkpoint "$work/imdb" --json <"$work/lines"
same "$(wc -l <"$work/out")" 3 "answers"
if command -v python3 >/dev/null; then
  python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]' <"$work/out" || fail "an answer is not JSON"
fi
refuse predict "standard input is empty" --checkpoint "$work/imdb" </dev/null
refuse predict "reads texts, expected them on standard input" --checkpoint "$work/imdb" "$work/lines"
refuse predict "--top is 0, expected at least 1" --checkpoint "$work/imdb" --top 0 <"$work/lines"
call 0 mnist_mlp --epochs 1 --limit-train 256 --limit-eval 32 --out "$work/mlp" --json
refuse predict "reads images, expected PNG or JPEG files" --checkpoint "$work/mlp" </dev/null
refuse predict "$work/lines: is neither PNG nor JPEG" --checkpoint "$work/mlp" "$work/lines"
refuse evaluate "reads one kind of set, expected no --dataset" --checkpoint "$work/mlp" --dataset mnist
call 0 evaluate --checkpoint "$work/mlp"
says "mnist test" "$work/out"

finish "text programs"
