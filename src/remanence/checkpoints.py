"""Safe reading of ``torch.save`` files: no code is run, and no more is allocated than they contain."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from remanence.errors import UserError

SHARED = 16  # tensors may share what is stored (tied weights), but not this often on average
SLACK = 1 << 20  # bytes beyond that


def read_tensors(path: Path) -> Any:
    """Read the plain data and tensors of a checkpoint, on the CPU.

    Args:
        path: the file.

    Raises:
        ValueError: it is damaged, holds other Python objects, or claims to be larger than it is.
        OSError: there is no such file, or it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            if zipfile.is_zipfile(file):
                _check_entries(zipfile.ZipFile(file), size)
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # what a damaged or hostile pickle raises is anything
            if "weights_only" in str(error) and "GLOBAL" in str(error):
                raise UserError("it holds other Python objects, which are not loaded") from error
            raise UserError("it is damaged, or of another kind") from error
    _check_sizes(content, size)
    return content


def _check_entries(archive: zipfile.ZipFile, size: int) -> None:
    if sum(entry.file_size for entry in archive.infolist()) > size:
        raise UserError("entries are compressed, which torch.save does not do")


def _check_sizes(content: Any, size: int) -> None:
    total = 0
    for tensor in _iter_tensors(content):
        if tensor.is_meta or tensor.layout != torch.strided:
            raise UserError("it holds tensors without values, or sparse ones")
        needed = tensor.numel() * tensor.element_size()
        total += needed
        if needed > tensor.untyped_storage().nbytes() or total > SHARED * size + SLACK:
            raise UserError("its tensors are larger than the data that it holds")


def _iter_tensors(content: Any) -> Iterator[Tensor]:
    waiting, seen = [content], set()
    while waiting:  # not recursive: it may be nested deeper than Python can follow
        each = waiting.pop()
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, dict | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            waiting += each.values() if isinstance(each, dict) else each
