#!/usr/bin/env python3
"""Writes schedules.json: the rates that other implementations of the schedules give, for tests/test_schedules.cpp.

`make_schedules.py` writes the file beside itself; `make_schedules.py --check` computes again and prints how far the file is away.
PyTorch's own schedulers answer where there is one. GreedyLR (arXiv:2512.14527) and hypergradient descent with Adam
(arXiv:1703.04782, Adam-HD) are written down here from the papers, in Python's plain lists and loops.
"""
import argparse
import json
import math
import warnings
from pathlib import Path

import torch
from torch.optim import lr_scheduler as torch_schedulers

from formula import uniform, write

warnings.filterwarnings("ignore")  # PyTorch wants optimizer.step() in between
PLACE = Path(__file__).with_name("schedules.json")
RATE = 0.02


def noise(count, stream):
    return (2 * uniform(count, stream) - 1).tolist()


def falling(count, stream, scale, spread):
    return [2.3 / (1 + scale * i) * (1 + spread * x) + 0.1 for i, x in enumerate(noise(count, stream))]


def metric_streams():
    """Values of a metric, one an evaluation or a step; None stands for NaN."""
    losses = falling(90, 1, 0.2, 0.15)
    losses[12] = None
    losses[13] = math.inf
    losses[40] = 9.0
    for i in range(60, 90):
        losses[i] += 0.02 * (i - 60)
    accuracies = [1 - x / 3 for x in falling(90, 2, 0.1, 0.1)]
    accuracies[20] = 0.0
    steps = falling(700, 3, 0.01, 0.3)
    steps[150] = 25.0
    for i in range(400, 470):
        steps[i] += 0.02 * (i - 400)
    steps[33] = steps[500] = None
    return {"losses": losses, "accuracies": accuracies, "steps": steps}


def optimizer(rate=RATE):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def rates_of(make, count, values=None):
    """The rates of steps 0 .. count - 1; a scheduler that reads values gets one after each step."""
    sgd = optimizer()
    scheduler = make(sgd)
    rates = []
    for i in range(count):
        rates.append(sgd.param_groups[0]["lr"])
        if values is None and i + 1 < count:
            scheduler.step()
        elif values is not None and values[i] is not SKIPPED:
            scheduler.step(math.nan if values[i] is None else values[i])
    return rates


SKIPPED = object()


def run(schedule, options, rates, total_steps=0, steps_per_epoch=1, **more):
    return {"schedule": schedule, "rate": RATE, "options": {k: str(v) for k, v in options.items()},
            "total_steps": total_steps, "steps_per_epoch": steps_per_epoch, **more, "rates": rates}


def closed_forms():
    t = torch_schedulers
    steps = 60
    yield run("constant", {}, [RATE] * 5)
    yield run("linear", {}, rates_of(lambda o: t.LinearLR(o, 1, 0, steps), steps), steps)
    yield run("step", {}, rates_of(lambda o: t.StepLR(o, 20), steps), steps, 2)
    yield run("step", {"factor": 0.5, "every": 3}, rates_of(lambda o: t.StepLR(o, 12, 0.5), steps), 0, 4)
    # The schedule of 50 epochs: a decay at each fifth of the run.
    yield run("step", {"as_epochs": 50}, rates_of(lambda o: t.MultiStepLR(o, [12, 24, 36, 48]), steps), steps, 7)
    yield run("exponential", {}, rates_of(lambda o: t.ExponentialLR(o, 0.96 ** 1e-4), steps), steps, 7)
    yield run("exponential", {"decay": 0.5, "steps": 10}, rates_of(lambda o: t.ExponentialLR(o, 0.5 ** 0.1), steps))
    yield run("exponential", {"decay": 0.5, "steps": 10, "staircase": "on"},
              rates_of(lambda o: t.StepLR(o, 10, 0.5), steps))
    # 50 epochs of 1,000 steps: 0.96^5 at the end of 60.
    yield run("exponential", {"as_epochs": 50},
              rates_of(lambda o: t.ExponentialLR(o, 0.96 ** (5 / 60)), steps), steps, 1000)
    for minimum in 0, 1e-3:
        yield run("cosine", {"min_lr": minimum}, rates_of(lambda o: t.CosineAnnealingLR(o, steps, minimum), steps), steps)
    for options in ({}, {"pct_start": 0.1, "div_factor": 5, "final_div_factor": 100}):
        make = lambda o: t.OneCycleLR(o, RATE, total_steps=steps, cycle_momentum=False, **options)
        yield run("one-cycle", options, rates_of(make, steps), steps)


