"""Weights out of files of others; nothing in such a file is ever run."""

from pathlib import Path
from typing import Any

from torch import Tensor

from remanence.checkpoints import read_tensors
from remanence.errors import UserError
from remanence.extras import require_extra

NESTED = ("state_dict", "model_state_dict", "model")  # where training programs put the weights in a larger checkpoint


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, or of a ``state_dict`` written by ``torch.save``.

    Raises:
        ValueError: the file is missing, or is neither.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: give a run folder or a checkpoint file")
    content: Any = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for name in NESTED:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    named = content if isinstance(content, dict) else {}
    tensors = {key: value for key, value in named.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path} holds no named tensors: save model.state_dict()")
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with require_extra("analysis", str(path)):
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file, or is damaged: {error}") from error


def _read_pickle(path: Path) -> Any:
    try:
        return read_tensors(path)
    except UserError as error:
        raise UserError(f"{path} is not a checkpoint of tensors: {error}; save model.state_dict()") from error
