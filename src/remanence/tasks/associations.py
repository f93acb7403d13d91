"""How many associations a memory holds, and whether it can change them (Schlag, Irie & Schmidhuber 2021)."""

import numpy as np
from torch import Tensor, nn

from remanence.checks import check_range
from remanence.tasks.choices import draw_distinct
from remanence.tasks.generated import Generated


class Associations(Generated):
    """Read pairs of a key and a value, one pair a step; then, given one of the keys, say the value it had last.

    The published tests of fast weights. Of *capacity*: S pairs, each of the S keys and S values once, so that with more
    keys than the memory has room for some are lost. Of the *update rule* (``overwrite``): 2 S pairs, keys and values
    drawn with replacement, so that a key that comes again must lose its old value. The input has S channels for the key
    and S for the value, one of each raised to 1; the last step has a key alone.

    The output is S numbers, the value one of them 1 and the others 0; loss and metric are half their squared error,
    1/2 |v - v'|^2, as published. A constant output of the mean, 1 / S, has (1 - 1 / S) / 2, the level of chance.

    Args:
        keys: S, of keys and of values; published: 20 to 600, to overwrite 20 to 200.
        overwrite: test the update rule instead of the capacity.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range.

    References:
        Schlag, Irie & Schmidhuber, "Linear transformers are secretly fast weight programmers", 2021, arXiv:2102.11174,
        section 6.1, settings 1 and 2, and the code that they published.

    Example:
        >>> print(Associations(keys=3, overwrite=True).examples(1)[0])
        k0=v2 k1=v2 k0=v2 k2=v1 k2=v2 k1=v0 k0? -> v2
    """

    metric = "squared error"

    def __init__(
        self,
        *,
        keys: int = 20,
        overwrite: bool = False,
        train: int = 100_000,
        validation: int = 1000,
        test: int = 2000,
        seed: int = 0,
    ):
        super().__init__(train=train, validation=validation, test=test, seed=seed)
        check_range(2, keys=keys)
        self.overwrite, self.pairs = overwrite, 2 * keys if overwrite else keys
        self.input_size, self.target_size = 2 * keys, keys
        self.numbers = 2 * self.pairs + 1

    @property
    def chance(self) -> float:  # type: ignore[override]
        """Half the squared error of the mean."""
        return (1 - 1 / self.target_size) / 2

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Signals [samples, pairs + 1, 2 keys], and values [samples]."""
        keys, values = (self._draw_symbols(part) for part in np.split(numbers[:, :-1], 2, axis=1))
        rows, size = np.arange(len(numbers)), self.target_size
        asked = keys[rows, (numbers[:, -1] * self.pairs).astype(np.int64)]
        last = self.pairs - 1 - (keys == asked[:, None])[:, ::-1].argmax(1)
        signal = np.zeros((len(numbers), self.pairs + 1, 2 * size), np.float32)
        np.put_along_axis(signal[:, :-1], np.stack([keys, values + size], 2), 1, axis=2)
        signal[rows, -1, asked] = 1
        return signal, values[rows, last]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Half the squared error of the outputs [batch, keys] as the value's vector, [batch]."""
        value = nn.functional.one_hot(target, self.target_size)
        return (output - value).square().sum(-1).mean() / 2

    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """The same."""
        return self.loss(output, target)

    def examples(self, count: int) -> list[str]:
        """Pairs of key and value, the key asked for, and its value."""
        batch = self.first(count)
        keys, values = (part.argmax(-1).tolist() for part in batch.inputs.split(self.target_size, dim=-1))
        return [
            " ".join(f"k{key}=v{value}" for key, value in zip(told[:-1], given[:-1], strict=True))
            + f" k{told[-1]}? -> v{answer}"
            for told, given, answer in zip(keys, values, batch.targets.tolist(), strict=True)
        ]

    def _draw_symbols(self, numbers: np.ndarray) -> np.ndarray:
        size = self.target_size
        return (numbers * size).astype(np.int64) if self.overwrite else draw_distinct(numbers, size)
