"""A liquid network steers a cart at 1 kHz on one core, sample by sample: how long does a step take, at worst?

It learns to imitate a PD controller, then closes the loop in real time: once by ``layer.step`` in Python; with
--compile (a C++ compiler, a minute) also as an exported program; "nothing" shows what the machine itself takes.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from remanence import nn
from remanence.wiring import auto_ncp

TICK, FRICTION, GAINS = 1e-3, 0.5, torch.tensor([4.0, -3.0])  # seconds; 1/s; on (error, velocity)


def train_imitator(iterations: int) -> nn.LTC:
    torch.manual_seed(0)
    layer = nn.LTC(2, 16, wiring=auto_ncp(2, 16, outputs=1, seed=0))
    optimizer = torch.optim.Adam(layer.parameters(), lr=2e-2)
    for _ in range(iterations):
        seen = 2 * torch.rand(64, 2) - 1
        force, _ = layer(seen[:, None].expand(-1, 8, -1))  # 8 ms, in which the cart hardly moves
        optimizer.zero_grad()
        (force[:, -1] - seen @ GAINS[:, None]).square().mean().backward()
        optimizer.step()
    return layer.eval()


def compile_layer(streaming: nn.Streaming) -> Any:
    with torch.no_grad():
        program = torch.export.export(streaming, (torch.zeros(1, 2), *streaming.initial_state(1)))
    file = torch._inductor.aoti_compile_and_package(program, package_path=f"{tempfile.mkdtemp()}/ltc.pt2")
    return torch._inductor.aoti_load_package(file)


@torch.inference_mode()
def steer(step: Any, state: Sequence[Tensor], ticks: int) -> tuple[np.ndarray, float]:
    """Seconds of every step in a closed loop, and where the cart, at first 0.5 m away from its target 0, ends."""
    seen, position, velocity, taken = torch.zeros(1, 2), -0.5, 0.0, np.empty(ticks)
    for _ in range(100):
        step(seen, *state)  # the first steps load code
    due = time.perf_counter()
    for tick in range(ticks):
        due += TICK
        time.sleep(max(0.0, due - time.perf_counter()))
        due = start = max(due, time.perf_counter())
        seen[0, 0], seen[0, 1] = -position, velocity
        force, *state = step(seen, *state)
        velocity += TICK * (float(force) - FRICTION * velocity)
        position += TICK * velocity
        taken[tick] = time.perf_counter() - start
    return taken, position


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=5000)
    parser.add_argument("--training", type=int, default=300, help="iterations")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    streaming = nn.Streaming(train_imitator(options.training))
    ways = {"nothing": lambda seen, *state: (seen[:, :1], *state), "layer.step": streaming}
    ways |= {"compiled": compile_layer(streaming)} if options.compile else {}
    table = Table("step", "p50, µs", "p99", "p99.9", "max", "missed deadlines", "cart, m")
    for name, step in ways.items():
        taken, end = steer(step, streaming.initial_state(1), options.ticks)
        figures = [f"{1e6 * value:.0f}" for value in np.percentile(taken, [50, 99, 99.9, 100])]
        table.add_row(name, *figures, f"{(taken > TICK).sum()} of {len(taken)}", f"{end:+.3f}")
    Console().print(table)
