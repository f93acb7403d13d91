"""Checks object files before LLVM loads them: given anything else, LLVM ends the process."""

import struct

_ELF = {b"\x7fELF\x02\x01": "<", b"\x7fELF\x02\x02": ">"}  # with the byte order of numbers
_MACH = b"\xcf\xfa\xed\xfe"
_COFF = (b"\x64\x86", b"\x64\xaa")  # x86-64 and ARM64


def is_whole(code: bytes) -> bool:
    """Return whether these bytes begin like a 64-bit object file and are as long as its header says."""
    try:
        end = _find_end(code)
    except struct.error:
        return False
    return end is not None and end <= len(code)


def _find_end(code: bytes) -> int | None:
    """Return where the last table that the header names ends; None if there is no header or no table."""
    if order := _ELF.get(code[:6]):  # Linux and most others: the table of sections is last
        (start,), (size, count) = struct.unpack_from(f"{order}Q", code, 40), struct.unpack_from(f"{order}HH", code, 58)
        return start + size * count if count else None
    if code.startswith(_MACH):  # macOS: load commands follow the header
        count, size = struct.unpack_from("<II", code, 16)
        return 32 + size if count else None
    if code.startswith(_COFF):  # Windows: symbols, then a table of strings that begins with its size
        (count,), (start, symbols) = struct.unpack_from("<H", code, 2), struct.unpack_from("<II", code, 8)
        strings = start + 18 * symbols
        return strings + struct.unpack_from("<I", code, strings)[0] if count else None
    return None
