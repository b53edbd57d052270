#!/usr/bin/env python3
"""Trains ResNet-18 with PyTorch from numbers that a formula gives, and writes what came out.

README.md beside this file defines every number.  `make_resnet.py` writes resnet18.json beside itself;
`make_resnet.py --check` computes again, with --threads N, and prints how far the file is away.
"""
import json
from pathlib import Path

from flags import parse

arguments = parse(__doc__)

import numpy as np
import torch
import torch.nn.functional as F

from formula import bits24, describe, relative, uniform, write

SIDE, SAMPLES = 16, 4
NARROW = dict(width=8, batch=8, steps=20, lr=1e-4)
FULL = dict(width=64, batch=16, steps=20, lr=1e-5)  # at 1e-4 PyTorch itself is 1.7 % from f64


def shapes(width):
    """Every parameter's shape in Flyball's layout, in its order."""
    def conv(name, k, size, c):
        yield f"{name}.weight", (k, size, size, c)

    def norm(name, k):
        yield f"{name}.weight", (k,)
        yield f"{name}.bias", (k,)

    yield from conv("conv1", width, 3, 3)
    yield from norm("bn1", width)
    c = width
    for stage in range(4):
        k = width << stage
        for block in range(2):
            name = f"layer{stage + 1}.{block}"
            yield from conv(f"{name}.conv1", k, 3, c)
            yield from norm(f"{name}.bn1", k)
            yield from conv(f"{name}.conv2", k, 3, k)
            yield from norm(f"{name}.bn2", k)
            if stage > 0 and block == 0:
                yield from conv(f"{name}.downsample.0", k, 1, c)
                yield from norm(f"{name}.downsample.1", k)
            c = k
    yield "fc.weight", (10, 8 * width)
    yield "fc.bias", (10,)


def initial_parameters(width, dtype):
    parameters, fan_in = {}, 1
    for number, (name, shape) in enumerate(shapes(width)):
        u = 2 * uniform(shape, 1 + number) - 1
        if len(shape) > 1:
            fan_in = int(np.prod(shape[1:]))
        is_gamma = len(shape) == 1 and name.endswith("weight")
        values = (1 + u / 2 if is_gamma else u / np.sqrt(fan_in)).astype(np.float32)
        if len(shape) == 4:
            values = values.transpose(0, 3, 1, 2)
        parameters[name] = torch.tensor(values.copy()).to(dtype).requires_grad_()
    return parameters


class Net:
    def __init__(self, width, dtype):
        self.p = initial_parameters(width, dtype)
        self.running = {}
        for name, value in self.p.items():
            if name.endswith("weight") and value.dim() == 1:
                layer = name[: -len(".weight")]
                self.running[f"{layer}.running_mean"] = torch.zeros_like(value, requires_grad=False)
                self.running[f"{layer}.running_var"] = torch.ones_like(value, requires_grad=False)

    def norm(self, x, name, training):
        return F.batch_norm(x, self.running[f"{name}.running_mean"], self.running[f"{name}.running_var"],
                            self.p[f"{name}.weight"], self.p[f"{name}.bias"], training)

    def conv(self, x, name, stride):
        weight = self.p[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)

    def __call__(self, x, training):
        x = F.relu(self.norm(self.conv(x, "conv1", 1), "bn1", training))
        for stage in range(4):
            for block in range(2):
                name, stride = f"layer{stage + 1}.{block}", 2 if stage > 0 and block == 0 else 1
                y = F.relu(self.norm(self.conv(x, f"{name}.conv1", stride), f"{name}.bn1", training))
                y = self.norm(self.conv(y, f"{name}.conv2", 1), f"{name}.bn2", training)
                if stride == 2:
                    x = self.norm(self.conv(x, f"{name}.downsample.0", 2), f"{name}.downsample.1", training)
                x = F.relu(y + x)
        return F.linear(x.mean((2, 3)), self.p["fc.weight"], self.p["fc.bias"])


def batch(size, step, dtype):
    x = torch.tensor(uniform((size, SIDE, SIDE, 3), 1000 + step)).to(dtype).permute(0, 3, 1, 2)
    labels = (bits24(size, 2000 + step) % np.uint64(10)).astype(np.int64)
    return x.contiguous(), torch.tensor(labels)


def train(run, dtype):
    """The losses before each update, and the network after the last one."""
    net = Net(run["width"], dtype)
    optimizer = torch.optim.Adam(list(net.p.values()), lr=run["lr"])
    losses = []
    for step in range(run["steps"]):
        x, labels = batch(run["batch"], step, dtype)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x, True), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, net


def rows(tensors):
    def flyball_layout(value):
        value = value.detach().numpy()
        return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value

    return [describe(name, flyball_layout(value), SAMPLES) for name, value in tensors.items()]


def golden():
    narrow, full = dict(NARROW), dict(FULL)
    narrow["losses_f32"] = train(narrow, torch.float32)[0]
    narrow["losses_f64"], net = train(narrow, torch.float64)
    narrow["parameters_f64"] = rows(net.p)
    narrow["buffers_f64"] = rows(net.running)
    x, labels = batch(narrow["batch"], narrow["steps"], torch.float64)
    with torch.no_grad():
        logits = net(x, False)
        narrow["evaluation_loss_f64"] = F.cross_entropy(logits, labels).item()
        narrow["evaluation_logits_f64"] = logits[0].tolist()
    full["losses_f32"] = train(full, torch.float32)[0]
    return {"model": "resnet18", "torch": torch.__version__, "narrow": narrow, "full": full}


def compare(fresh, stored):
    for run in ("narrow", "full"):
        distance = relative(fresh[run]["losses_f32"], stored[run]["losses_f32"])
        print(f"{run}: losses f32 {distance:.1e} relative from the file")
    now, then = fresh["narrow"], stored["narrow"]
    print(f"narrow: losses f32 {relative(now['losses_f32'], now['losses_f64']):.1e} relative from f64")
    print(f"narrow: losses f64 {relative(now['losses_f64'], then['losses_f64']):.1e} relative from the file")
    for what in ("parameters_f64", "buffers_f64"):
        distance = max(np.max(np.abs(np.subtract(a["samples"], b["samples"])))
                       for a, b in zip(now[what], then[what]))
        print(f"narrow: {what} {distance:.1e} absolute from the file")


def main():
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    path = Path(__file__).with_name("resnet18.json")
    fresh = golden()
    if arguments.check:
        compare(fresh, json.loads(path.read_text()))
    else:
        write(path, fresh)
        print(f"{path.name}: {path.stat().st_size} bytes")


main()
