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
    """A text of the user's own, prepared under a name."""
    return Source(
        name=f"text-{name}",
        title=f"a text called {name!r}",
        publisher="anywhere",
        wanted="a text file (UTF-8), a folder or an archive of such",
        read=read,
        settings="" if name == DEFAULT else f"--set task.options.name={name}",
    )


def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
    """Characters as numbers end to end, and the list of those that occur, in Unicode's order."""
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
    """The codes of the characters, piece by piece.

    Raises:
        ValueError: a file is no text in UTF-8.
    """
    for member in iter_members(path):
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            with translate_errors(path), member.open() as file:
                for piece in iter(lambda file=file: file.read(CHUNK), b""):
                    yield encode_characters(decoder.decode(piece))
            yield encode_characters(decoder.decode(b"", final=True))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: {member.name} is no text in UTF-8: {error}") from error


def encode_characters(text: str) -> np.ndarray:
    """The Unicode numbers of the characters."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
