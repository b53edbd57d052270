#!/usr/bin/env python3
"""Times whole training steps of a model in PyTorch; prints one JSON line.

The models, the batch and Adam's settings are those of bench_training. Environment variables that tune malloc are the
caller's business (bench/compare_with_pytorch sets them). On a CUDA device the times are those of its events, of
  eager     operations one by one
  graph     the same, the whole step captured in one CUDA graph and replayed
  compiled  the model through torch.compile, the whole step captured and replayed
"""
import argparse
import json
import os
import re
import resource
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", choices=["mlp", "cnn", "bilstm", "resnet18"], required=True)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=5)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32", help="on cuda; bf16: by autocast")
parser.add_argument("--mode", choices=["eager", "graph", "compiled"], default="eager", help="on cuda")
parser.add_argument("--evaluate", action="store_true", help="time the forward pass of an evaluation instead")
parser.add_argument("--width", type=int, default=64, help="of resnet18")
parser.add_argument("--optimizer-only", action="store_true", help="time Adam alone")
parser.add_argument("--layout", choices=["auto", "nchw", "nhwc"], default="auto",
                    help="of images; auto: nhwc (channels_last), the faster one")
parser.add_argument("--adam", choices=["auto", "single", "foreach", "fused"], default="auto",
                    help="auto: fused where PyTorch has it for the CPU, else single")
arguments = parser.parse_args()
if arguments.device == "cpu" and (arguments.precision != "fp32" or arguments.mode != "eager"):
    parser.error("--precision and --mode are for --device cuda")
# A BLAS with a thread pool of its own reads these when it is loaded, whatever PyTorch's thread count is.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(arguments.threads)

import torch
import torch.nn.functional as F
from torch import nn

CLOCK = time.process_time if arguments.threads == 1 else time.perf_counter


def mlp():
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
                         nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn():
    return nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
                         nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10))


class BiLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20000, 100)
        self.lstm = nn.LSTM(100, 128, bidirectional=True, batch_first=True)
        self.head = nn.Linear(256, 2)

    def forward(self, tokens):
        hidden, _ = self.lstm(self.embedding(tokens))
        return self.head(hidden.mean(1))


class Block(nn.Module):
    def __init__(self, c, k, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c, k, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(k)
        self.conv2 = nn.Conv2d(k, k, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(k)
        self.shortcut = nn.Sequential()
        if stride != 1 or c != k:
            self.shortcut = nn.Sequential(nn.Conv2d(c, k, 1, stride, bias=False), nn.BatchNorm2d(k))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet18():
    width = arguments.width
    layers, c = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()], width
    for k, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)):
        layers += [Block(c, k, stride), Block(k, k, 1)]
        c = k
    return nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8 * width, 10))


def make_model_and_batch(name, n):
    """The network, inputs and labels."""
    model = {"mlp": mlp, "cnn": cnn, "bilstm": BiLstm, "resnet18": resnet18}[name]().train()
    if name == "bilstm":
        return on_device(model, torch.randint(0, 20000, (n, 200)), torch.randint(0, 2, (n,)))
    x = torch.randn(n, *{"mlp": (784,), "cnn": (1, 28, 28), "resnet18": (3, 32, 32)}[name])
    if name != "mlp" and arguments.layout != "nchw":
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    return on_device(model, x, torch.randint(0, 10, (n,)))


def on_device(*parts):
    return tuple(part.to(arguments.device) for part in parts)


def make_adam(model):
    kind = arguments.adam
    if kind == "auto":
        version = tuple(int(part) for part in torch.__version__.split(".")[:2])
        kind = "fused" if version >= (2, 4) or arguments.device == "cuda" else "single"
    options = {"fused": {"fused": True}}.get(kind, {"foreach": kind == "foreach"})
    if arguments.mode != "eager":
        options["capturable"] = True
    return torch.optim.Adam(model.parameters(), lr=1e-3, **options), kind


def blas_name():
    """What computes PyTorch's matrix products: a slow reference BLAS makes every comparison worthless."""
    built_with = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    if built_with and built_with[1] != "generic":
        return built_with[1]
    with open("/proc/self/maps") as maps:
        names = {os.path.basename(line.split()[-1]) for line in maps if "numpy" not in line}
    names = sorted(name for name in names if re.match(r"lib(openblas|blis|mkl|atlas)", name))
    return names[0] if names else "reference"


