"""Modules of the user's own."""

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from remanence.analysis import as_step
from remanence.inspection.subject import Subject
from remanence.inspection.weights import read_weights

CONTRACT = "forward(x, state) -> (y, state) with x [batch, time, input], state None at first"


def subject_of_module(
    name: str, checkpoint: Path | None = None, *, options: dict[str, Any] | None = None, input_size: int | None = None
) -> Subject:
    """A module that is imported and built, driven by white noise.

    Args:
        name: ``package.module:Class``.
        checkpoint: a file of its ``state_dict``; default: the weights that it is built with.
        options: arguments of the class.
        input_size: channels of its input; default: what the module says.

    Raises:
        ValueError: it cannot be imported or built, does not fit the checkpoint, or does not keep the contract.
    """
    module = built(name, options or {})
    if checkpoint is not None:
        try:
            module.load_state_dict(read_weights(checkpoint))
        except RuntimeError as error:
            raise ValueError(f"{checkpoint} does not fit {name}: {_line(error)}") from error
    check_contract(name, module, input_size)
    label = name.rpartition(":")[2] + (f" {checkpoint.name}" if checkpoint else "")
    about = f"{name}" + (f" with the weights of {checkpoint}" if checkpoint else " as it is built, untrained")
    return Subject.driven_by_noise(label, about, module, input_size)


def built(name: str, options: dict[str, Any]) -> nn.Module:
    """An instance of the class.

    Raises:
        ValueError: it cannot be imported or built, or is no module.
    """
    place, _, attribute = name.partition(":")
    if not place or not attribute:
        raise ValueError(f"--module takes package.module:Class, got {name!r}")
    try:
        factory = getattr(importlib.import_module(place), attribute)
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"no module could be imported from {name!r}: {_line(error)}") from error
    try:
        module = factory(**options)
    except Exception as error:
        hint = "" if options else "; give its arguments with --set module.options.NAME=VALUE"
        raise ValueError(f"{name} could not be built: {_line(error)}{hint}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"{name} makes a {type(module).__name__}, not a torch.nn.Module")
    return module


@torch.no_grad()
def check_contract(name: str, module: nn.Module, input_size: int | None) -> None:
    """Take two steps, the second from the state of the first.

    Raises:
        ValueError: the module does not do as the contract says.
    """
    try:
        module.double().eval()
        step = as_step(module, input_size=input_size)
        h = step.initial_state(2)
        for _ in range(2):
            h = step(step.silence(2), h)
    except Exception as error:
        line = _line(error).replace("pass input_size", "--set module.input_size=CHANNELS")
        raise ValueError(f"{name} does not keep the contract {CONTRACT}: {line}") from error


def _line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return " ".join(text.split())[:300]
