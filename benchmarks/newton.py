"""Newton over all time steps beside the fused loop, on continuous flip-flops, by length and number of elements.

Bounds, in numbers read and written a step and element (4 bytes each in float32), counted over the tensor operations:

    fused loop, forward                                    4   (2 inputs, 2 states), but its steps wait for each other
    linear recurrence of 1 state                          11   (a kernel of its own could do it in 5)
    linear recurrence of 2 states                         49   (a kernel of its own: 14; a scan by doubling: 34 log2 T)
    step and Jacobian of a flip-flop, 1 sub-step         188   (a kernel of its own: 10)
    one Newton iteration in all                          265

So k iterations and the check that follows move 265 (k + 1) numbers where the loop moves 4. With memory of bandwidth B
bytes a second, and s seconds for a step of the loop that only waits for the step before, Newton can be the faster one
only for fewer than s B / (1060 (k + 1)) elements: about 160 for s = 0.2 µs, B = 4.8 TB/s (one H200) and k = 5.
"""

import itertools
import math

import torch
from _interleaved import measure_medians, show

import remanence
from remanence.nn.flip_flop import CFF

torch.set_num_threads(1)  # operations as small as Newton's gain nothing from a second thread
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LENGTHS = (1024, 16384, 65536) if DEVICE == "cuda" else (256, 1024, 4096)
ELEMENTS = (64, 1024, 4096) if DEVICE == "cuda" else (64,)
CHANNELS = 64
BISTABILITY = {"as they start": 1.0, "mildly bistable": 0.7}
"""Factors on the conductance by which q and r inhibit each other; at 0.7 most pairs still hold a bit."""


def problem(batch: int, time: int, factor: float):
    torch.manual_seed(0)
    layer = CFF(1, CHANNELS, sub_steps=1, horizon=time).to(DEVICE)
    with torch.no_grad():
        layer.log_conductance_mutual += math.log(factor)
        layer.bias.zero_()
    params = list(layer._params().detach())
    inputs = [torch.randn(batch, time, CHANNELS, device=DEVICE) - 2 for _ in range(2)]
    return layer._step, inputs, list(layer.initial_state(batch)), params


def prepare_call(backend: str, step, inputs, state, params, backward: bool):
    wanted = [x.clone().requires_grad_(backward) for x in (*inputs, *params)]

    def run():
        (q, _), _ = remanence.scan(step, wanted[: len(inputs)], state, wanted[len(inputs) :], backend=backend)
        if backward:
            torch.autograd.grad(q.sum(), wanted)
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return run


def main():
    for elements, time, (kind, factor) in itertools.product(ELEMENTS, LENGTHS, BISTABILITY.items()):
        tensors = problem(elements // CHANNELS, time, factor)
        remanence.reset_scan_statistics()
        prepare_call("newton", *tensors, backward=False)()
        counted = remanence.scan_statistics()
        ways = {
            f"{name}, {what}": prepare_call(name, *tensors, backward=backward)
            for backward, what in ((False, "forward"), (True, "forward + backward"))
            for name in ("auto", "newton")
        }
        title = (
            f"{DEVICE}, {elements} elements, time {time}, float32, flip-flops {kind}: {counted.iterations} iterations"
        )
        fallback = ", ".join(f"fell back: {reason}" for reason in counted.fallbacks)
        show(f"{title} {fallback}", measure_medians(ways, 5), "auto, forward")


if __name__ == "__main__":
    main()
