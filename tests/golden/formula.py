"""The numbers of README.md, and how the files are written."""
import json
import re

import numpy as np


def bits24(count, stream):
    """The upper 24 bits of splitmix64(stream * 2^32 + i) for i in [0, count)."""
    x = np.arange(count, dtype=np.uint64) + np.uint64(stream << 32)
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) >> np.uint64(40)


def uniform(shape, stream):
    return (bits24(int(np.prod(shape)), stream) / 2.0**24).reshape(shape)


def describe(name, values, samples):
    """Sum, norm and a few values of an array in Flyball's layout."""
    flat = values.reshape(-1)
    at = np.arange(samples) * flat.size // samples
    return {
        "name": name,
        "shape": list(values.shape),
        "sum": float(flat.sum()),
        "l2": float(np.linalg.norm(flat)),
        "samples": flat[at].tolist(),
    }


def write(path, data):
    text = json.dumps(data, indent=1)
    flat_list = r"\[\s+([^\[\]{}]*?)\s+\]"
    text = re.sub(flat_list, lambda match: "[" + re.sub(r"\s+", " ", match[1]) + "]", text)
    path.write_text(text + "\n")


def relative(got, want):
    got, want = np.array(got), np.array(want)
    return float(np.max(np.abs(got - want) / np.abs(want)))
