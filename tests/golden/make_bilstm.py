#!/usr/bin/env python3
"""Trains a bidirectional LSTM with PyTorch from numbers that a formula gives, and writes what came out.

README.md beside this file defines every number.  `make_bilstm.py` writes bilstm.json beside itself;
`make_bilstm.py --check` computes again, with --threads N, and prints how far the file is away.
"""
import json
from pathlib import Path

from flags import parse

arguments = parse(__doc__)

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from formula import bits24, describe, relative, uniform, write

VOCABULARY, EMBEDDING, HIDDEN, LAYERS, CLASSES = 50, 12, 17, 2, 3
TIME, BATCH, STEPS, SAMPLES, RATE = 11, 8, 20, 8, 1e-2


def shapes():
    """Every parameter's shape in Flyball's layout, in its order."""
    yield "embedding.weight", (VOCABULARY, EMBEDDING)
    inputs = EMBEDDING
    for k in range(LAYERS):
        yield f"lstm.w_ih_l{k}", (2, 4 * HIDDEN, inputs)
        yield f"lstm.w_hh_l{k}", (2, 4 * HIDDEN, HIDDEN)
        yield f"lstm.b_ih_l{k}", (2, 4 * HIDDEN)
        yield f"lstm.b_hh_l{k}", (2, 4 * HIDDEN)
        inputs = 2 * HIDDEN
    yield "head.weight", (CLASSES, 2 * HIDDEN)
    yield "head.bias", (CLASSES,)


class Net(torch.nn.Module):
    def __init__(self, pool, dtype):
        super().__init__()
        self.pool = pool
        self.embedding = torch.nn.Embedding(VOCABULARY, EMBEDDING, padding_idx=0)
        self.lstm = torch.nn.LSTM(EMBEDDING, HIDDEN, LAYERS, bidirectional=True)
        self.head = torch.nn.Linear(2 * HIDDEN, CLASSES)
        self.to(dtype)
        for number, (name, shape) in enumerate(shapes()):
            values = ((2 * uniform(shape, 1 + number) - 1) / np.sqrt(shape[-1])).astype(np.float32)
            for i, tensor in enumerate(self.tensors(name)):
                part = values[i] if "lstm" in name else values
                tensor.data.copy_(torch.tensor(part.copy()).to(dtype))

    def tensors(self, name):
        """PyTorch's tensors that make up Flyball's parameter."""
        module, member = name.split(".")
        if module != "lstm":
            return [getattr(getattr(self, module), member)]
        kind, layer = member[0], member[2:]
        plain = ("weight_" if kind == "w" else "bias_") + layer
        return [getattr(self.lstm, plain), getattr(self.lstm, plain + "_reverse")]

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(self.embedding(tokens), lengths, enforce_sorted=False)
        packed, (last, _) = self.lstm(packed)
        states, _ = pad_packed_sequence(packed, total_length=TIME)
        real = (torch.arange(TIME)[:, None] < lengths[None, :])[..., None]
        if self.pool == "mean":
            pooled = (states * real).sum(0) / lengths[:, None]
        elif self.pool == "max":
            pooled = states.masked_fill(~real, -float("inf")).max(0).values
        else:
            pooled = torch.cat([last[-2], last[-1]], 1)
        return self.head(pooled)


def batch(step):
    """Lengths from 1 to TIME, tokens from 1 to VOCABULARY - 1 and padding, labels."""
    lengths = 1 + (bits24(BATCH, 3000 + step) % np.uint64(TIME)).astype(np.int64)
    tokens = 1 + (bits24(TIME * BATCH, 1000 + step) % np.uint64(VOCABULARY - 1)).astype(np.int64)
    tokens = tokens.reshape(TIME, BATCH)
    tokens[np.arange(TIME)[:, None] >= lengths[None, :]] = 0
    labels = (bits24(BATCH, 2000 + step) % np.uint64(CLASSES)).astype(np.int64)
    return torch.tensor(tokens), torch.tensor(lengths), torch.tensor(labels)


def train(pool, dtype):
    """The losses before each update, and the parameters after the last one."""
    net = Net(pool, dtype)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    losses = []
    for step in range(STEPS):
        tokens, lengths, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(tokens, lengths), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    rows = []
    for name, shape in shapes():
        parts = [tensor.detach().numpy() for tensor in net.tensors(name)]
        rows.append(describe(name, np.stack(parts).reshape(shape), SAMPLES))
    return losses, rows


def golden():
    runs = []
    for pool in ("mean", "max", "last"):
        losses, parameters = train(pool, torch.float64)
        runs.append({"pool": pool, "losses_f32": train(pool, torch.float32)[0],
                     "losses_f64": losses, "parameters_f64": parameters})
    return {"model": "bilstm", "lr": RATE, "torch": torch.__version__, "runs": runs}


def compare(fresh, stored):
    for now, then in zip(fresh["runs"], stored["runs"]):
        weights = max(np.max(np.abs(np.subtract(a["samples"], b["samples"])))
                      for a, b in zip(now["parameters_f64"], then["parameters_f64"]))
        print(f"{now['pool']}: losses f32 {relative(now['losses_f32'], then['losses_f32']):.1e} relative from the file, "
              f"{relative(now['losses_f32'], now['losses_f64']):.1e} from f64; losses f64 "
              f"{relative(now['losses_f64'], then['losses_f64']):.1e}, sampled weights {weights:.1e} from the file")


def main():
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    path = Path(__file__).with_name("bilstm.json")
    fresh = golden()
    if arguments.check:
        compare(fresh, json.loads(path.read_text()))
    else:
        write(path, fresh)
        print(f"{path.name}: {path.stat().st_size} bytes")


main()
