"""Ways to damage a file: all drawn from one generator, so that a case can be made again from its number."""

import gzip
import random
import zlib
from collections.abc import Sequence

NUMBERS = [b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\xff" * 8, b"\0" * 8]
TOKENS = [
    b"nan", b"inf", b"-1", b"1e999", b"99999999999999999999", b"0", b"", b"null", b"true", b"[", b"]", b"{", b"}",
    b"[" * 500, b"&a [*a, *a]", b"!!python/object:os.system ls", b"os:system", b"../../x", b"/etc/passwd", b"\x00",
    b"\xff\xfe", b'"', b"'", b"\n", b"\r", b",", b":", b"\t", b"%s", b"${HOME}", b"\xe2\x80\xae", b"9" * 400,
    b"a" * 20_000, b"- " * 300,
]  # fmt: skip


def damaged(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """The file with one to four things wrong with it.

    Args:
        content: of a whole file.
        others: whole files whose parts may turn up in it.
        draw: where chance comes from.
    """
    packed = content[:2] == b"\x1f\x8b" and draw.random() < 0.7
    if packed:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            packed = False
    for _ in range(draw.choice([1, 1, 1, 2, 3, 4])):
        content = draw.choice(WAYS)(content, others, draw)
    return gzip.compress(content, 1) if packed else content


def _span(content: bytes, draw: random.Random) -> tuple[int, int]:
    """A piece of it, short ones more often."""
    start = draw.randint(0, len(content))
    return start, min(len(content), start + int(2 ** draw.uniform(0, 12)))


def flip_bits(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """One to eight bits."""
    bits = bytearray(content)
    for _ in range(draw.randint(1, 8) if bits else 0):
        bits[draw.randrange(len(bits))] ^= 1 << draw.randrange(8)
    return bytes(bits)


def cut_off(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """The end is missing."""
    return content[: draw.randint(0, len(content))]


def leave_out(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """A piece is missing."""
    start, end = _span(content, draw)
    return content[:start] + content[end:]


def repeat(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """A piece is there several times."""
    start, end = _span(content, draw)
    return content[:end] + content[start:end] * draw.choice([1, 1, 2, 50]) + content[end:]


def overwrite(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Numbers at the ends of what integers can hold."""
    start, number = draw.randint(0, len(content)), draw.choice(NUMBERS)
    return content[:start] + number + content[start + len(number) :]


def insert(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """A word that readers stumble over."""
    start = draw.randint(0, len(content))
    return content[:start] + draw.choice(TOKENS) + content[start:]


def replace_word(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Such a word in place of one that stands between spaces, commas or colons."""
    separator = draw.choice([b" ", b",", b":", b"\t", b"\n"])
    words = content.split(separator)
    words[draw.randrange(len(words))] = draw.choice(TOKENS)
    return separator.join(words)


def swap_lines(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Two lines change places."""
    lines = content.split(b"\n")
    a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def mix(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """It goes on as another file."""
    other = draw.choice(others)
    return content[: draw.randint(0, len(content))] + other[draw.randint(0, len(other)) :]


WAYS = [flip_bits, cut_off, leave_out, repeat, overwrite, insert, replace_word, swap_lines, mix]
