"""What inputs write into the state, and what outputs read from it."""

from torch import Tensor

from remanence.analysis import controllability, observability
from remanence.analysis.gramian import Gramian
from remanence.inspection.finding import Finding
from remanence.inspection.subject import Subject

MOST = 0.99  # of the energy
SEQUENCE = 64  # steps at most


def written(subject: Subject) -> Finding:
    """Directions of the state that the inputs of a sequence move."""
    found = controllability(subject.step, _sequence(subject))
    rank, most, size = _counts(found)
    sentence = (
        f"Inputs can move {_of(rank, size)} of the state; {_directions(most)} {_take(most)} 99% of what they write."
    )
    return _finding(found, rank, most, size, sentence)


def read(subject: Subject) -> Finding:
    """Directions of the state that its outputs tell apart."""
    found = observability(subject.step, _sequence(subject))
    rank, most, size = _counts(found)
    sentence = f"Outputs show {_of(rank, size)} of the state; {_directions(most)} {_take(most)} 99% of what they show."
    return _finding(found, rank, most, size, sentence)


def _sequence(subject: Subject) -> Tensor:
    return subject.portion(SEQUENCE)[:, : subject.length]


def _counts(found: Gramian) -> tuple[int, int, int]:
    energies = found.spectrum[0]
    most = int((energies.cumsum(0) < MOST * energies.sum()).sum()) + 1
    return int(found.rank[0]), most, len(energies)


def _finding(found: Gramian, rank: int, most: int, size: int, sentence: str) -> Finding:
    figures = {"rank": rank, "directions_of_99_percent": most, "size": size}
    return Finding(figures, f"{rank} of {size}, mostly {most}", sentence, lambda axes: found.plot(axes), panels=3)


def _of(rank: int, size: int) -> str:
    return f"all {size} directions" if rank == size else f"{rank} of {size} directions"


def _directions(count: int) -> str:
    return "1 of them" if count == 1 else f"{count} of them"


def _take(count: int) -> str:
    return "gets" if count == 1 else "get"