def measure(step, seconds):
    """Times `step`, which returns the readings of the clock at its boundaries, after a warm-up."""
    def repeat(duration, at_least):
        readings, end = [], time.perf_counter() + duration
        while time.perf_counter() < end or len(readings) < at_least:
            readings.append(step())
        return readings

    repeat(min(3, seconds / 3), 3)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    cpu, wall = time.process_time(), time.perf_counter()
    readings = repeat(seconds, 5)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    usage = resource.getrusage(resource.RUSAGE_SELF)
    milliseconds = [[1e3 * (b - a) for a, b in zip(r, r[1:])] for r in readings]
    return milliseconds, {
        "peak_rss_mb": round(usage.ru_maxrss / 1024, 1),
        "page_faults_per_step": round((usage.ru_minflt - faults) / len(readings), 2),
        "cpu_per_wall": round(cpu / wall, 3),
    }


def set_precision():
    tf32 = arguments.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True


def captured(step):
    """`step` as one CUDA graph; the steps before the capture run on a stream of their own, as PyTorch asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure_on_cuda(step, seconds):
    """Milliseconds of a step by the device's events, a sample at least 20 ms of steps, after a warm-up."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def sample(steps):
        begin.record()
        for _ in range(steps):
            step()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / steps

    def samples(duration, steps, at_least):
        times, stop = [], time.perf_counter() + duration
        while time.perf_counter() < stop or len(times) < at_least:
            times.append(sample(steps))
        return times

    samples(min(1, seconds / 3), 1, 7)
    steps = max(1, int(20 / sample(3)))
    return samples(seconds, steps, 7), steps


def main_on_cuda():
    if not torch.cuda.is_available():
        raise SystemExit("pytorch_training: PyTorch finds no CUDA device")
    torch.manual_seed(0)
    set_precision()
    model, x, labels = make_model_and_batch(arguments.model, arguments.batch)
    adam, adam_kind = make_adam(model)
    forward = torch.compile(model) if arguments.mode == "compiled" else model

    def step():
        adam.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=arguments.precision == "bf16"):
            logits = forward(x)
        F.cross_entropy(logits.float(), labels).backward()
        adam.step()

    times, steps = measure_on_cuda(step if arguments.mode == "eager" else captured(step), arguments.seconds)
    times.sort()
    step_ms = statistics.median(times)
    print(json.dumps({
        "implementation": "pytorch",
        "model": arguments.model,
        "batch": arguments.batch,
        "device": "cuda",
        "device_name": torch.cuda.get_device_name(),
        "precision": arguments.precision,
        "mode": arguments.mode,
        "clock": "device",
        "steps": len(times) * steps,
        "step_ms": round(step_ms, 5),
        "step_ms_min": round(times[0], 5),
        "step_ms_p10": round(times[len(times) // 10], 5),
        "step_ms_p90": round(times[len(times) * 9 // 10], 5),
        "samples_per_second": round(1e3 * arguments.batch / step_ms, 1),
        "peak_device_mb": round(torch.cuda.max_memory_allocated() / 2**20, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "adam": adam_kind,
    }))


def main():
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model, x, labels = make_model_and_batch(arguments.model, arguments.batch)
    adam, adam_kind = make_adam(model)

    def training_step():
        start = CLOCK()
        adam.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), labels)
        forward_done = CLOCK()
        loss.backward()
        backward_done = CLOCK()
        adam.step()
        return start, forward_done, backward_done, CLOCK()

    def optimizer_step():
        start = CLOCK()
        adam.step()
        return start, CLOCK()

    def evaluation_step():
        start = CLOCK()
        with torch.inference_mode():
            F.cross_entropy(model(x), labels)
        return start, CLOCK()

    step = training_step
    if arguments.optimizer_only:
        training_step()
        step = optimizer_step
    elif arguments.evaluate:
        model.eval()
        step = evaluation_step
    phases, usage = measure(step, arguments.seconds)
    totals = sorted(sum(times) for times in phases)
    medians = [round(statistics.median(column), 4) for column in zip(*phases)]
    names = ["optimizer_ms"] if arguments.optimizer_only else ["forward_ms", "backward_ms", "optimizer_ms"]
    if arguments.evaluate:
        names = []
    step_ms = statistics.median(totals)
    print(json.dumps({
        "implementation": "pytorch",
        "model": arguments.model,
        "pass": "evaluation" if arguments.evaluate else "training",
        "batch": arguments.batch,
        "threads": arguments.threads,
        "clock": "cpu" if CLOCK is time.process_time else "wall",
        "steps": len(totals),
        "step_ms": round(step_ms, 4),
        "step_ms_min": round(totals[0], 4),
        "step_ms_p10": round(totals[len(totals) // 10], 4),
        "step_ms_p90": round(totals[len(totals) * 9 // 10], 4),
        **dict(zip(names, medians)),
        "samples_per_second": round(1e3 * arguments.batch / step_ms, 1),
        **usage,
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "blas": blas_name(),
        "adam": adam_kind,
    }))


if arguments.device == "cuda":
    main_on_cuda()
else:
    main()
