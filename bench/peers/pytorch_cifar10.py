#!/usr/bin/env python3
"""Trains ResNet-18 on CIFAR-10 with PyTorch from the weights of a Flyball run, and prints both runs' training losses.

    cifar10_resnet18 --data DIR --epochs 1 --augment crop-flip --schedule constant --lr 1e-3 --validation-fraction 0 \
        --save-every 1000 --out RUN
    pytorch_cifar10.py --data DIR --run RUN

Same initial weights, data, batch size, augmentation (crop of 32 from 40, mirror) and Adam; the order of the images and
the random crops are PyTorch's own, so losses are compared as means over windows of steps.
"""
import argparse
import json
import struct
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", type=Path, required=True, help="folder with cifar-10-batches-bin")
parser.add_argument("--run", type=Path, required=True, help="the Flyball run")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--windows", type=int, default=8)
parser.add_argument("--steps", type=int, help="stop after so many")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
DEVIATION = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)


def read_weights(path):
    """Parameters by name, filters as PyTorch lays them out."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    tensors = {}
    for name, entry in json.loads(raw[8:8 + length]).items():
        if name == "__metadata__" or "running" in name:
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(raw[8 + length + begin:8 + length + end], np.float32).reshape(entry["shape"])
        values = values.transpose(0, 3, 1, 2) if values.ndim == 4 else values
        tensors[name] = torch.tensor(values.copy()).requires_grad_()
        if values.ndim == 4:
            tensors[name] = tensors[name].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    return tensors


def read_images():
    records = np.concatenate([np.fromfile(arguments.data / "cifar-10-batches-bin" / f"data_batch_{i}.bin", np.uint8)
                              for i in range(1, 6)]).reshape(-1, 3073)
    return torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(records[:, 0].astype(np.int64))


def norm(x, p, name):
    return F.batch_norm(x, None, None, p[f"{name}.weight"], p[f"{name}.bias"], True)


def conv(x, p, name, stride):
    weight = p[f"{name}.weight"]
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)


def forward(x, p):
    x = F.relu(norm(conv(x, p, "conv1", 1), p, "bn1"))
    for stage in range(4):
        for block in range(2):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage > 0 and block == 0 else 1
            y = F.relu(norm(conv(x, p, f"{name}.conv1", stride), p, f"{name}.bn1"))
            y = norm(conv(y, p, f"{name}.conv2", 1), p, f"{name}.bn2")
            if stride == 2:
                x = norm(conv(x, p, f"{name}.downsample.0", 2), p, f"{name}.downsample.1")
            x = F.relu(y + x)
    return F.linear(x.mean((2, 3)), p["fc.weight"], p["fc.bias"])


def augmented(images, generator):
    x = (images.float() / 255 - MEAN) / DEVIATION
    padded = F.pad(x, (4, 4, 4, 4))
    corners = torch.randint(0, 9, (len(x), 2), generator=generator).tolist()
    flips = torch.rand(len(x), generator=generator) < 0.5
    x = torch.stack([padded[i, :, top:top + 32, left:left + 32] for i, (top, left) in enumerate(corners)])
    x[flips] = x[flips].flip(3)
    return x.contiguous(memory_format=torch.channels_last)


config = json.loads((arguments.run / "config.json").read_text())
ours = [line for line in map(json.loads, open(arguments.run / "metrics.jsonl")) if "train_loss" in line]
p = read_weights(arguments.run / "checkpoints" / "step-0.safetensors")
images, labels = read_images()
generator = torch.Generator().manual_seed(arguments.seed)
adam = torch.optim.Adam(list(p.values()), lr=config["learning_rate"])
batch = config["batch_size"]
losses, start = [], time.perf_counter()
order = torch.randperm(len(images), generator=generator)
for begin in range(0, len(images), batch):
    if arguments.steps and len(losses) >= arguments.steps:
        break
    chosen = order[begin:begin + batch]
    loss = F.cross_entropy(forward(augmented(images[chosen], generator), p), labels[chosen])
    adam.zero_grad()
    loss.backward()
    adam.step()
    losses.append(loss.item())
seconds = time.perf_counter() - start

steps = min(len(losses), len(ours))
print(f"parameters: {sum(v.numel() for v in p.values()):,}; PyTorch {torch.__version__}: {seconds:.0f} s for {len(losses)} steps")
print("steps            Flyball  PyTorch")
for window in range(arguments.windows):
    low, high = steps * window // arguments.windows, steps * (window + 1) // arguments.windows
    mine = np.mean([line["train_loss"] for line in ours[low:high]])
    print(f"{low + 1:5} to {high:5}   {mine:7.4f}  {np.mean(losses[low:high]):7.4f}")
