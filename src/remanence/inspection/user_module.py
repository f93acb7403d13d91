"""Modules of the user's own."""

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from remanence._torch import pytree
from remanence.analysis import as_step
from remanence.errors import UserError
from remanence.inspection.subject import Subject
from remanence.inspection.weights import read_weights
from remanence.nn import Memory

CONTRACT = "forward(x, state) -> (y, state) with x [batch, time, input], state None at first"


def subject_of_module(
    name: str, checkpoint: Path | None = None, *, options: dict[str, Any] | None = None, input_size: int | None = None
) -> Subject:
    """Import and build a module of the user; it is driven by white noise.

    Args:
        name: ``package.module:Class``.
        checkpoint: a file of its ``state_dict``; default: the weights that it is built with.
        options: arguments of the class.
        input_size: channels of its input; default: what the module says.

    Returns:
        The subject.

    Raises:
        ValueError: it cannot be imported or built, does not fit the checkpoint, or does not satisfy the contract.
    """
    module = build_module(name, options or {})
    if checkpoint is not None:
        try:
            module.load_state_dict(read_weights(checkpoint))
        except RuntimeError as error:
            raise UserError(f"{checkpoint} does not fit {name}: {_format_error(error)}") from error
    module = check_contract(name, module, input_size)
    label = name.rpartition(":")[2] + (f" {checkpoint.name}" if checkpoint else "")
    about = f"{name}" + (f" with the weights of {checkpoint}" if checkpoint else " as it is built, untrained")
    return Subject.from_noise(label, about, module)


def build_module(name: str, options: dict[str, Any]) -> nn.Module:
    """Create an instance of the class.

    Raises:
        ValueError: it cannot be imported or built, or is no module.
    """
    place, _, attribute = name.partition(":")
    if not place or not attribute:
        raise UserError(f"--module takes package.module:Class, got {name!r}")
    try:
        factory = getattr(importlib.import_module(place), attribute)
    except Exception as error:  # the user's code may raise anything
        raise UserError(f"no module could be imported from {name!r}: {_format_error(error)}") from error
    try:
        module = factory(**options)
    except Exception as error:
        hint = "" if options else "; give its arguments with --set module.options.NAME=VALUE"
        raise UserError(f"{name} could not be built: {_format_error(error)}{hint}") from error
    if not isinstance(module, nn.Module):
        raise UserError(f"{name} makes a {type(module).__name__}, not a torch.nn.Module")
    return module


class BatchFirst(nn.Module):
    """A module whose state has the batch elsewhere than in front, as the states of ``torch.nn.LSTM`` have.

    Args:
        module: the user's own.
        places: the dimension of the batch in each tensor of the state, nested as that is.
    """

    def __init__(self, module: nn.Module, places: Any, input_size: int):
        super().__init__()
        self.module, self.places, self.input_size = module, places, input_size

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run the module."""
        if state is not None:
            state = pytree.tree_map(lambda leaf, place: leaf.movedim(0, place).contiguous(), state, self.places)
        y, after = self.module(x, state)
        return y, pytree.tree_map(lambda leaf, place: leaf.movedim(place, 0), after, self.places)


@torch.no_grad()
def check_contract(name: str, module: nn.Module, input_size: int | None) -> nn.Module:
    """Check the module by two steps, the second from the state of the first; return it with the batch first.

    Raises:
        ValueError: the module does not do as the contract says.
    """
    module.double().eval()
    if isinstance(module, Memory | nn.RNNBase):
        return module
    size = getattr(module, "input_size", None) if input_size is None else input_size
    if not isinstance(size, int):
        raise UserError(f"{name} has no attribute input_size: --set module.input_size=CHANNELS")
    try:
        (_, two), (_, three) = (module(torch.zeros(batch, 1, size).double(), None) for batch in (2, 3))
        module = BatchFirst(module, pytree.tree_map(_find_batch_dimension, two, three), size)
        step = as_step(module)
        if step.dtype != torch.float64:
            raise UserError(f"a state of {step.dtype} resulted from an input of float64: keep the dtype of x")
        step(step.silence(2), step(step.silence(2), step.initial_state(2)))
    except Exception as error:
        raise UserError(f"{name} does not satisfy the contract {CONTRACT}: {_format_error(error)}") from error
    return module


def _find_batch_dimension(two: Tensor, three: Tensor) -> int:
    """Find the dimension in which two states for different batch sizes differ."""
    for place, sizes in enumerate(zip(two.shape, three.shape, strict=True)):
        if sizes == (2, 3):
            return place
    raise UserError(f"its state {list(two.shape)} does not grow with the batch")


def _format_error(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return " ".join(text.split())[:300]
