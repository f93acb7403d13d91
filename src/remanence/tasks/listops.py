"""ListOps of the Long Range Arena (Tay et al. 2020, section 2.2.1)."""

from collections.abc import Iterator

import numpy as np

from remanence.checks import check_range
from remanence.data import Store, Writer, load_or_make, load_prepared
from remanence.data.listops_source import LISTOPS, SIZES, VOCABULARY
from remanence.errors import UserError
from remanence.tasks.classification import Classification
from remanence.tasks.samples import Sequences
from remanence.tasks.task import SPLITS, Split, check_split

SHOWN = 300  # characters of an example


class ListOps(Classification):
    """Evaluate nested lists such as ``[MAX 4 3 [MIN 2 3 X 1 0 X`` -> 4, hundreds of tokens long.

    The operators are MIN, MAX, MED (the median, rounded down) and SM (the sum modulo 10), of 2 to 10 arguments; an
    argument is a digit with probability 3/4, else a list again, at most 10 levels in all. X closes a list. Expressions
    of more than 500 and fewer than 2,000 tokens are kept: 96,000 train, 2,000 validate, 2,000 test. They are made once
    (about half a minute) and kept on disk. Vocabulary as the released code tokenises it: 15 symbols, padding, and one
    for what is unknown, which never comes.

    Args:
        released: read the files that the authors released (``remanence data listops --set task.options.released=true
            --from lra_release.gz``) instead of making new ones by the same rules; default: False.
        train, validation, test: how many expressions each split has; ``released`` has the published numbers.
        depth: levels of lists and digits.
        arguments: most arguments of an operator.
        shortest, longest: bounds of the length in tokens, both excluded.
        seed: decides every expression.

    Raises:
        ValueError: a size below 1, or bounds between which there is no expression.

    References:
        Tay et al., "Long Range Arena", 2020, arXiv:2011.04006, section 2.2.1; Nangia & Bowman, "ListOps", 2018,
        arXiv:1804.06028.

    Example:
        >>> task = ListOps(train=10, shortest=5, longest=50)
        >>> tokens, value = task.dataset("train")[0]
        >>> " ".join(task.vocabulary[token] for token in tokens), int(value)
        ('[...X', ...)
    """

    target_size = 10
    vocabulary = VOCABULARY

    def __init__(
        self,
        *,
        released: bool = False,
        train: int = SIZES["train"],
        validation: int = SIZES["validation"],
        test: int = SIZES["test"],
        depth: int = 10,
        arguments: int = 10,
        shortest: int = 500,
        longest: int = 2000,
        seed: int = 0,
    ):
        self.sizes: dict[Split, int] = {"train": train, "validation": validation, "test": test}
        check_range(1, **self.sizes)
        check_range(2, depth=depth)
        if not 2 <= arguments <= 100 or not 0 <= shortest < longest - 4:
            raise UserError(
                "arguments must be between 2 and 100, and at least 4 tokens must fit between shortest and longest; got "
                f"{arguments}, {shortest} and {longest}"
            )
        self.depth, self.arguments, self.shortest, self.longest, self.seed = depth, arguments, shortest, longest, seed
        self.source = LISTOPS if released else None

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The error rate of always naming the commonest value: MIN and MAX make small and large ones more frequent."""
        counts = np.bincount(self.dataset("test").targets)
        return float(1 - counts.max() / counts.sum())

    def dataset(self, split: Split) -> Sequences:
        """Tokens of different lengths, and values [samples]."""
        if self.source is not None:
            store, part = load_prepared(self.source, "listops"), f"{check_split(split)}."
        else:
            store, part = self._load_or_make(check_split(split)), ""
        return Sequences(store[f"{part}tokens"], store[f"{part}starts"], store[f"{part}targets"])

    def examples(self, count: int) -> list[str]:
        """The beginnings of expressions, and their values."""
        if self.source is None:
            tokens, lengths, values = next(self._iter_blocks("train"))
            first = [(row[:length], value) for row, length, value in zip(tokens, lengths, values, strict=True)][:count]
        else:
            samples = self.dataset("train")
            first = [samples[row] for row in range(count)]
        texts = [(" ".join(VOCABULARY[token] for token in tokens), len(tokens), value) for tokens, value in first]
        return [
            f"{text[:SHOWN]}{'...' * (len(text) > SHOWN)} -> {int(value)}  ({length:,} tokens)"
            for text, length, value in texts
        ]

    def _load_or_make(self, split: Split) -> Store:
        rules = f"depth{self.depth}-arguments{self.arguments}-{self.shortest}-{self.longest}"
        name = f"listops-1-{rules}-seed{self.seed}-{split}-{self.sizes[split]}"
        return load_or_make(name, lambda writer: self._make(split, writer))

    def _make(self, split: Split, writer: Writer) -> None:
        start = 0
        writer.append("starts", np.zeros(1, np.int64))
        for tokens, lengths, values in self._iter_blocks(split):
            writer.append("targets", values)
            writer.append("tokens", tokens[np.arange(tokens.shape[1]) < lengths[:, None]])
            writer.append("starts", start + lengths.cumsum())
            start += int(lengths.sum())
            writer.progress(writer.count("targets"), self.sizes[split])

    def _iter_blocks(self, split: Split) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield tokens [expressions, longest - 1], lengths and values, some expressions at a time."""
        from remanence.tasks import expressions  # Numba compiles for seconds

        rng = np.random.default_rng([self.seed, SPLITS.index(split)])
        for start in range(0, self.sizes[split], expressions.BLOCK):
            tokens = np.zeros((min(self.sizes[split] - start, expressions.BLOCK), self.longest - 1), np.uint8)
            lengths = np.zeros(len(tokens), np.int64)
            values = expressions.fill(rng, self.depth, self.arguments, self.shortest, tokens, lengths)
            if len(values) < len(tokens):
                raise UserError(
                    f"expressions of more than {self.shortest} and fewer than {self.longest} tokens are too rare at "
                    f"depth {self.depth} with up to {self.arguments} arguments: lower shortest"
                )
            yield tokens, lengths, values
