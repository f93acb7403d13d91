"""Byte-level text classification of the Long Range Arena (Tay et al. 2020, section 2.2.2)."""

import numpy as np

from remanence.data import load_prepared
from remanence.data.imdb_source import IMDB, LABELS
from remanence.errors import UserError
from remanence.tasks.classification import Classification
from remanence.tasks.samples import Sequences
from remanence.tasks.task import Split, check_split

BYTES = ["<pad>", *map(chr, range(256))]
"""Symbols of the byte-level tasks, as the released code encodes them: 0 pads, byte b is b + 1."""
SHOWN = 300  # characters of an example


class Text(Classification):
    """Say whether a film review is good or bad, read byte by byte (Long Range Arena: Text).

    25,000 reviews train, 25,000 test, half of each good. The published protocol validates on the *test* reviews, for
    IMDb has no others: with ``held_out`` a share of the training reviews validates instead.
    ``remanence data text --from aclImdb_v1.tar.gz`` prepares them.

    Args:
        length: the number of bytes to which longer reviews are truncated: 1000 (default) in the published
            configuration, 4000 in the paper.
        held_out: training reviews that validate, half of each label; 0 (default) as published.
        seed: decides which reviews are held out.

    Raises:
        ValueError: a length below 1, or more reviews held out than there are.

    References:
        Tay et al., "Long Range Arena", 2020, arXiv:2011.04006, section 2.2.2; Maas et al., "Learning word vectors for
        sentiment analysis", 2011.
    """

    target_size = len(LABELS)
    vocabulary = BYTES
    source = IMDB

    def __init__(self, *, length: int = 1000, held_out: int = 0, seed: int = 0):
        if length < 1 or not 0 <= held_out < 25_000:
            raise UserError(f"length must be at least 1 and held_out from 0 to 24,999, got {length} and {held_out}")
        self.length, self.held_out, self.seed = length, held_out, seed

    def dataset(self, split: Split) -> Sequences:
        """Bytes of different lengths, and labels [samples]."""
        store = load_prepared(IMDB, "text")
        check_split(split)
        part = "test" if split == "test" or (split == "validation" and not self.held_out) else "train"
        targets = store[f"{part}.targets"]
        samples = Sequences(store[f"{part}.tokens"], store[f"{part}.starts"], targets, shift=1, limit=self.length)
        if part == "test" or not self.held_out:
            return samples
        held = self._choose_held_out(targets)
        return samples.select(np.flatnonzero(held if split == "validation" else ~held))

    def examples(self, count: int) -> list[str]:
        """The beginnings of reviews, and their labels."""
        store = load_prepared(IMDB, "text")
        rows = np.random.default_rng(self.seed).permutation(len(store["train.targets"]))[:count]
        starts, labels = store["train.starts"], store["train.targets"]
        texts = [bytes(store["train.tokens"][starts[row] : starts[row + 1]]) for row in rows]
        return [
            f"{text.decode('utf-8', 'replace')[:SHOWN]}{'...' * (len(text) > SHOWN)} -> {LABELS[labels[row]]}"
            f"  ({len(text):,} bytes)"
            for row, text in zip(rows, texts, strict=True)
        ]

    def _choose_held_out(self, targets: np.ndarray) -> np.ndarray:
        """Choose the training reviews that validate."""
        rng, held = np.random.default_rng(self.seed), np.zeros(len(targets), bool)
        for label in range(len(LABELS)):
            rows = rng.permutation(np.flatnonzero(targets == label))
            held[rows[: (self.held_out + label) // 2]] = True
        return held
