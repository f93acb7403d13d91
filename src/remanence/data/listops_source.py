"""ListOps as the Long Range Arena released it: files of expressions and their values, with tabs between."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from remanence.data.archive import Member
from remanence.data.source import Progress, Source, iter_files
from remanence.data.store import Writer
from remanence.errors import UserError

OPERATORS = ["[MIN", "[MAX", "[MED", "[SM"]
CLOSE = "X"  # as the released code renames "]"
VOCABULARY = ["<pad>", *map(str, range(10)), *OPERATORS, CLOSE, "<unknown>"]
TOKENS = {symbol.encode(): token for token, symbol in enumerate(VOCABULARY[1:-1], start=1)}
TOKENS[b"]"] = TOKENS[CLOSE.encode()]
SIZES = {"train": 96_000, "validation": 2_000, "test": 2_000}
FILES = {"basic_train.tsv": "train", "basic_val.tsv": "validation", "basic_test.tsv": "test"}
BRACKETS = bytes.maketrans(b"()", b"  ")  # the released trees are binary; these brackets say nothing more


def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
    """Read the concatenated tokens, the start of each expression, and its value, for each split."""
    read_so_far = 0
    for name, member in iter_files(source, path, tuple(FILES)):
        split = FILES[name]
        ends = [0]
        for tokens, value in iter_expressions(member, path):
            writer.append(f"{split}.tokens", tokens)
            writer.append(f"{split}.targets", np.array([value], np.uint8))
            ends.append(ends[-1] + len(tokens))
            progress(read_so_far + len(ends) - 1, sum(SIZES.values()))
        if len(ends) - 1 != SIZES[split]:
            raise UserError(f"{path}: {name} should hold {SIZES[split]:,} expressions, it holds {len(ends) - 1:,}")
        read_so_far += len(ends) - 1
        writer.append(f"{split}.starts", np.array(ends))


def iter_expressions(member: Member, path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Iterate over the tokens and the value of each line.

    Raises:
        ValueError: a line of another form; the message has its number.
    """
    for number, line in enumerate(member.lines(), start=1):
        expression, _, value = line.rstrip(b"\r\n").partition(b"\t")
        if number == 1 and expression == b"Source":
            continue
        try:
            tokens = np.array([TOKENS[word] for word in expression.translate(BRACKETS).split()], np.uint8)
            if not len(tokens) or not value.isdigit() or int(value) > 9:
                raise KeyError
        except KeyError:
            raise UserError(
                f"{path}: {member.name}, line {number}: expected an expression, a tab and a digit"
            ) from None
        yield tokens, int(value)


LISTOPS = Source(
    name="listops-released",
    title="the released ListOps (Tay et al. 2020)",
    publisher="https://github.com/google-research/long-range-arena",
    wanted="lra_release.gz, or its folder listops-1000",
    read=read,
    settings="--set task.options.released=true",
)
