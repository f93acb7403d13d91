"""Any text, character by character."""

import codecs
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from remanence.data.archive import CHUNK, iter_members, translate_errors
from remanence.data.source import Progress, Source
from remanence.data.store import Writer
from remanence.errors import UserError

DEFAULT = "text"
CODES = 0x110000  # of Unicode


def build_source(name: str) -> Source:
    """Create the source of a user's text, prepared under a name."""
    return Source(
        name=f"text-{name}",
        title=f"a text called {name!r}",
        publisher="anywhere",
        wanted="a text file (UTF-8), a folder or an archive of such",
        read=read,
        settings="" if name == DEFAULT else f"--set task.options.name={name}",
    )


def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
    """Read the concatenated characters as numbers, and the list of those that occur, in the order of Unicode."""
    counts, total = np.zeros(CODES, np.int64), 0
    for codes in iter_characters(path):
        counts += np.bincount(codes, minlength=CODES)
        total += len(codes)
    if total < 2:
        raise UserError(f"{path} holds {total} characters: there is nothing to predict")
    used = np.flatnonzero(counts)
    numbers = np.zeros(CODES, np.uint16 if len(used) <= 1 << 16 else np.int32)
    numbers[used] = np.arange(len(used))
    for codes in iter_characters(path):
        writer.append("tokens", numbers[codes])
        progress(writer.count("tokens"), total)
    writer.facts["vocabulary"] = [chr(code) for code in used]


def iter_characters(path: Path) -> Iterator[np.ndarray]:
    """Iterate over the codes of the characters, in pieces.

    Raises:
        ValueError: a file is not text in UTF-8.
    """
    for member in iter_members(path):
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            with translate_errors(path), member.open() as file:
                for piece in iter(lambda file=file: file.read(CHUNK), b""):
                    yield encode_characters(decoder.decode(piece))
            yield encode_characters(decoder.decode(b"", final=True))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: {member.name} is not text in UTF-8: {error}") from error


def encode_characters(text: str) -> np.ndarray:
    """Convert characters to their Unicode numbers."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
