"""Reading ``numpy.save`` files, whose size is checked before an array is allocated."""

import io
import math

import numpy as np
from numpy.lib import format as npy

from remanence.errors import UserError

MAGIC = npy.MAGIC_PREFIX
DIMENSIONS = 32


def read_npy(name: str, content: bytes) -> np.ndarray:
    """Read the array in a file.

    Args:
        name: the name of the file, for errors.
        content: the content of the file.

    Raises:
        ValueError: it is truncated, of another kind, or has not the size it claims.
    """
    try:
        file = io.BytesIO(content)
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, column_major, dtype = header(file)
    except Exception as error:  # a header is parsed as Python, and what that raises is anything
        raise UserError(f"{name} is truncated or not a .npy file: {get_first_line(error)}") from error
    data = memoryview(content)[file.tell() :]
    if dtype.hasobject or dtype.itemsize == 0:
        raise UserError(f"{name} holds no numbers or text of a fixed length")
    if len(shape) > DIMENSIONS or any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(data):
        raise UserError(f"{name} is truncated: it claims the shape {list(shape)} and holds {len(data):,} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if column_major else "C")


def get_first_line(error: Exception) -> str:
    """Return the first line of an error message."""
    return str(error).partition("\n")[0]
