"""Irregularly sampled series, for layers that live in continuous time."""

from functools import cached_property
from typing import Literal

import numpy as np

from remanence.checks import check_range
from remanence.data import Store, Writer, load_or_make, load_prepared
from remanence.data.irregular_source import build_rows, build_source
from remanence.errors import UserError
from remanence.tasks.classification import Classification
from remanence.tasks.samples import Sequences
from remanence.tasks.task import SPLITS, Split, check_split

PERIOD = 3.0  # mean gaps between observations
NOISE = 0.1
SHARES = {"train": (0.0, 0.7), "validation": (0.7, 0.85), "test": (0.85, 1.0)}


class Irregular(Classification):
    """Classify series whose observations come at irregular times, each of only some channels.

    Without ``name`` the series are made: two sines of one period, 3 mean gaps long, with noise; the class says which
    of them is a quarter of a period ahead. Gaps are exponentially distributed, and at each time one of the two, at
    random, is observed: the order of the observations alone says little. With ``name`` they come from a table that
    ``remanence data irregular --from FILE.csv --set task.options.name=NAME`` prepares: the columns series, time, label
    and the channels, an empty cell where a channel was not observed; 70, 15 and 15% of its series train, validate and
    test, in an order decided by ``seed``.

    The input has two channels for each of the series': its value (0 where it was not observed), and whether it was.
    How long ago the observation before was comes as ``timespans``, in units of the median gap (of the mean gap for
    series that are made), 1 for the first.

    Args:
        name: the name of a prepared table; default: make the series.
        elapsed: ``"timespans"`` (default), for layers that live in continuous time; or ``"channel"``, the timespans
            are a channel more, for any other layer.
        train, validation, test: how many series are made for each split.
        length: observations of a series that is made.
        seed: decides every series that is made, or the order of those that are read.

    Raises:
        ValueError: a size below 1, or an unknown form of the elapsed times.

    Example:
        >>> batch = Irregular(train=10).dataset("train").batch([0, 1])
        >>> batch.inputs.shape, batch.timespans.shape
        (torch.Size([2, 50, 4]), torch.Size([2, 50]))
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        elapsed: Literal["timespans", "channel"] = "timespans",
        train: int = 5_000,
        validation: int = 1_000,
        test: int = 2_000,
        length: int = 50,
        seed: int = 0,
    ):
        self.sizes: dict[Split, int] = {"train": train, "validation": validation, "test": test}
        check_range(1, **self.sizes, length=length)
        if elapsed not in ("timespans", "channel"):
            raise UserError(f"elapsed must be timespans or channel, got {elapsed!r}")
        self.timed = elapsed == "timespans"
        self.length, self.seed = length, seed
        self.source = None if name is None else build_source(name)

    @cached_property
    def _store(self) -> Store:
        if self.source is not None:
            return load_prepared(self.source, "irregular")
        sizes = "-".join(str(size) for size in self.sizes.values())
        return load_or_make(f"irregular-1-{sizes}-{self.length}-seed{self.seed}", self._make)

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """Two for each channel, and one for the timespans if they are one."""
        return 2 * self._store.facts["channels"] + (not self.timed)

    @property
    def target_size(self) -> int:  # type: ignore[override]
        """Classes."""
        return len(self._store.facts["labels"])

    def dataset(self, split: Split) -> Sequences:
        """Values and which are observed, timespans, and classes [samples]."""
        observed, store = self._store["rows"], self._store
        spans = observed[:, -1] if self.timed else None
        samples = Sequences(observed[:, : self.input_size], store["starts"], store["targets"], timespans=spans)
        return samples.select(self._rows(check_split(split), len(samples)))

    def examples(self, count: int) -> list[str]:
        """The first observations of series, with the time since the one before, and the class."""
        store, texts = self._store, []
        labels, channels = store.facts["labels"], store.facts["channels"]
        for place in self._rows("train", len(store["targets"]))[:count]:
            start, end = store["starts"][place : place + 2]
            values, there, spans = np.split(store["rows"][start : min(end, start + 5)], [channels, 2 * channels], 1)
            lines = [
                f"after {span:5.2f}: " + " ".join("     ?" if np.isnan(value) else f"{value:6.2f}" for value in row)
                for span, row in zip(spans[:, 0].tolist(), np.where(there, values, np.nan).tolist(), strict=True)
            ]
            texts.append("\n".join([*lines, f"-> {labels[store['targets'][place]]}"]))
        return texts

    def _rows(self, split: Split, count: int) -> np.ndarray:
        if self.source is None:
            start = sum(self.sizes[before] for before in SPLITS[: SPLITS.index(split)])
            return np.arange(start, start + self.sizes[split])
        start, end = (int(share * count) for share in SHARES[split])
        return np.random.default_rng(self.seed).permutation(count)[start:end]

    def _make(self, writer: Writer) -> None:
        for split in SPLITS:
            rng, size = np.random.default_rng([self.seed, SPLITS.index(split)]), self.sizes[split]
            spans = rng.exponential(size=(size, self.length))
            spans[:, 0] = 1
            targets = rng.integers(0, 2, size)
            ahead = np.pi / 2 * np.stack([targets == 0, targets == 1], 1)
            phase = 2 * np.pi * (spans.cumsum(1) / PERIOD + rng.random((size, 1)))
            values = np.sin(phase[..., None] + ahead[:, None]) + NOISE * rng.normal(size=(size, self.length, 2))
            mask = rng.integers(0, 2, (size, self.length))[..., None] == np.arange(2)
            writer.append("rows", build_rows(np.where(mask, values, np.nan).reshape(-1, 2), spans.reshape(-1)))
            writer.append("targets", targets)
        writer.append("starts", np.arange(0, writer.count("rows") + 1, self.length))
        writer.facts.update(labels=["the first is ahead", "the second is ahead"], channels=2)
