#!/usr/bin/env python3
"""model.safetensors against the format's description and its Python package: what mnist_mlp saves they read, what they write
mnist_mlp scores. Usage: test_safetensors.py FOLDER_OF_THE_BINARIES; exit code 77: the package is missing, the rest passed."""
import json
import os
import struct
import subprocess
import sys
import tempfile

BINARY = os.path.join(os.path.abspath(sys.argv[1]), "mnist_mlp")
SHAPES = {"fc1.weight": [128, 784], "fc1.bias": [128], "fc2.weight": [10, 128], "fc2.bias": [10]}


def run(*flags, code=0):
    done = subprocess.run([BINARY, "--limit-eval", "50", "--json", *flags], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"exit code {done.returncode}, expected {code}: {done.stderr}"
    return json.loads(done.stdout) if code == 0 else done.stderr


def read(path):
    """Header and tensors (name -> bytes), by the format's description alone."""
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    tensors = {name: data[slice(*entry["data_offsets"])] for name, entry in header.items() if name != "__metadata__"}
    assert sum(map(len, tensors.values())) == len(data), "the tensors do not cover the file"
    return header, tensors


def write(path, tensors, padding=b""):
    """The same by hand: no metadata, the tensors' bytes in the reverse order of the header."""
    offset, offsets = 0, {}
    for name in reversed(tensors):
        offsets[name] = [offset, offset + len(tensors[name])]
        offset = offsets[name][1]
    header = {name: {"data_offsets": offsets[name], "shape": SHAPES[name], "dtype": "F32"} for name in tensors}
    text = json.dumps(header, indent=1).encode() + padding
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(tensors[name] for name in reversed(tensors)))


def check_by_hand(folder, model, summary):
    header, tensors = read(model)
    assert {name: header[name]["shape"] for name in tensors} == SHAPES, header
    assert all(header[name]["dtype"] == "F32" for name in tensors), header
    assert header["__metadata__"] == {"model": "mnist_mlp", "variant": "simple"}, header
    path = os.path.join(folder, "by_hand.safetensors")
    for padding in (b"", b"   "):
        write(path, tensors, padding)
        scored = run("--eval-only", "--checkpoint", path)
        assert scored["eval_loss"] == summary["test_loss"], (scored, summary)
        assert scored["eval_accuracy"] == summary["test_accuracy"], (scored, summary)
    # All weights 0: every class is equally likely.
    write(path, {name: bytes(len(content)) for name, content in tensors.items()})
    loss = run("--eval-only", "--checkpoint", path)["eval_loss"]
    assert abs(loss - 2.302585093) < 1e-6, loss
    error = run("--eval-only", "--checkpoint", path, "--variant", "complex", code=2)
    assert "by_hand.safetensors: tensor 'fc1.weight' is f32[128,784], expected f32[256,784]" in error, error
    return tensors


def check_with_package(folder, model, tensors, summary):
    import numpy
    import safetensors
    import safetensors.numpy

    read_back = safetensors.numpy.load_file(model)
    assert {name: list(array.shape) for name, array in read_back.items()} == SHAPES
    for name, array in read_back.items():
        assert array.dtype == numpy.float32
        assert array.tobytes() == tensors[name], name
    with safetensors.safe_open(model, framework="numpy") as opened:
        assert opened.metadata() == {"model": "mnist_mlp", "variant": "simple"}
    path = os.path.join(folder, "by_package.safetensors")
    safetensors.numpy.save_file(read_back, path, metadata={"origin": "package"})
    scored = run("--eval-only", "--checkpoint", path)
    assert scored["eval_loss"] == summary["test_loss"], (scored, summary)
    half = {name: array.astype(numpy.float16) for name, array in read_back.items()}
    safetensors.numpy.save_file(half, path)
    error = run("--eval-only", "--checkpoint", path, code=2)
    assert "dtype 'F16', expected F32" in error, error


def main():
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "run")
        summary = run("--limit-train", "640", "--epochs", "1", "--out", out)
        model = os.path.join(out, "model.safetensors")
        tensors = check_by_hand(folder, model, summary)
        try:
            check_with_package(folder, model, tensors, summary)
        except ImportError as error:
            print(f"skipped: the Python package is missing ({error}); what was written by hand passed")
            return 77
    print("safetensors: all checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
