"""How much faster than the plain PyTorch loop does nn.Fastlane fire, and how near does it come to torch.nn.RNN?

Bounds: a dense network of N neurons needs N² multiply-adds a sample and step forwards and twice that backwards, as an
RNN does; but these are N vectors one after the other where the RNN has one product of matrices.
"""

import statistics
import time

import torch
from _interleaved import medians, show

from remanence import nn
from remanence.nn.fastlane import reference

torch.set_num_threads(2)
BATCH, TIME, INPUTS, NEURONS = 32, 128, 16, 256


def both_ways(layer: torch.nn.Module, x: torch.Tensor):
    def call():
        layer.zero_grad()
        layer(x)[0].sum().backward()

    return call


def looped(layer: nn.Fastlane, x: torch.Tensor, *, by_level: bool):
    """Forward and backward of the plain loop: neuron by neuron, or a level at a time."""
    schedule = layer.schedule
    groups = schedule.levels if by_level else [[neuron] for neuron in layer.order.tolist()]

    def call():
        layer.zero_grad()
        drive = torch.nn.functional.linear(x, layer.weight_ih, layer.bias).permute(2, 1, 0)
        state = torch.zeros(layer.hidden_size, len(x))
        reference.fire(schedule, groups, drive, state, layer.weights()).sum().backward()

    return call


def once(call) -> float:
    """Seconds of the second and third call, for what is too slow to repeat."""
    call()
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def against_the_loop():
    x = torch.randn(BATCH, TIME, INPUTS)
    layer = nn.Fastlane(INPUTS, NEURONS, density=0.1, leak=0.1)
    fused = "nn.Fastlane, 10% of the edges"
    figures = medians({fused: both_ways(layer, x)})
    figures["plain loop, neuron by neuron"] = once(looped(layer, x, by_level=False))
    figures[f"plain loop, {len(layer.schedule.levels)} levels"] = once(looped(layer, x, by_level=True))
    show(f"{NEURONS} neurons, batch {BATCH}, time {TIME}, forward + backward", figures, fused)


def by_density():
    x = torch.randn(BATCH, TIME, INPUTS)
    ways = {"torch.nn.RNN": both_ways(torch.nn.RNN(INPUTS, NEURONS, nonlinearity="relu", batch_first=True), x)}
    for density in (0.01, 0.1, 0.2, 0.3, 0.5, 1.0):
        ways[f"nn.Fastlane, density {density}"] = both_ways(nn.Fastlane(INPUTS, NEURONS, density=density, leak=0.1), x)
    show(f"{NEURONS} neurons, batch {BATCH}, time {TIME}, forward + backward", medians(ways), "torch.nn.RNN")


if __name__ == "__main__":
    by_density()
    against_the_loop()
