"""Recall within episodes."""

from typing import Literal

import numpy as np

from remanence.checks import check_probability, check_range
from remanence.errors import UserError
from remanence.tasks.generated import Generated
from remanence.tasks.stepwise import StepwiseClassification, format_answers
from remanence.tasks.task import IGNORED


class ResetRecall(Generated, StepwiseClassification):
    """Say which value a key got last in this episode, or that it got none: what came before the boundary is forgotten.

    A sequence is instructions of two tokens. ``k3 v1`` writes a value, ``k3 ?`` asks for it, and ``| ·`` starts an
    episode. Each instruction starts an episode with the probability ``boundary``; else it writes or asks, both as
    likely, and the last one asks. Keys and values are drawn uniformly. The answer at each ``?`` is the value written
    last to this key in this episode, or ``-`` if there is none. The loss is the cross-entropy, the metric the error
    rate. Chance is a guess that knows the step, but not the input.

    With ``boundaries="reset"`` a memory is told of the boundaries (``reset``) and starts each episode from its initial
    state, as packed documents and episodes of an agent are trained; with ``"token"`` it must learn what ``|`` means,
    and to forget. Attention has no state that could be reset, and takes ``"token"`` alone.

    Args:
        keys, values: how many different ones.
        length: tokens, even.
        boundary: probability that an instruction starts an episode.
        boundaries: ``"reset"`` or ``"token"``.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range, an odd length, or an unknown kind of boundaries.

    References:
        The resets of Lu et al., "Structured state space models for in-context reinforcement learning", 2023,
        arXiv:2303.03982. The task is ours.

    Example:
        >>> print(ResetRecall(keys=2, values=4, length=16, boundary=0.2, seed=2).examples(1)[0])
        k0 v3 k0 v2 k1 ?[-] k0 ?[v2] k0 v0 k0 ?[v0] | · k1 ?[-]
    """

    def __init__(
        self,
        *,
        keys: int = 8,
        values: int = 8,
        length: int = 128,
        boundary: float = 0.05,
        boundaries: Literal["reset", "token"] = "reset",
        train: int = 100_000,
        validation: int = 1000,
        test: int = 1000,
        seed: int = 0,
    ):
        super().__init__(train=train, validation=validation, test=test, seed=seed)
        check_range(1, keys=keys)
        check_range(2, values=values, length=length)
        check_probability(boundary=boundary)
        if length % 2:
            raise UserError(f"length must be even, two tokens for each instruction; got {length}")
        if boundaries not in ("reset", "token"):
            raise UserError(f"boundaries must be reset or token, got {boundaries!r}")
        self.keys, self.values, self.length, self.boundary = keys, values, length, boundary
        self.episodic = boundaries == "reset"
        self.numbers = 3 * length // 2
        self.target_size = values + 1
        self.vocabulary = [*(f"v{value}" for value in range(values)), "-", *(f"k{key}" for key in range(keys))]
        self.vocabulary += ["?", "|", "·"]

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The error rate of the best guess at each step."""
        right, weights, unwritten = [], [], 1.0
        last = self.length // 2 - 1
        for instruction in range(last + 1):
            right.append(max(unwritten, (1 - unwritten) / self.values))
            weights.append(1.0 if instruction == last else (1 - self.boundary) / 2)
            stays = 1 - 1 / (2 * self.keys)
            unwritten = self.boundary + (1 - self.boundary) * stays * unwritten
        return float(1 - np.average(right, weights=weights))

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """Return tokens, answers at ``?``, elsewhere -100, and where episodes start, each [samples, length]."""
        none, first_key = self.values, self.values + 1
        question, boundary, blank = (first_key + self.keys + place for place in range(3))
        kinds, of_keys, of_values = np.split(numbers, 3, axis=1)
        keys, values = (of_keys * self.keys).astype(np.int64), (of_values * self.values).astype(np.int64)
        starts, asks = kinds < self.boundary, kinds >= (1 + self.boundary) / 2
        starts[:, -1], asks[:, -1] = False, True
        tokens = np.empty((len(numbers), self.length), np.int64)
        tokens[:, ::2] = np.where(starts, boundary, first_key + keys)
        tokens[:, 1::2] = np.where(starts, blank, np.where(asks, question, values))
        targets, reset = np.full_like(tokens, IGNORED), np.zeros(tokens.shape, bool)
        reset[:, ::2] = starts
        rows, held = np.arange(len(numbers)), np.full((len(numbers), self.keys), none)
        for place in range(keys.shape[1]):
            held[starts[:, place]] = none
            known = held[rows, keys[:, place]]
            targets[:, 2 * place + 1] = np.where(asks[:, place], known, IGNORED)
            written = ~(starts | asks)[:, place]
            held[rows, keys[:, place]] = np.where(written, values[:, place], known)
        return (tokens, targets, None, None, reset) if self.episodic else (tokens, targets)

    def examples(self, count: int) -> list[str]:
        """Return sequences with each answer in brackets after its question."""
        return format_answers(self, count)
