#!/usr/bin/env bash
# compare_schedules from its command line: a grid, its files, being killed and going on, failing runs, bad input, a full disk.
# Usage: test_compare.sh FOLDER_OF_THE_BINARIES
. "$(dirname "$0")/command_line.sh"
export TMPDIR=$work/tmp # what a killed process leaves there goes too
mkdir "$TMPDIR"
cd "$work" || exit 1

# compare_schedules is the program of every command line here.
call() { # EXPECTED_CODE FLAG ...
  case="${*:2}"
  checks=$((checks + 1))
  timeout 120 "${program:-$bin/compare_schedules}" "${@:2}" >"$work/out" 2>"$work/err"
  local code=$?
  [ $code = "$1" ] || fail "exit code $code, expected $1"
}
refuse() { # FRAGMENT FLAG ...
  call 2 "${@:2}"
  same "$(wc -l <"$work/err")" 1 "lines on standard error"
  same "$(wc -c <"$work/out")" 0 "characters on standard output"
  grep -q '^compare_schedules: error: ' "$work/err" || fail "expected a line that begins with 'compare_schedules: error: '"
  says "$1" "$work/err"
}
digest() { (cd "$1" && find . -type f -printf '%p %T@ ' -exec cksum {} \;) | sort | cksum; } # of all files and their times
timeless() { # FILE: results.csv without what was measured by a clock or as memory
  awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) drop[i] = $i ~ /seconds|memory/ } { for (i = 1; i <= NF; i++) if (!drop[i]) printf "%s,", $i; print "" }' "$1"
}
complete() { find "$1/runs" -name summary.json 2>/dev/null | wc -l; }
alive() { # FOLDER: how many processes write into it
  local count=0 line
  for line in /proc/[0-9]*/cmdline; do
    ! { tr '\0' ' ' <"$line" | grep -qF -- "--out $1/runs"; } 2>/dev/null || count=$((count + 1))
  done
  echo $count
}

grid=(--model mnist_mlp --schedules "constant,adaptive" --seeds 2 --epochs 2 --threshold 0.7)
few=(-- --limit-train 640 --limit-eval 100)

# A grid and its files.
call 0 "${grid[@]}" --out plain "${few[@]}"
same "$(ls plain | tr '\n' ' ')" "lock plan.json report.html results.csv results.jsonl runs statistics.csv statistics.json " "files"
same "$(wc -l <plain/results.csv)" 5 "lines of results.csv"
same "$(grep -c '"status":"complete"' plain/results.jsonl)" 4 "complete runs in results.jsonl"
same "$(complete plain)" 4 "complete runs"
same "$(find plain -name 'model.safetensors*' | wc -l)" 0 "weights kept"
same "$(find plain -name '*tfevents*' | wc -l)" 4 "event files"
says "mnist_mlp adaptive lr 0.001" out
says "4/4] mnist_mlp" err
! grep -q "$work" plain/report.html || fail "report.html names a folder of this machine"
! grep -qF "$(uname -n)" plain/report.html || fail "report.html names this machine"
if command -v python3 >/dev/null; then
  python3 - <<'PYTHON' >err 2>&1 || fail "the files do not agree"
import csv, json, statistics
rows = list(csv.DictReader(open("plain/results.csv")))
lines = [json.loads(line) for line in open("plain/results.jsonl")]
assert [row["seed"] for row in rows] == [str(line["seed"]) for line in lines]
groups = {g["schedule"]: g for g in json.load(open("plain/statistics.json"))["groups"]}
for name in ("validation_accuracy", "train_loss", "loss_area"):
    values = [float(row[name]) for row in rows if row["schedule"] == "adaptive"]
    metric = groups["adaptive"]["metrics"][name]
    assert abs(metric["mean"] - statistics.mean(values)) < 1e-12 and abs(metric["sd"] - statistics.stdev(values)) < 1e-12, name
for row in rows:
    folder = f"plain/runs/mnist_mlp/{row['schedule']}/lr-0.001/seed-{row['seed']}"
    summary = json.load(open(folder + "/summary.json"))
    assert float(row["test_accuracy"]) == summary["test_accuracy"]
    steps = [json.loads(line) for line in open(folder + "/metrics.jsonl")]
    losses = [step["train_loss"] for step in steps if "train_loss" in step]
    assert abs(float(row["loss_area"]) - sum(losses) * 2 / len(losses)) < 1e-9, (row["loss_area"], sum(losses))
    seconds = [step["seconds"] for step in steps]
    assert seconds == sorted(seconds) and seconds[0] > 0 and float(row["train_seconds"]) == seconds[-1]
PYTHON
fi

# What is done is not done again, on one more call and in a larger grid.
before=$(digest plain/runs)
cp plain/results.csv first.csv
call 0 "${grid[@]}" --out plain "${few[@]}"
says "4 of 4 runs are already done" err
same "$(digest plain/runs)" "$before" "the runs that were there"
cmp -s plain/results.csv first.csv || fail "results.csv is another"
call 0 "${grid[@]}" --lrs 1e-3,1e-2 --out plain "${few[@]}"
says "4 of 8 runs are already done" err
same "$(wc -l <plain/results.csv)" 9 "lines of results.csv"
same "$(timeless plain/results.csv | head -n 5)" "$(timeless first.csv)" "rows of before"

