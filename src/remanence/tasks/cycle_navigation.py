"""Cycle navigation (Delétang et al. 2023)."""

from collections.abc import Sequence

import numpy as np

from remanence.checks import check_range
from remanence.tasks.any_length import AnyLength
from remanence.tasks.classification import Classification

MOVES = ["-1", "0", "+1"]


class CycleNavigation(AnyLength, Classification):
    """Follow moves of one step to either side, or none, on a cycle of five places: where do they end?

    The moves are drawn uniformly from -1, 0 and +1. Sequences have from 1 to ``length`` moves, any number as likely,
    and a mask for the rest; the target is the place at the end, starting from the place 0. The loss is the
    cross-entropy, the metric the error rate. Chance is a guess of the place 0, where short sequences end most often: a
    little less than 1 - 1 / ``places``, which is chance for long ones.

    Args:
        places: of the cycle.
        length: moves at most.
        lengths: at which a trained model is tested besides, all sequences being as long; published: up to 500.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range.

    References:
        Delétang et al., "Neural networks and the Chomsky hierarchy", ICLR 2023, arXiv:2207.02098, appendix A (the
        lengths of training are drawn uniformly from 1 to 40).

    Example:
        >>> print(CycleNavigation(length=8, seed=1).examples(1)[0])
        +1 +1 +1 -> 3
    """

    def __init__(
        self,
        *,
        places: int = 5,
        length: int = 40,
        lengths: Sequence[int] = (64, 128, 256, 512, 1024),
        train: int = 100_000,
        validation: int = 1000,
        test: int = 1000,
        seed: int = 0,
    ):
        super().__init__(length=length, lengths=lengths, train=train, validation=validation, test=test, seed=seed)
        check_range(2, places=places)
        self.vocabulary = MOVES
        self.target_size = places

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The error rate of a guess that favours places near the start, where short sequences end."""
        moved = np.array([1.0, *[0.0] * (self.target_size - 1)])
        ends = np.zeros(self.target_size)
        for _ in range(self.length):
            moved = (np.roll(moved, -1) + moved + np.roll(moved, 1)) / 3
            ends += moved / self.length
        return float(1 - ends.max())

    def count_numbers(self, length: int) -> int:
        """Count one number for each move, and one for how many there are."""
        return length + 1

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return moves [samples, length], places [samples], and which moves are real [samples, length]."""
        lengths = 1 + (numbers[:, :1] * (numbers.shape[1] - 1)).astype(np.int64)
        mask = np.arange(numbers.shape[1] - 1) < lengths
        tokens, _ = self.make_longest(numbers)
        return tokens * mask, self._find_end(tokens, mask), mask

    def make_longest(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return moves [samples, length], all of them real, and places [samples]."""
        tokens = (numbers[:, 1:] * len(MOVES)).astype(np.int64)
        return tokens, self._find_end(tokens, np.ones_like(tokens))

    def _find_end(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return ((tokens - 1) * mask).sum(1) % self.target_size

    def examples(self, count: int) -> list[str]:
        """Return moves, and the place at the end."""
        batch = self.first(count)
        assert batch.mask is not None
        return [
            f"{' '.join(MOVES[token] for token in tokens[mask].tolist())} -> {place}"
            for tokens, place, mask in zip(batch.inputs, batch.targets.tolist(), batch.mask, strict=True)
        ]
