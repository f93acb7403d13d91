"""What inputs write into the state, and what outputs read from it."""

from torch import Tensor

from remanence.analysis import controllability, observability
from remanence.analysis.gramian import Gramian
from remanence.inspection.finding import Finding
from remanence.inspection.subject import Subject

MOST = 0.99  # of the energy
SEQUENCE = 64  # steps at most


def measure_written(subject: Subject) -> Finding:
    """Measure which directions of the state the inputs of a sequence move."""
    return _make_finding(controllability(subject.step, _take_sequence(subject)), "Inputs move", "of what they write")


def measure_read(subject: Subject) -> Finding:
    """Measure which directions of the state its outputs distinguish."""
    return _make_finding(observability(subject.step, _take_sequence(subject)), "Outputs show", "of what they show")


def _take_sequence(subject: Subject) -> Tensor:
    return subject.portion(SEQUENCE)[:, : subject.length]


def _make_finding(found: Gramian, does: str, energy: str) -> Finding:
    energies = found.spectrum[0]
    rank, size = int(found.rank[0]), len(energies)
    if rank == 0:
        return Finding({"rank": 0, "size": size}, f"none of {size}", f"{does} nothing of the state.")
    most = int((energies.cumsum(0) < MOST * energies.sum()).sum()) + 1
    which = "the one direction" if size == 1 else f"{'all' if rank == size else f'{rank} of'} {size} directions"
    sentence = f"{does} {which} of the state; {most} of them {'gets' if most == 1 else 'get'} {MOST:.0%} {energy}."
    figures = {"rank": rank, "directions_of_99_percent": most, "size": size}
    return Finding(figures, f"{rank} of {size}, mostly {most}", sentence, lambda axes: found.plot(axes), panels=3)