def warm_ups():
    t, steps, length = torch_schedulers, 60, 6

    def behind(make, start):
        return lambda o: t.SequentialLR(o, [t.LinearLR(o, start, 1, length), make(o)], [length])

    for options, start in (({"warmup": 6}, 0.01), ({"warmup": 0.1, "warmup_start": 0.25}, 0.25)):
        yield run("cosine", options, rates_of(behind(lambda o: t.CosineAnnealingLR(o, steps - length), start), steps), steps)
        yield run("linear", options, rates_of(behind(lambda o: t.LinearLR(o, 1, 0, steps - length), start), steps), steps)
        yield run("step", {"every": 2, **options}, rates_of(behind(lambda o: t.StepLR(o, 20), start), steps), steps, 10)


def plateaus(streams):
    sets = [
        ("losses", {}),
        ("losses", {"patience": 3}),
        ("losses", {"patience": 0, "factor": 0.9}),
        ("losses", {"patience": 2, "factor": 0.5, "cooldown": 4}),
        ("losses", {"patience": 2, "factor": 0.3, "min_lr": 1e-3}),
        ("losses", {"patience": 2, "threshold": 0.05}),
        ("losses", {"patience": 2, "threshold": 0.05, "threshold_mode": "abs"}),
        ("losses", {"patience": 1, "factor": 0.5, "eps": 1e-3}),
        ("accuracies", {"mode": "max", "patience": 3}),
        ("accuracies", {"mode": "max", "patience": 2, "threshold": 0.02, "cooldown": 2, "factor": 0.5}),
        ("accuracies", {"mode": "max", "patience": 2, "threshold": 0.02, "threshold_mode": "abs"}),
    ]
    for name, options in sets:
        values = streams[name]
        rates = rates_of(lambda o: torch_schedulers.ReduceLROnPlateau(o, **options), len(values), values)
        yield run("plateau", options, rates, metric=name, feed="validation")
    # The means of windows of steps, of those that are finite; PyTorch sees one after each window.
    values = streams["steps"]
    for window, steps_per_epoch, patience in ((10, 1, 2), (10, 1, 0), (0, 25, 2)):
        length = window or steps_per_epoch
        means = []
        for i in range(len(values)):
            finite = [x for x in values[i + 1 - length:i + 1] if x is not None]
            means.append(sum(finite) / len(finite) if (i + 1) % length == 0 else SKIPPED)
        options = {"patience": patience, "factor": 0.5}
        rates = rates_of(lambda o: torch_schedulers.ReduceLROnPlateau(o, **options), len(values), means)
        options = {**options, "source": "training", "window": window}
        yield run("plateau", options, rates, 0, steps_per_epoch, metric="steps", feed="loss")


def greedy_rates(values, factor=0.95, patience=10, threshold=1e-6, threshold_mode="abs", window=50, cooldown=0, hold=0,
                 min_lr=1e-3, max_lr=1.0, eps=1e-8, reset_start=500):
    rate, rates = RATE, []
    history, best, good, bad, rest, at_minimum = [], math.inf, 0, 0, 0, 0
    for value in values:
        rates.append(rate)
        if value is None:  # not finite: the paper does not say; left out
            continue
        history.append(value)
        mean = sum(history[-window:]) / len(history[-window:])
        if rest > 0:
            rest, good, bad = rest - 1, 0, 0
            continue
        if mean < (best * (1 - threshold) if threshold_mode == "rel" else best - threshold):
            best, good, bad = mean, good + 1, 0
        else:
            good, bad = 0, bad + 1
        if good > patience:
            risen = min(rate / factor, max_lr)
            rate = risen if risen - rate > eps else rate
            rest, good, at_minimum = hold, 0, 0
        elif bad > patience:
            cut = max(rate * factor, min_lr)
            rate = cut if rate - cut > eps else rate
            rest, bad = cooldown, 0
            if rate <= min_lr:
                at_minimum += 1
                if at_minimum >= reset_start:
                    rate, history, best, at_minimum = RATE, [], math.inf, 0
    return rates


