"""Safe reading of pickles of plain values and arrays of bytes, without running their code."""

import io
import pickle
from typing import Any, ClassVar

import numpy as np

from remanence.errors import UserError


class PlainArray:
    """Stands in for an array while a pickle is read; holds what the pickle says of it."""

    def __init__(self, *arguments: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """Return the bytes in the shape that the pickle states.

        Raises:
            ValueError: it is no array of bytes, or has another size.
        """
        try:
            _, shape, dtype, column_major, raw = self.state
            if not isinstance(dtype, PlainType) or dtype.code not in ("u1", b"u1") or not isinstance(raw, bytes):
                raise TypeError
            flat = np.frombuffer(raw, np.uint8)
            return flat.reshape(tuple(int(size) for size in shape), order="F" if column_major else "C")
        except (TypeError, ValueError) as error:
            raise UserError("it holds an array that is not of bytes, or not of the size that it claims") from error


class PlainType:
    """Stands in for a dtype."""

    def __init__(self, code: Any = None, *arguments: Any):
        self.code = code

    def __setstate__(self, state: Any) -> None:
        pass


def encode_text(text: str, encoding: str) -> bytes:
    """Decode bytes from the text that Python 3 writes for them in old pickle protocols."""
    return text.encode("latin1")


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): PlainArray,
    ("numpy._core.multiarray", "_reconstruct"): PlainArray,
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "dtype"): PlainType,
    ("_codecs", "encode"): encode_text,
}


class Restricted(pickle._Unpickler):  # type: ignore[attr-defined]
    """Finds stand-ins for arrays, and nothing else.

    The one in Python: that in C makes room for as many objects as a number in the file says.
    """

    dispatch: ClassVar = {  # without what makes room for bytes before it reads them
        code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a class."""
        found = ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain data do not need")
        return found


def read_plain(name: str, content: bytes) -> dict[str, Any]:
    """Read a pickled dictionary of plain values and arrays of bytes.

    Raises:
        ValueError: it is damaged, no dictionary, or asks for anything but arrays.
    """
    try:
        data = Restricted(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(data, dict):
            raise TypeError("it holds no dictionary")
        return {
            key.decode("latin1") if isinstance(key, bytes) else str(key): value.array()
            if isinstance(value, PlainArray)
            else value
            for key, value in data.items()
        }
    except Exception as error:  # what a damaged pickle raises is anything
        raise UserError(f"{name} cannot be read: {error}") from error