# What an earlier call left undone is told, and is not this call's failure.
cp -r plain grown
rm grown/runs/mnist_mlp/constant/lr-0.001/seed-2/summary.json
call 0 --model mnist_mlp --schedules linear --epochs 2 --threshold 0.7 --out grown "${few[@]}"
says "10 of 11 runs complete, 0 failed, 1 to do" out
call 0 "${grid[@]}" --out grown "${few[@]}"

# Another configuration is refused, and everything stays as it is.
before=$(digest plain)
refuse "mnist_mlp there has --epochs '2', here '3'" "${grid[@]}" --epochs 3 --out plain "${few[@]}"
refuse "has flags '--limit-train 640 --limit-eval 100', here '--limit-train 64'" "${grid[@]}" --out plain -- --limit-train 64
refuse "has --data '', here 'elsewhere'" "${grid[@]}" --data elsewhere --out plain "${few[@]}"
same "$(digest plain)" "$before" "the results folder"
mkdir foreign && echo mine >foreign/notes
refuse "foreign holds other files, expected an empty folder or one with a plan.json" "${grid[@]}" --out foreign "${few[@]}"
same "$(ls foreign)" notes "the folder of another"
echo '{"tasks": [' >damaged.json
mkdir damaged && mv damaged.json damaged/plan.json
refuse "damaged/plan.json: " "${grid[@]}" --out damaged "${few[@]}"

# Bad input: the binaries say what they do not know; nothing is written.
refuse "schedule is 'cosyne', expected one of: constant, " "${grid[@]}" --schedules constant,cosyne --out none "${few[@]}"
refuse "--model is 'mnist_rnn', expected one of" "${grid[@]}" --model mnist_rnn --out none
refuse "--lr after --: every run gets its own" "${grid[@]}" --out none -- --lr 1
refuse "--no-such-flag" "${grid[@]}" --out none -- --no-such-flag
refuse "expected one of: adam, sgd" "${grid[@]}" --out none -- --optimizer rmsprop
refuse "nowhere does not exist" "${grid[@]}" --data nowhere --out none "${few[@]}"
refuse "--out: cannot create folder foreign/notes/results" "${grid[@]}" --out foreign/notes/results "${few[@]}"
[ ! -e none ] || fail "left behind: none"

# Killed in the middle, at several moments: the same results in the end.
slow=(--model mnist_mlp --schedules "constant,linear,adaptive" --seeds 4 --epochs 12 --jobs 1 -- --limit-eval 200)
call 0 --out whole "${slow[@]}"
kills=0
for moment in "1 0" "3 0.08" "5 0.03" "7 0.12"; do # so many runs are done, and so many seconds later
  "$bin/compare_schedules" --out killed "${slow[@]}" >out 2>err &
  process=$!
  for _ in $(seq 500); do [ "$(complete killed)" -ge "${moment% *}" ] && break; sleep 0.02; done
  sleep "${moment#* }"
  kill -KILL $process && kills=$((kills + 1))
  wait $process 2>/dev/null
done
case="killed"
same "$kills" 4 "runs that were still under way when they were killed"
[ "$(complete killed)" -lt 12 ] || fail "all runs were done before the last kill"
done_before=$(complete killed)
call 0 --out killed "${slow[@]}"
says "$done_before of 12 runs are already done" err
same "$(timeless killed/results.csv)" "$(timeless whole/results.csv)" "results"

# Asked to stop: the children stop too, and what is there is shown; then on to the same results.
for signal in TERM INT; do
  # A background job of a script ignores SIGINT, and so would what it runs.
  (trap - INT; exec env --default-signal=INT "$bin/compare_schedules" --out "stopped$signal" "${slow[@]}") >out 2>err &
  process=$!
  for _ in $(seq 100); do [ "$(complete "stopped$signal")" -gt 0 ] && break; sleep 0.05; done
  case="stopped by SIG$signal"
  kill "-$signal" $process || fail "it was not running any more"
  wait $process
  same $? $((128 + $(kill -l $signal))) "exit code"
  same "$(alive "stopped$signal")" 0 "children"
  says "the same command goes on from here" err
  says "of 12 runs complete" out
  same "$(grep -c complete "stopped$signal/results.csv")" "$(complete "stopped$signal")" "rows"
  call 0 --out "stopped$signal" "${slow[@]}"
  same "$(timeless "stopped$signal/results.csv")" "$(timeless whole/results.csv)" "results"
done

# Two at once in one folder.
"$bin/compare_schedules" --out killed2 "${slow[@]}" >/dev/null 2>&1 &
process=$!
for _ in $(seq 100); do [ -e killed2/plan.json ] && break; sleep 0.05; done
refuse "another compare_schedules is at work in killed2" --out killed2 "${slow[@]}"
kill $process
wait $process

