"""Whether bytes are an object file: LLVM, asked to load anything else, ends the process."""

import struct

_ELF = {b"\x7fELF\x02\x01": "<", b"\x7fELF\x02\x02": ">"}  # and in which order the bytes of a number are
_MACH = b"\xcf\xfa\xed\xfe"
_COFF = (b"\x64\x86", b"\x64\xaa")  # of x86-64 and of ARM64


def is_whole(code: bytes) -> bool:
    """Whether these bytes begin as an object file of 64 bits does, and go on as far as its tables reach."""
    try:
        end = _end(code)
    except struct.error:
        return False
    return end is not None and end <= len(code)


def _end(code: bytes) -> int | None:
    """Where the last table ends that the header names; None if this is no header, or it names none."""
    if order := _ELF.get(code[:6]):  # Linux and most others: the table of sections is last
        (start,), (size, count) = struct.unpack_from(f"{order}Q", code, 40), struct.unpack_from(f"{order}HH", code, 58)
        return start + size * count if count else None
    if code.startswith(_MACH):  # macOS: what lies where stands behind the header
        count, size = struct.unpack_from("<II", code, 16)
        return 32 + size if count else None
    if code.startswith(_COFF):  # Windows: symbols, then a table of strings that begins with its size
        (count,), (start, symbols) = struct.unpack_from("<H", code, 2), struct.unpack_from("<II", code, 8)
        strings = start + 18 * symbols
        return strings + struct.unpack_from("<I", code, strings)[0] if count else None
    return None
