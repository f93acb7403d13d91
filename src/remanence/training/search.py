"""What a search tries: values of fields, drawn or gone through."""

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from remanence.errors import UserError
from remanence.runs.config import Strict
from remanence.runs.renamed import current_name

Settings = dict[str, Any]
"""Values by field, such as ``{"training.learning_rate": 0.01}``."""


STARTUP = 10
"""Random settings before TPE learns from them; a fixed number, so that a longer search continues a shorter one."""


class Range(Strict):
    """Numbers from ``low`` to ``high``; whole ones if both are whole.

    Attributes:
        log: draw them evenly by their logarithm.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _check_order(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise UserError(f"a range goes from low to a larger high{', both above 0' if self.log else ''}")
        return self


Values = Annotated[tuple[Any, ...], Field(min_length=1)]


class Search(Strict):
    """Fields and what to try for them; the same for every layer, and as often.

    Attributes:
        fields: by the name that ``--set`` has for it, a list of values or a :class:`Range`.
        trials: how many settings are tried for each layer, drawn by Optuna's TPE, which learns from those before.
            Default: every combination, which needs lists.
        seed: the seed of the draws.
    """

    fields: dict[str, Range | Values] = Field(min_length=1)
    trials: Annotated[int, Field(gt=0, le=100_000)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("fields", mode="before")
    @classmethod
    def _accept_old_names(cls, fields: Any) -> Any:
        return {current_name(name): values for name, values in fields.items()} if isinstance(fields, dict) else fields

    @model_validator(mode="after")
    def _check_fields(self) -> "Search":
        for name, values in self.fields.items():
            if name.split(".")[0] not in ("training", "layer", "model"):
                raise UserError(f"a search is over fields of training, layer or model, not {name!r}")
            if self.trials is None and isinstance(values, Range):
                raise UserError(f"give trials, or the values of {name} as a list: a range has infinitely many")
        return self

    def count(self) -> int:
        """Settings tried for each layer."""
        return self.trials if self.trials is not None else len(self._build_grid())

    def iter_single(self) -> Iterator[Settings]:
        """Every value of a list, and the ends of every range, each by itself."""
        for name, values in self.fields.items():
            for value in (values.low, values.high) if isinstance(values, Range) else values:
                yield {name: value}

    def make_sampler(self) -> "Sampler":
        """What proposes settings for one layer."""
        return Sampler(self, None if self.trials is not None else self._build_grid())

    def _build_grid(self) -> list[tuple[Any, ...]]:
        return list(itertools.product(*(values for values in self.fields.values() if not isinstance(values, Range))))


class Sampler:
    """Proposes settings for one layer, one after the other; the same ones if it is told the same.

    Args:
        search: what there is to try.
        grid: the combinations of values to go through; None: they are drawn.
    """

    def __init__(self, search: Search, grid: list[tuple[Any, ...]] | None):
        self._search = search
        self._build_grid = iter(grid) if grid is not None else None
        if grid is None:
            import optuna  # slow to load

            optuna.logging.set_verbosity(optuna.logging.ERROR)
            sampler = optuna.samplers.TPESampler(seed=search.seed, n_startup_trials=STARTUP)
            self._study = optuna.create_study(sampler=sampler)
            self._distributions = {name: build_distribution(values) for name, values in search.fields.items()}

    def ask(self) -> Settings:
        """Propose the next settings."""
        if self._build_grid is not None:
            return dict(zip(self._search.fields, next(self._build_grid), strict=True))
        self._trial = self._study.ask(self._distributions)
        return {name: decode_value(self._search.fields[name], drawn) for name, drawn in self._trial.params.items()}

    def tell(self, metric: float | None) -> None:
        """Report their metric; None if they failed."""
        if self._build_grid is None:
            # Optuna ignores failed trials, and would keep sampling where nothing works.
            self._study.tell(self._trial, math.inf if metric is None else metric)


def decode_value(values: Range | tuple[Any, ...], drawn: Any) -> Any:
    """Return the value that Optuna drew; values of a list are drawn by index."""
    return drawn if isinstance(values, Range) else values[drawn]


def build_distribution(values: Range | tuple[Any, ...]) -> Any:
    """Convert values to a distribution of Optuna; a list by its indices, as it may contain anything."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(values, Range):
        return CategoricalDistribution(range(len(values)))
    low, high = values.low, values.high
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=values.log)
    return FloatDistribution(low, high, log=values.log)
