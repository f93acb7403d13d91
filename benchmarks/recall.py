"""Recall of one of four symbols after noise: how many optimiser steps until each memory can do it, by delay.

All models have about as many parameters as 32 continuous flip-flops, no embedding, and a linear readout of the last
output. Adam, batches of 32 fresh sequences, gradients clipped to norm 1. The learning rate of each is the best of four
at the shortest delay, on a seed of its own. A run has succeeded when at most 1% of 200 validation sequences are named
wrongly; it ends there, after 1,500 steps, or after 100 s of processor time. At the longest delay a memory whose first
seed failed is not tried with the others. Flip-flops (``horizon``) and the LSTM with chrono initialisation are told the
delay, the others are not; how flip-flops start was found with this task. With a noise of 0.3 they learn a delay of
1,000 but not one of 10,000; 0.1 was chosen after that was seen.

Every finished run is a line of results/recall.csv; the same command goes on behind the last one. ``--table`` only
writes results/recall.md anew.
"""

import argparse
import csv
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from remanence import nn
from remanence.models import SequenceModel
from remanence.tasks import Recall

RESULTS = Path(__file__).parent / "results"
DELAYS, SEEDS, RATES = (100, 1000, 10_000), (0, 1, 2), (1e-3, 3e-3, 1e-2, 3e-2)
STEPS, BATCH, EVERY, SUCCESS, SEARCH_SEED = 1500, 32, 25, 0.01, 100
SEARCH_SECONDS = 60
FIELDS = ("kind", "layer", "units", "parameters", "delay", "rate", "seed", "steps", "error", "solved", "seconds")


def chrono(layer: nn.LSTM, delay: int) -> None:
    """Tallec & Ollivier 2018: forget gates open for 1 to ``delay`` steps, input gates closed as far."""
    biases = layer.rnn.bias_ih_l0, layer.rnn.bias_hh_l0
    with torch.no_grad():
        for bias in biases:
            bias.zero_()
        gate_i, gate_f, *_ = biases[0].chunk(4)
        gate_f.uniform_(1, delay).log_()
        gate_i.copy_(-gate_f)


def layer_of(name: str, units: int, inputs: int, delay: int) -> nn.Memory:
    if name == "lstm, chrono":
        layer = nn.LSTM(inputs, units)
        chrono(layer, delay)
        return layer
    options = {"horizon": delay} if name == "cff" else {}
    return nn.create(name, input_size=inputs, hidden_size=units, **options)


LAYERS = ("cff", "reciprocal_gated", "lstm", "lstm, chrono", "gru", "irnn", "ltc")


def model_of(name: str, units: int, task: Recall) -> SequenceModel:
    memory = layer_of(name, units, task.input_size, task.delay)
    return SequenceModel(memory, task.target_size, input_size=task.input_size, embedding=(), readout=())


