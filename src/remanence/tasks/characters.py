"""Character language modelling."""

from functools import cached_property

import numpy as np
from torch import Tensor, nn

from remanence.data import Store, load_prepared
from remanence.data.text_source import DEFAULT, build_source
from remanence.errors import UserError
from remanence.tasks.samples import Windows
from remanence.tasks.task import Split, Task, check_split

SHARES = {"train": (0.0, 0.9), "validation": (0.9, 0.95), "test": (0.95, 1.0)}
SHOWN = 300  # characters of an example
BIT = float(np.log(2))  # nats


class Characters(Task):
    """Predict each next character of a text, of your own choice.

    The first 90% of the text train, the next 5% validate, the last 5% test (Mikolov et al. 2012), cut into pieces of
    ``length`` characters; each piece is read from an empty memory. ``remanence data characters --from FILE`` prepares
    any text in UTF-8. The vocabulary is the characters that occur.

    Args:
        name: the name of the prepared text, so that there can be several:
            ``remanence data characters --from FILE --set task.options.name=NAME``.
        length: characters of a piece.

    Raises:
        ValueError: a length below 1.

    References:
        Mikolov et al., "Subword language modeling with neural networks", 2012; Graves, "Generating sequences with
        recurrent neural networks", 2013, arXiv:1308.0850, section 3.
    """

    metric = "bits per character"
    stepwise = True

    def __init__(self, *, name: str = DEFAULT, length: int = 100):
        if length < 1:
            raise UserError(f"length must be at least 1, got {length}")
        self.length = length
        self.source = self._text = build_source(name)

    @cached_property
    def _store(self) -> Store:
        return load_prepared(self._text, "characters")

    @property
    def vocabulary(self) -> list[str]:  # type: ignore[override]
        """The characters that occur."""
        return self._store.facts["vocabulary"]

    @property
    def target_size(self) -> int:  # type: ignore[override]
        """How many characters occur."""
        return len(self.vocabulary)

    @property
    def chance(self) -> float:  # type: ignore[override]
        """Bits per character of a guess by how often each character occurs in the training part."""
        train, test = (np.bincount(self._select_part(split), minlength=self.target_size) for split in ("train", "test"))
        frequency = (train + 1) / (train + 1).sum()
        return float(-(test * np.log2(frequency)).sum() / test.sum())

    def dataset(self, split: Split) -> Windows:
        """Pieces of tokens [samples, length], and the same one character later.

        Raises:
            ValueError: that part of the text is shorter than a piece.
        """
        part = self._select_part(check_split(split))
        if len(part) <= self.length:
            raise UserError(
                f"the text has {len(part):,} characters for {split}, a piece needs {self.length + 1}: lower length"
            )
        return Windows(part, self.length)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of the logits [batch, time, characters], in nats."""
        return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten())

    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """The same in bits."""
        return self.loss(output, target) / BIT

    def examples(self, count: int) -> list[str]:
        """Pieces of the text."""
        samples = self.dataset("train")
        return ["".join(self.vocabulary[t] for t in samples[i][0][:SHOWN].tolist()) for i in range(count)]

    def _select_part(self, split: str) -> np.ndarray:
        tokens, (start, end) = self._store["tokens"], SHARES[split]
        return tokens[int(start * len(tokens)) : int(end * len(tokens))]
