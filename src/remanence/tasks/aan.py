"""Byte-level document retrieval of the Long Range Arena (Tay et al. 2020, section 2.2.3)."""

from remanence.data import load_prepared
from remanence.data.aan_source import AAN as SOURCE
from remanence.errors import UserError
from remanence.tasks.classification import Classification
from remanence.tasks.samples import Sequences
from remanence.tasks.task import Split, check_split
from remanence.tasks.text import BYTES, SHOWN


class AAN(Classification):
    """Say whether one paper cites the other, both read byte by byte (Long Range Arena: Retrieval).

    One model reads both papers, each by itself; what it makes of them is joined and classified. 147,086 pairs of the
    ACL Anthology Network train, 18,090 validate, 17,437 test. ``remanence data aan --from lra_release.gz`` prepares
    them. The released texts are what Python prints of bytes (``b'...'``), and are read as they are, as published.

    Args:
        length: the number of bytes to which longer texts are truncated; default: 4000, as published.

    Raises:
        ValueError: a length out of range.

    References:
        Tay et al., "Long Range Arena", 2020, arXiv:2011.04006, section 2.2.3; Radev et al., "The ACL anthology network
        corpus", 2013.
    """

    target_size = 2
    vocabulary = BYTES
    paired = True
    source = SOURCE

    def __init__(self, *, length: int = 4000):
        if not 1 <= length <= 10_000:
            raise UserError(f"length must be from 1 to 10,000 bytes, got {length}")
        self.length = length

    def dataset(self, split: Split) -> Sequences:
        """Pairs of bytes of different lengths, and whether one cites the other [samples]."""
        store = load_prepared(SOURCE, "aan")
        tokens, starts, targets = (store[f"{check_split(split)}.{name}"] for name in ("tokens", "starts", "targets"))
        return Sequences(tokens, starts, targets, shift=1, limit=self.length, pairs=True)

    def examples(self, count: int) -> list[str]:
        """The beginnings of both texts, and whether one cites the other."""
        samples = self.dataset("train")
        texts = []
        for row in range(count):
            both = ["".join(BYTES[token] for token in tokens[:SHOWN] if token) for tokens in samples[row][0].tolist()]
            texts.append("...\n".join([*both, f"-> {'cites' if samples.targets[row] else 'does not cite'}"]))
        return texts