def greedies(streams):
    sets = [
        {},
        {"min_lr": 1e-5, "max_lr": 0.1},
        {"window": 1, "patience": 2, "factor": 0.8, "min_lr": 1e-4},
        {"window": 8, "patience": 3, "factor": 0.5, "cooldown": 6, "hold": 4},
        {"window": 8, "patience": 3, "factor": 0.5, "max_lr": 0.05, "min_lr": 0.01, "reset_start": 5},
        {"window": 20, "patience": 5, "threshold": 0.002, "threshold_mode": "rel", "min_lr": 1e-4},
        {"window": 20, "patience": 1, "factor": 0.9, "eps": 1e-3, "min_lr": 1e-4},
        {"window": 20, "patience": 1, "factor": 0.9, "eps": 1e-3, "min_lr": 1e-4, "max_lr": 0.0205},
    ]
    for options in sets:
        yield run("greedy", options, greedy_rates(streams["steps"], **options), metric="steps", feed="loss")


def hypergradient_run(beta, min_lr, max_lr):
    """Adam on 1/2 sum_i curvature_i x_i^2 whose rate follows its own gradient, from the next step on."""
    curvature, x = [0.1, 1.0, 7.0], [1.0, -2.0, 0.5]
    m, v, u = [0.0] * 3, [0.0] * 3, [0.0] * 3
    rate, rates, products = RATE, [], []
    for t in range(1, 121):
        g = [c * value for c, value in zip(curvature, x)]
        product = sum(a * b for a, b in zip(g, u))
        for i in range(3):
            m[i] = 0.9 * m[i] + 0.1 * g[i]
            v[i] = 0.999 * v[i] + 0.001 * g[i] ** 2
            u[i] = (m[i] / (1 - 0.9**t)) / (math.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
            x[i] -= rate * u[i]
        rates.append(rate)
        products.append(product)
        rate = min(max(rate + beta * product, min_lr), max_lr)
    return rates, products


def hypergradients():
    for beta, low, high in ((1e-7, 0, 1), (1e-3, 0, 1), (0.05, 0.015, 0.12)):
        rates, products = hypergradient_run(beta, low, high)
        yield run("hypergradient", {"beta": beta, "min_lr": low, "max_lr": high}, rates, products=products)


def everything():
    streams = metric_streams()
    runs = [*closed_forms(), *warm_ups(), *plateaus(streams), *greedies(streams), *hypergradients()]
    for one in runs:
        if "metric" in one:  # where the rate changes is all there is to know
            one["changes"] = [[i, x] for i, x in enumerate(one["rates"]) if i == 0 or x != one["rates"][i - 1]]
            one["steps"] = len(one.pop("rates"))
    # As text, because JSON knows neither NaN nor infinity.
    return {"metrics": {name: ["nan" if x is None else str(x) for x in values] for name, values in streams.items()},
            "runs": runs}


def distance(a, b):
    """The largest difference of two numbers at the same place; everything else has to be equal."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return max((distance(a[key], b[key]) for key in a), default=0)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max(map(distance, a, b), default=0)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b)
    if a != b:
        raise SystemExit(f"the file holds {b!r:.100} where now {a!r:.100} is computed")
    return 0


arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--check", action="store_true", help="compare with the file, write nothing")
if not arguments.parse_args().check:
    write(PLACE, everything())
else:
    print("largest difference of a number:", distance(everything(), json.loads(PLACE.read_text())))
