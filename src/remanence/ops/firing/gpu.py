"""The firing of neurons on GPUs: a Triton kernel that fires a level of the graph at once."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from remanence._kernels import triton_support
from remanence._kernels.source_text import load_functions
from remanence.ops.firing.firing_schedule import Schedule
from remanence.ops.firing.gpu_source import backward_source, forward_source
from remanence.ops.scan.trace import TracedStep

SAMPLES, BLOCK = 16, 256


def forward(
    schedule: Schedule, function: TracedStep, drive: Tensor, state: Tensor, weight: Tensor, *anew: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the values before the first firing and after each, as :func:`remanence.ops.firing.cpu.forward` does."""
    neurons, time, batch = drive.shape
    steps = time * schedule.ticks
    values, before = _allocate(drive, neurons, steps + 1, batch), _allocate(drive, neurons, steps, batch)
    values[:, 0] = state
    tensors = {"drive_at": drive, "held_at": values, "before_at": before}
    tensors |= dict(zip(("reset_at", "anew_at"), anew, strict=False))
    _launch(schedule, function, weight, drive, tensors, back=False)
    return values, before


def backward(
    schedule: Schedule, function: TracedStep, above: Tensor, before: Tensor, weight: Tensor, *reset: Tensor
) -> Tensor:
    """Compute the gradients of f's arguments in every firing, from those of the values after each time step."""
    grads = _allocate(before, *before.shape)
    tensors = {"above_at": above, "held_at": grads, "before_at": before}
    tensors |= dict(zip(("reset_at",), reset, strict=False))
    _launch(schedule, function, weight, above, tensors, back=True)
    return grads


def weight_gradient(schedule: Schedule, weight: Tensor, values: Tensor, grads: Tensor) -> Tensor:
    """Compute the gradients of the weights."""
    matrix = schedule.weight_gradient(values, grads)
    if weight.ndim == 2:
        return matrix
    receiver, sender = torch.from_numpy(schedule.edges).to(weight.device).unbind(1)
    return matrix[receiver, sender]


def _launch(
    schedule: Schedule, function: TracedStep, weight: Tensor, like: Tensor, tensors: dict[str, Tensor], *, back: bool
) -> None:
    _, time, batch = like.shape
    levels = schedule.levels[::-1] if back else schedule.levels
    if weight.ndim == 2:
        receiver, sender = torch.from_numpy(schedule.edges).to(weight.device).unbind(1)
        weight = weight[receiver, sender]
    first, other, shift, edge = schedule.receivers if back else schedule.senders
    degree = np.diff(first.numpy())
    sizes = [0, *(len(level) for level in levels)]
    numbers = {
        "order_at": torch.tensor([neuron for level in levels for neuron in level]),
        "level_at": torch.tensor(sizes).cumsum(0),
        "most_at": torch.tensor([int(degree[level].max()) for level in levels]),
        "first_at": first,
        "other_at": other,
        "shift_at": shift,
        "keep_at": torch.tensor([schedule.keep], dtype=torch.promote_types(like.dtype, torch.float32)),
    }
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    tensors |= {name: tensor.to(like.device) for name, tensor in numbers.items()}
    tensors["weight_at"] = weight[edge.to(weight.device)]
    sizes = {"time": time, "ticks": schedule.ticks, "batch": batch, "levels": len(levels)}
    with torch.cuda.device_of(like):
        _get_kernel(function, back, "reset_at" in tensors)[(-(-batch // SAMPLES),)](
            **tensors, **sizes, BLOCK=BLOCK, SAMPLES=SAMPLES
        )


def _get_kernel(function: TracedStep, back: bool, resets: bool) -> Any:
    interpreted = triton_support.is_interpreted()
    key = ("fastlane on gpu", back, interpreted, resets)
    if key not in function.kernels:
        if back:
            text = backward_source(function.vjp((True,)), function.dtype, resets=resets)
        else:
            text = forward_source(function.forward, function.dtype, resets=resets)
        function.kernels[key] = load_functions(text, interpreted)["backward" if back else "forward"]
    return function.kernels[key]


def _allocate(like: Tensor, *shape: int) -> Tensor:
    """Return an uninitialized tensor, all of which a kernel will write."""
    return torch.empty(shape, dtype=like.dtype, device=like.device)
