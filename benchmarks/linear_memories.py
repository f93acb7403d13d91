"""Steps that are linear in their state: all time steps at once beside the fused loop, by length and number of lanes.

Bounds, in numbers read and written a step and lane (4 bytes each in float32), forwards:

    fused loop of a minGRU                  3   (2 inputs, 1 state), but its steps wait for each other
    the step, its b and its A              25
    the associative scan of one state      11
    in all, with the check                 50

So with memory of bandwidth B bytes a second, and s seconds for a step of the loop that only waits for the step before,
all steps at once can be the faster way for fewer than s B / 200 lanes: about 4,800 for s = 0.2 µs, B = 4.8 TB/s (one
H200). A complex state or an oscillator moves three times as much. And a call takes the time of about 100 operations of
PyTorch, whatever its length.
"""

import itertools

import torch
from _interleaved import measure_medians, show

import remanence
from remanence import nn
from remanence.nn.lru import turn_step

torch.set_num_threads(1)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LENGTHS = (512, 4096, 32768) if DEVICE == "cuda" else (256, 4096)
LANES = (64, 1024, 16384) if DEVICE == "cuda" else (64, 1024)
CHANNELS = 64


def prepare_call(backend: str, step, inputs, state, params):
    def run():
        wanted = [x.detach().requires_grad_() for x in (*inputs, *params)]
        states, _ = remanence.scan(step, wanted[: len(inputs)], state, wanted[len(inputs) :], backend=backend)
        torch.autograd.grad(states[-1].sum(), wanted)
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return run


def steps():
    """Each step with its inputs, states and params, as its layer has them."""
    gated, unit, oscillators = nn.MinGRU(1, CHANNELS), nn.LRU(1, CHANNELS), nn.LinOSS(1, CHANNELS)
    yield "minGRU", gated._step, 2, 1, ()
    yield "LRU", turn_step, 2, 2, [value.detach().to(DEVICE) for value in unit._compute_eigenvalues()]
    yield "LinOSS", oscillators._step, 1, 2, [value.detach().to(DEVICE) for value in oscillators._params()]


def main():
    torch.manual_seed(0)
    loop = "gpu" if DEVICE == "cuda" else "cpu"
    for (name, step, inputs, states, params), lanes, time in itertools.product(steps(), LANES, LENGTHS):
        batch = lanes // CHANNELS
        drives = [torch.randn(batch, time, CHANNELS, device=DEVICE) for _ in range(inputs)]
        state = [torch.zeros(batch, CHANNELS, device=DEVICE) for _ in range(states)]
        ways = {way: prepare_call(way, step, drives, state, params) for way in (loop, "associative")}
        title = f"{name}: {lanes} lanes, {time} steps, float32 on {DEVICE}, forward + backward"
        show(title, measure_medians(ways, repeats=5), loop)


if __name__ == "__main__":
    main()