# A run that fails is reported and the others go on; once its cause is gone it is done again.
mkdir fake
cp "$bin/compare_schedules" fake/
cat >fake/mnist_mlp <<SCRIPT
#!/bin/sh
case "\$*" in
  *trial*) ;;
  *"--schedule adaptive"*"--seed 1 "*) echo "noise" >&2; echo 'mnist_mlp: failed: "a", b' >&2; exit 1 ;;
  *"--schedule constant"*"--seed 2 "*) kill -SEGV \$\$ ;;
  *"--schedule adaptive"*"--seed 2 "*) exit 0 ;;
esac
exec "$bin/mnist_mlp" "\$@"
SCRIPT
chmod +x fake/mnist_mlp
program=$work/fake/compare_schedules call 1 "${grid[@]}" --out failing "${few[@]}"
says 'mnist_mlp adaptive lr 0.001 seed 1: failed: mnist_mlp: failed: "a", b' err
says 'mnist_mlp constant lr 0.001 seed 2: failed: ended by signal 11' err
says 'mnist_mlp adaptive lr 0.001 seed 2: failed: exit code 0 without a summary.json' err
says "1 of 4 runs complete, 3 failed, 0 to do" out
says 'mnist_mlp,adaptive,0.001,1,failed,' failing/results.csv
says '"mnist_mlp: failed: ""a"", b"' failing/results.csv
same "$(grep -c '"status":"failed"' failing/results.jsonl)" 3 "failed runs in results.jsonl"
same "$(grep -c ',complete,' failing/results.csv)" 1 "complete runs in results.csv"
call 0 "${grid[@]}" --out failing "${few[@]}"
same "$(timeless failing/results.csv)" "$(timeless first.csv)" "results after the cause was gone"

# Whatever ends compare_schedules, its children end with it.
cat >fake/mnist_mlp <<SCRIPT
#!/bin/sh
case "\$*" in *trial*) exec "$bin/mnist_mlp" "\$@" ;; esac
echo \$\$ >"$work/child"
exec sleep 60
SCRIPT
for signal in KILL TERM; do
  rm -f child
  fake/compare_schedules "${grid[@]}" --jobs 1 --out long "${few[@]}" >out 2>err &
  process=$!
  for _ in $(seq 100); do [ -s child ] && break; sleep 0.05; done
  case="SIG$signal, with a child that goes on for long"
  kill -0 "$(cat child)" || fail "there is no child"
  kill "-$signal" $process
  for _ in $(seq 50); do kill -0 "$(cat child)" 2>/dev/null || break; sleep 0.1; done
  kill -0 "$(cat child)" 2>/dev/null && fail "its child lives on" && kill -KILL "$(cat child)"
  wait $process 2>/dev/null
  same $? $((128 + $(kill -l $signal))) "exit code"
done 2>/dev/null # where bash says what was killed

# No space: limits on the size of files stand for it, a small one for the runs, a larger one for what is written at the end. The new
# run and the new page fail, the old ones stay whole.
cp -r failing full
before=$(cksum <full/report.html)
cat >fake/mnist_mlp <<SCRIPT
#!/usr/bin/env bash
case "\$*" in *trial*) ulimit -S -f unlimited ;; *) ulimit -S -f 3 ;; esac
exec "$bin/mnist_mlp" "\$@"
SCRIPT
cat >fake/limited <<SCRIPT
#!/usr/bin/env bash
trap '' XFSZ
ulimit -S -f 20
exec "$work/fake/compare_schedules" "\$@"
SCRIPT
chmod +x fake/limited
program=$work/fake/limited call 1 "${grid[@]}" --seeds 3 --out full "${few[@]}"
says ": cannot write" err
grep -q "^compare_schedules: failed: .*cannot write" err || fail "no line about the file that cannot be written"
same "$(cksum <full/report.html)" "$before" "report.html"
same "$(find full -maxdepth 1 -name '*.??????' ! -name 'report.html' ! -name 'results.csv' | wc -l)" 0 "temporary files"
same "$(head -n 5 full/results.csv | grep -c ',complete,')" 4 "rows of before"
call 0 "${grid[@]}" --seeds 3 --out full "${few[@]}"
same "$(wc -l <full/results.csv)" 7 "lines of results.csv with space again"

# On a terminal: one line, redrawn.
if command -v script >/dev/null; then
  case="on a terminal"
  checks=$((checks + 1))
  script -qec "stty cols 70; '$bin/compare_schedules' --out terminal ${slow[*]}" typescript >out 2>err </dev/null || fail "exit code $?"
  grep -aqE $'\r[━─]{20} [0-9]+%  [0-9]+/12 runs  [0-9:-]+ left  mnist_mlp ' out || fail "no progress line"
fi

# The estimate measures, prints and leaves nothing.
call 0 "${grid[@]}" --estimate --out estimated "${few[@]}"
says "mnist_mlp: about 00:0" err
says "4 runs, " err
[ ! -e estimated ] || fail "left behind: estimated"
call 0 --help
says "paper: the full experiment" out

finish compare
