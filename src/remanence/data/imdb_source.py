"""The labelled film reviews of ``aclImdb_v1.tar.gz``."""

import re
from pathlib import Path

import numpy as np

from remanence.data.archive import iter_members
from remanence.data.source import Progress, Source, make_ambiguity_error, make_missing_error
from remanence.data.store import Writer
from remanence.errors import UserError

LABELS = ["neg", "pos"]
REVIEWS = 12_500  # of each label in each split
PLACE = re.compile(r"(?:^|/)(train|test)/(neg|pos)/(\d+)_\d+\.txt$")
LONGEST = 1 << 20  # bytes of a review
LARGEST = 1 << 28  # bytes of all
MOST = 100_000


def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
    """The bytes of the reviews end to end, where each starts, and its label, for each split, in the order of their
    numbers, the bad reviews first."""
    found: dict[tuple[str, int, int], bytes] = {}
    places: dict[tuple[str, int, int], str] = {}
    total = 0
    for member in iter_members(path):
        place = PLACE.search(member.name)
        if place:
            split, label, number = place.groups()
            key = split, LABELS.index(label), int(number)
            if key in found:
                raise make_ambiguity_error(path, f"review {number} of {split}/{label}", places[key], member.name)
            places[key] = member.name
            text = found[key] = member.read(LONGEST)
            total += len(text)
            if len(found) > MOST or total > LARGEST:
                raise UserError(f"{path} has more or longer reviews than were published: download it again")
            if len(found) % 500 == 0:
                progress(len(found), 4 * REVIEWS)
    for split in ("train", "test"):
        keys = sorted(key for key in found if key[0] == split)
        labels = np.array([label for _, label, _ in keys], np.uint8)
        for label, name in enumerate(LABELS):
            count = int((labels == label).sum())
            if count != REVIEWS:
                missing = f"reviews in {split}/{name}: {count:,} instead of {REVIEWS:,}"
                raise (
                    make_missing_error(source, path, missing)
                    if count < REVIEWS
                    else UserError(f"{path} has too many {missing}")
                )
        texts = [found[key] for key in keys]
        writer.append(f"{split}.tokens", np.frombuffer(b"".join(texts), np.uint8))
        writer.append(f"{split}.starts", np.cumsum([0, *map(len, texts)]))
        writer.append(f"{split}.targets", labels)


IMDB = Source(
    name="imdb",
    title="the IMDb reviews (Maas et al. 2011)",
    publisher="https://ai.stanford.edu/~amaas/data/sentiment/",
    wanted="aclImdb_v1.tar.gz",
    read=read,
)
