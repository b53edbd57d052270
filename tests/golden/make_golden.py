#!/usr/bin/env python3
"""Trains small models with PyTorch from numbers that a formula gives, and writes what came out.

README.md beside this file defines every number.  `make_golden.py` writes <model>.json beside itself;
`make_golden.py --check` computes again, with --threads N, and prints how far the files are away.
"""
import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--check", action="store_true", help="compare with the files, write nothing")
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("models", nargs="*", help="mlp_simple, mlp_complex, cnn; default: all")
arguments = arguments.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(arguments.threads)  # read when the libraries are loaded

import numpy as np
import torch
import torch.nn.functional as F

from formula import bits24, relative, uniform, write
from formula import describe as describe_array

BATCH, STEPS, SAMPLES = 16, 20, 32


@dataclass
class Layer:
    """Weights in Flyball's layout: [out, in], or [k, r, s, c] for a convolution."""

    name: str
    shape: tuple
    image: tuple = ()  # (h, w, c) of the activation that is flattened in front of the layer

    @property
    def fan_in(self):
        return int(np.prod(self.shape[1:]))

    def to_torch(self, weights):
        if len(self.shape) == 4:
            return nchw(weights)
        return nchw(weights.reshape(-1, *self.image)).reshape(self.shape) if self.image else weights

    def from_torch(self, weights):
        if len(self.shape) == 4:
            return nhwc(weights)
        h, w, c = self.image or (1, 1, self.shape[1])
        return nhwc(weights.reshape(-1, c, h, w)).reshape(self.shape)


def nchw(array):
    return array.transpose(0, 3, 1, 2)


def nhwc(array):
    return array.transpose(0, 2, 3, 1)


def mlp(*sizes):
    return [Layer(f"fc{i + 1}", (sizes[i + 1], sizes[i])) for i in range(len(sizes) - 1)]


MODELS = {
    "mlp_simple": mlp(784, 128, 10),
    "mlp_complex": mlp(784, 256, 128, 64, 10),
    "cnn": [
        Layer("conv1", (32, 3, 3, 1)),
        Layer("conv2", (64, 3, 3, 32)),
        Layer("fc1", (128, 9216), image=(12, 12, 64)),
        Layer("fc2", (10, 128)),
    ],
}
ADAM = dict(name="adam", lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
RUNS = {
    "mlp_simple": [ADAM, dict(name="sgd", lr=0.05, momentum=0.9)],
    "mlp_complex": [ADAM, dict(ADAM, name="adamw", weight_decay=0.01)],
    "cnn": [ADAM],
}


def initial_parameters(layers, dtype):
    """One (weight, bias) a layer, in PyTorch's layout."""
    parameters = []
    for layer in layers:
        pair = []
        for shape in (layer.shape, layer.shape[:1]):
            stream = 1 + 2 * len(parameters) + len(pair)
            values = ((2 * uniform(shape, stream) - 1) / np.sqrt(layer.fan_in)).astype(np.float32)
            values = layer.to_torch(values) if len(shape) > 1 else values
            pair.append(torch.tensor(values.copy()).to(dtype).requires_grad_())
        parameters.append(pair)
    return parameters


def batch(model, step, dtype):
    x = torch.tensor(uniform((BATCH, 28, 28, 1), 1000 + step)).to(dtype)
    x = x.permute(0, 3, 1, 2).contiguous() if model == "cnn" else x.reshape(BATCH, 784)
    return x, torch.tensor((bits24(BATCH, 2000 + step) % np.uint64(10)).astype(np.int64))


def forward(model, parameters, x):
    if model == "cnn":
        for weight, bias in parameters[:2]:
            x = F.relu(F.conv2d(x, weight, bias))
        x = torch.flatten(F.max_pool2d(x, 2), 1)
        parameters = parameters[2:]
    for weight, bias in parameters[:-1]:
        x = F.relu(F.linear(x, weight, bias))
    return F.linear(x, *parameters[-1])


def make_optimizer(settings, parameters):
    settings = dict(settings)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    groups = [
        dict(params=[weight for weight, _ in parameters]),
        dict(params=[bias for _, bias in parameters], weight_decay=0.0),
    ]
    return kind[settings.pop("name")](groups, **settings)


def train(model, settings, dtype):
    """The losses before each update, and the parameters after the last one."""
    parameters = initial_parameters(MODELS[model], dtype)
    optimizer = make_optimizer(settings, parameters)
    losses = []
    for step in range(STEPS):
        x, labels = batch(model, step, dtype)
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(model, parameters, x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, parameters


def describe(layers, parameters):
    rows = []
    for layer, pair in zip(layers, parameters):
        weight, bias = (p.detach().numpy() for p in pair)
        for name, values in (("weight", layer.from_torch(weight)), ("bias", bias)):
            rows.append(describe_array(f"{layer.name}.{name}", values, SAMPLES))
    return rows


def golden(model):
    runs = []
    for settings in RUNS[model]:
        run = {"optimizer": settings}
        if settings is ADAM:
            run["losses_f32"] = train(model, settings, torch.float32)[0]
        run["losses_f64"], parameters = train(model, settings, torch.float64)
        run["parameters_f64"] = describe(MODELS[model], parameters)
        runs.append(run)
    return {"model": model, "batch": BATCH, "steps": STEPS, "torch": torch.__version__, "runs": runs}


def compare(fresh, stored):
    for now, then in zip(fresh["runs"], stored["runs"]):
        label = f"{fresh['model']} {now['optimizer']['name']}"
        if "losses_f32" in now:
            print(f"{label}: losses f32 {relative(now['losses_f32'], then['losses_f32']):.1e} relative "
                  f"from the file, {relative(now['losses_f32'], now['losses_f64']):.1e} from f64")
        weights = max(np.max(np.abs(np.subtract(a["samples"], b["samples"])))
                      for a, b in zip(now["parameters_f64"], then["parameters_f64"]))
        print(f"{label}: losses f64 {relative(now['losses_f64'], then['losses_f64']):.1e} relative, "
              f"sampled weights {weights:.1e} absolute from the file")


def main():
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    for model in arguments.models or MODELS:
        path = Path(__file__).with_name(f"{model}.json")
        fresh = golden(model)
        if arguments.check:
            compare(fresh, json.loads(path.read_text()))
        else:
            write(path, fresh)
            print(f"{path.name}: {path.stat().st_size} bytes")


main()
