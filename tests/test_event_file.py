#!/usr/bin/env python3
"""A run's TensorBoard event file, read with the tensorboard package: the same figures as in metrics.jsonl.
Usage: test_event_file.py FOLDER_OF_THE_BINARIES; exit code 77: the package is missing."""
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

BINARY = os.path.join(os.path.abspath(sys.argv[1]), "mnist_mlp")


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def expected(path):
    """tag -> [(step, value)] of metrics.jsonl."""
    scalars = {}
    with open(path, encoding="utf-8") as file:
        for line in map(json.loads, file):
            if "split" in line:
                names = {line["split"] + "_loss": "eval_loss", line["split"] + "_accuracy": "eval_accuracy"}
            else:
                names = {name: name for name in ("train_loss", "train_accuracy", "learning_rate")}
            for tag, key in names.items():
                scalars.setdefault(tag, []).append((line["step"], f32(line[key])))
    return scalars


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(folder, size_guidance={"scalars": 0})
    accumulator.Reload()
    return {tag: accumulator.Scalars(tag) for tag in accumulator.Tags()["scalars"]}


def main():
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        print(f"skipped: the Python package is missing ({error})")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        run = os.path.join(folder, "run")
        subprocess.run([BINARY, "--limit-train", "1280", "--limit-eval", "50", "--epochs", "2", "--out", run, "--json"], check=True,
                       stdout=subprocess.DEVNULL)
        scalars = expected(os.path.join(run, "metrics.jsonl"))
        events = read(run)
        assert set(events) == set(scalars), (set(events), set(scalars))
        for tag, values in scalars.items():
            got = [(event.step, event.value) for event in events[tag]]
            assert got == values, (tag, got[:3], values[:3])
            times = [event.wall_time for event in events[tag]]
            assert all(math.isfinite(time) and time > 1.6e9 for time in times) and times == sorted(times), (tag, times[:3])
        assert len(scalars["train_loss"]) == 40, len(scalars["train_loss"])
        assert [step for step, _ in scalars["validation_loss"]] == [20, 40], scalars["validation_loss"]

        # What was not finished still reads, up to there; what was changed does not.
        path = next(os.path.join(run, name) for name in os.listdir(run) if "tfevents" in name)
        with open(path, "rb") as file:
            whole = file.read()
        with open(path, "wb") as file:
            file.write(whole[:2000])
        assert 0 < len(read(run)["train_loss"]) < 40
        with open(path, "wb") as file:
            file.write(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        assert len(read(run).get("train_loss", [])) < 40, "a changed byte went unnoticed"
    print("event file: all checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
