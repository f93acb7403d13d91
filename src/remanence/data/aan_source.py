"""Pairs of papers of the ACL Anthology Network, as the Long Range Arena released them."""

from pathlib import Path

import numpy as np

from remanence.data.archive import Member
from remanence.data.source import Progress, Source, iter_files
from remanence.data.store import Writer
from remanence.errors import UserError

SIZES = {"train": 147_086, "validation": 18_090, "test": 17_437}
FILES = {"new_aan_pairs.train.tsv": "train", "new_aan_pairs.eval.tsv": "validation", "new_aan_pairs.test.tsv": "test"}
LABELS = {b"0": 0, b"0.0": 0, b"1": 1, b"1.0": 1}
KEPT = 10_000  # bytes of a text, as the released code keeps


def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
    """Read the concatenated bytes of the texts, two for each pair, their starts, and the labels, for each split."""
    read_so_far = 0
    for name, member in iter_files(source, path, tuple(FILES)):
        split, ends = FILES[name], [0]
        for number, line in enumerate(member.lines(), start=1):
            label, *texts = parse_pair(member, number, line)
            for text in texts:
                writer.append(f"{split}.tokens", np.frombuffer(text, np.uint8))
                ends.append(ends[-1] + len(text))
            writer.append(f"{split}.targets", np.array([label], np.uint8))
            progress(read_so_far + number, sum(SIZES.values()))
        count = (len(ends) - 1) // 2
        if count != SIZES[split]:
            raise UserError(f"{path}: {name} should hold {SIZES[split]:,} pairs, it holds {count:,}: download it again")
        read_so_far += count
        writer.append(f"{split}.starts", np.array(ends))


def parse_pair(member: Member, number: int, line: bytes) -> tuple[int, bytes, bytes]:
    """Parse the label and the texts of a line: label, two names, two texts, separated by tabs.

    Raises:
        ValueError: a line of another form.
    """
    parts = line.rstrip(b"\r\n").split(b"\t")
    if len(parts) != 5 or parts[0] not in LABELS:
        raise UserError(
            f"{member.archive}: {member.name}, line {number}: expected a label (0 or 1), two names and two texts with "
            "tabs between"
        )
    return LABELS[parts[0]], parts[3][:KEPT], parts[4][:KEPT]


AAN = Source(
    name="aan",
    title="the pairs of the ACL Anthology Network (Radev et al. 2013)",
    publisher="https://github.com/google-research/long-range-arena",
    wanted="lra_release.gz, or its folder tsv_data",
    read=read,
)
