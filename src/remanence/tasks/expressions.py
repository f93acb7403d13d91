"""Random expressions of nested lists, grown token by token and evaluated while they grow."""

import numpy as np

from remanence.data.listops_source import CLOSE, OPERATORS, VOCABULARY
from remanence.tasks.compiled import compiled

VALUE_SHARE = 0.75
BLOCK = 1000  # expressions at a time
ATTEMPTS = 100_000  # for one expression; of the published size one in ten is long enough
FIRST_DIGIT = VOCABULARY.index("0")
MIN, MAX, MED, SM = (VOCABULARY.index(name) for name in OPERATORS)
END = VOCABULARY.index(CLOSE)


@compiled
def apply(operator: int, values: np.ndarray) -> int:
    """Evaluate an operator: minimum, maximum, median (rounded down), sum modulo 10."""
    if operator == MIN:
        return values.min()
    if operator == MAX:
        return values.max()
    if operator == MED:
        ordered = np.sort(values)
        return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2
    return values.sum() % 10


@compiled
def grow(rng: np.random.Generator, depth: int, arguments: int, tokens: np.ndarray) -> tuple[int, int]:
    """Draw one expression; return its length and value, or (0, 0) if it does not fit into ``tokens``."""
    operators, wanted, given = np.zeros(depth, np.int64), np.zeros(depth, np.int64), np.zeros(depth, np.int64)
    values = np.zeros((depth, arguments), np.int64)
    length, level, value = 0, 0, 0
    while True:
        if level + 1 < depth and (level == 0 or rng.random() > VALUE_SHARE):
            operators[level] = MIN + rng.integers(0, 4)
            wanted[level], given[level] = rng.integers(2, arguments + 1), 0
            tokens[length] = operators[level]
            length, level = length + 1, level + 1
        else:
            value = rng.integers(0, 10)
            tokens[length] = FIRST_DIGIT + value
            length += 1
            while level > 0:
                inner = level - 1
                values[inner, given[inner]] = value
                given[inner] += 1
                if given[inner] < wanted[inner]:
                    break
                value = apply(operators[inner], values[inner, : given[inner]])
                tokens[length] = END
                length, level = length + 1, inner
        if level == 0:
            return length, int(value)
        if length + level >= len(tokens):  # what is open must still be closed
            return 0, 0


@compiled
def fill(
    rng: np.random.Generator, depth: int, arguments: int, shortest: int, tokens: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Draw expressions of more than ``shortest`` tokens into the rows of ``tokens``; return their values, of as many
    rows as could be filled."""
    values = np.zeros(len(tokens), np.uint8)
    for row in range(len(tokens)):
        for _ in range(ATTEMPTS):
            lengths[row], values[row] = grow(rng, depth, arguments, tokens[row])
            if lengths[row] > shortest:
                break
        else:
            return values[:row]
    return values