def size(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def units_of(name: str) -> int:
    """Units with which a model has about as many parameters as 32 flip-flops."""
    task = Recall()
    target = size(model_of("cff", 32, task))
    return min(range(2, 200), key=lambda units: abs(size(model_of(name, units, task)) - target))


def run(name: str, delay: int, rate: float, seed: int, seconds: float) -> dict[str, Any]:
    task = Recall(delay=delay, seed=seed)
    validation, rng = task.dataset("validation"), np.random.default_rng([seed, 3])
    torch.manual_seed(seed)
    units = units_of(name)
    torch.manual_seed(seed)
    model = model_of(name, units, task)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    start, step, error = time.process_time(), 0, 1.0
    while step < STEPS and time.process_time() - start < seconds and error > SUCCESS:
        samples, step = task.draw(BATCH, rng), step + 1
        loss = task.loss(model(samples.inputs), samples.targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % EVERY == 0 or step == STEPS:
            error = error_of(model, task, validation)
    if error > SUCCESS:
        error = error_of(model, task, validation)
    return {
        "layer": name,
        "units": units,
        "parameters": size(model),
        "delay": delay,
        "rate": rate,
        "seed": seed,
        "steps": step,
        "error": round(error, 4),
        "solved": int(error <= SUCCESS),
        "seconds": round(time.process_time() - start, 1),
    }


@torch.no_grad()
def error_of(model: torch.nn.Module, task: Recall, samples: Any) -> float:
    batches = zip(samples.inputs.split(50), samples.targets.split(50), strict=True)
    return statistics.mean(float(task.measure(model(x), target)) for x, target in batches)


def read_finished(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open() as file:
        numbers: dict[str, Callable[[str], Any]] = dict.fromkeys(FIELDS, int)
        numbers |= {"kind": str, "layer": str, "rate": float, "error": float, "seconds": float}
        return [{name: numbers[name](value) for name, value in row.items()} for row in csv.DictReader(file)]


def best_rate(rows: list[dict[str, Any]], name: str) -> float:
    """The rate that succeeded first at the shortest delay, else the one that erred least there."""
    tried = [row for row in rows if (row["kind"], row["layer"]) == ("search", name)]
    return min(tried, key=lambda row: (not row["solved"], row["steps"] if row["solved"] else row["error"]))["rate"]


def hopeless(rows: list[dict[str, Any]], name: str, delay: int) -> bool:
    """Whether the first seed failed at the longest delay."""
    first = ("run", name, DELAYS[-1], SEEDS[0])
    failed = [row for row in rows if (row["kind"], row["layer"], row["delay"], row["seed"]) == first]
    return delay == DELAYS[-1] and any(not row["solved"] for row in failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", default=";".join(LAYERS), help="separated by ;")
    parser.add_argument("--delays", default=",".join(map(str, DELAYS)))
    parser.add_argument("--seconds", type=float, default=100, help="of processor time, each run")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # vanishing gradients end as denormal numbers, which are up to ten times slower
    path = RESULTS / "recall.csv"
    layers, delays = options.layers.split(";"), [int(delay) for delay in options.delays.split(",")]
    plan = [("search", DELAYS[0], rate, SEARCH_SEED, name) for name in layers for rate in RATES]
    plan += [("run", delay, None, seed, name) for delay in delays for seed in SEEDS for name in layers]
    for kind, delay, rate, seed, name in [] if options.table else plan:
        rows = read_finished(path)
        rate = rate or best_rate(rows, name)
        if kind == "run" and seed > 0 and hopeless(rows, name, delay):
            continue
        done = {(row["kind"], row["layer"], row["delay"], row["rate"], row["seed"]) for row in rows}
        if (kind, name, delay, rate, seed) not in done:
            result = run(name, delay, rate, seed, SEARCH_SECONDS if kind == "search" else options.seconds)
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, FIELDS)
                if not rows:
                    writer.writeheader()
                writer.writerow({"kind": kind, **result})
            print(kind, *result.values(), flush=True)
    (RESULTS / "recall.md").write_text(make_table(read_finished(path)))


def make_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: for each layer and delay the steps of every seed."""
    lines = [
        "# Recall of a symbol after noise: steps to success",
        "",
        *__doc__.split("\n\n")[1].splitlines(),
        "",
        "Noise 0.1, the symbol shown for 10 steps. A cell has the steps of each seed that was run, in brackets the",
        "error where it did not succeed in so many steps (chance is 0.75), and milliseconds of processor time a step.",
        f"torch {torch.__version__}. Written by `python benchmarks/recall.py`; every run is in `recall.csv`.",
        "",
        "| layer | units | parameters | learning rate | " + " | ".join(f"delay {delay:,}" for delay in DELAYS) + " |",
        "| --- | --- | --- | --- |" + " --- |" * len(DELAYS),
    ]
    runs = [row for row in rows if row["kind"] == "run"]
    for name in LAYERS:
        if own := [row for row in runs if row["layer"] == name]:
            cells = [cell([row for row in own if row["delay"] == delay]) for delay in DELAYS]
            facts = (f"`{name}`", own[0]["units"], f"{own[0]['parameters']:,}", f"{best_rate(rows, name):g}")
            lines.append("| " + " | ".join(map(str, (*facts, *cells))) + " |")
    return "\n".join(lines) + "\n"


def cell(runs: list[dict[str, Any]]) -> str:
    if not runs:
        return "not run"
    milliseconds = max(0.01, statistics.median(1000 * row["seconds"] / row["steps"] for row in runs))
    steps = [f"{row['steps']:,}" if row["solved"] else f"({row['steps']:,}: {row['error']:.2f})" for row in runs]
    digits = max(0, 1 - math.floor(math.log10(milliseconds)))
    return f"{', '.join(steps)}; {milliseconds:.{digits}f} ms"


if __name__ == "__main__":
    main()
