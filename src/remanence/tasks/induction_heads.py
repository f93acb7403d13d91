"""Induction heads (Olsson et al. 2022)."""

from collections.abc import Sequence

import numpy as np

from remanence.checks import check_range
from remanence.tasks.any_length import AnyLength
from remanence.tasks.classification import Classification


class InductionHeads(AnyLength, Classification):
    """Say what followed a special token when it came for the first time: ... ``* 7`` ... ``*`` -> 7.

    All tokens are drawn uniformly from the ordinary ones, but the last, which is the special token ``*``, and one at a
    place drawn uniformly, which is ``*`` too. The target is the token behind that. The loss is the cross-entropy, the
    metric the error rate, at chance 1 - 1 / n for n ordinary tokens.

    Args:
        vocabulary_size: of the ordinary tokens and the special one.
        length: tokens of a training sequence.
        lengths: at which a trained model is tested besides; published: the powers of two from 64 to 1,048,576.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range.

    References:
        Olsson et al., "In-context learning and induction heads", 2022, arXiv:2209.11895, in the form of Gu & Dao,
        "Mamba: linear-time sequence modeling with selective state spaces", 2023, arXiv:2312.00752, section 4.1.2 and
        appendix E.1 (length 256, vocabulary 16).

    Example:
        >>> print(InductionHeads(vocabulary_size=8, length=9, seed=3).examples(1)[0])
        0 2 5 * 1 0 0 1 * -> 1
    """

    def __init__(
        self,
        *,
        vocabulary_size: int = 16,
        length: int = 256,
        lengths: Sequence[int] = (64, 128, 512, 1024),
        train: int = 100_000,
        validation: int = 1000,
        test: int = 1000,
        seed: int = 0,
    ):
        super().__init__(
            length=length, lengths=lengths, shortest=3, train=train, validation=validation, test=test, seed=seed
        )
        check_range(3, vocabulary_size=vocabulary_size)
        self.target_size = vocabulary_size - 1
        self.vocabulary = [*(str(token) for token in range(self.target_size)), "*"]

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens [samples, length] and those that followed the special one [samples]."""
        special, rows = self.target_size, np.arange(len(numbers))
        tokens = (numbers * self.target_size).astype(np.int64)
        # The last token is not drawn, so its number decides the place.
        place = (numbers[:, -1] * (numbers.shape[1] - 2)).astype(np.int64)
        tokens[rows, place] = tokens[:, -1] = special
        return tokens, tokens[rows, place + 1]

    def examples(self, count: int) -> list[str]:
        """Return sequences and their answers."""
        batch, names = self.first(count), self.vocabulary or []
        return [
            f"{' '.join(names[token] for token in tokens)} -> {names[target]}"
            for tokens, target in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True)
        ]
