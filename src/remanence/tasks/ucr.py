"""Time series classification of the UEA and UCR archives."""

from functools import cached_property

import numpy as np

from remanence.data import Store, load_prepared
from remanence.data.ucr_source import build_source
from remanence.errors import UserError
from remanence.tasks.classification import Classification
from remanence.tasks.samples import Sequences
from remanence.tasks.task import Split, check_split


class UCR(Classification):
    """Classify time series of a problem of the UEA and UCR archives.

    Each channel is standardised by the training series; missing values become its mean. The published test series
    test, a share of the training series validates, every class as often as it comes.
    ``remanence data ucr --from EigenWorms.zip --set task.options.name=EigenWorms`` prepares a problem.

    Args:
        name: the name of the problem, as its files are called.
        held_out: share of the training series that validates.
        seed: decides which.

    Raises:
        ValueError: a share out of range.

    References:
        Bagnall et al., "The UEA multivariate time series classification archive", 2018, arXiv:1811.00075; Dau et al.,
        "The UCR time series archive", 2019, arXiv:1810.07758.
    """

    def __init__(self, *, name: str = "EigenWorms", held_out: float = 0.2, seed: int = 0):
        if not 0 < held_out < 1:
            raise UserError(f"held_out must be between 0 and 1, got {held_out}")
        self.held_out, self.seed = held_out, seed
        self.source = self._problem = build_source(name)

    @cached_property
    def _store(self) -> Store:
        return load_prepared(self._problem, "ucr")

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """Channels."""
        return self._store.facts["channels"]

    @property
    def target_size(self) -> int:  # type: ignore[override]
        """Classes."""
        return len(self._store.facts["labels"])

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The error rate of always naming the commonest class of the training series."""
        commonest = np.bincount(self._store["train.targets"]).argmax()
        return float((self._store["test.targets"] != commonest).mean())

    def dataset(self, split: Split) -> Sequences:
        """Series of different lengths, and classes [samples]."""
        part = "test" if check_split(split) == "test" else "train"
        targets = self._store[f"{part}.targets"].astype(np.int64)
        samples = Sequences(self._store[f"{part}.values"], self._store[f"{part}.starts"], targets)
        if part == "test":
            return samples
        held = self._choose_held_out(targets)
        return samples.select(np.flatnonzero(held if split == "validation" else ~held))

    def examples(self, count: int) -> list[str]:
        """The first values of each channel, and the class."""
        samples, labels = self.dataset("train"), self._store.facts["labels"]
        texts = []
        for row in range(min(count, len(samples))):
            series, target = samples[row]
            channels = [" ".join(f"{value:6.2f}" for value in channel[:10]) for channel in series.T.tolist()]
            texts.append("\n".join([*channels, f"-> {labels[target]}  ({len(series):,} steps)"]))
        return texts

    def _choose_held_out(self, targets: np.ndarray) -> np.ndarray:
        """Choose the training series that validate: a fraction of each class, at least one in all."""
        rng = np.random.default_rng(self.seed)
        order = rng.permutation(len(targets))
        order = order[np.argsort(targets[order], kind="stable")]
        places = np.arange(0.5 / self.held_out, len(order), 1 / self.held_out).astype(np.int64)
        held = np.zeros(len(targets), bool)
        held[order[places if len(places) else [0]]] = True
        return held
