"""All instruments on all memories, each by itself: one that fails leaves the others alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from remanence.inspection import control, correction, divergence, fixed_points, gradient, neurons, retention
from remanence.inspection.finding import Finding
from remanence.inspection.subject import Subject

Tell = Callable[[Subject, "Line", bool], None]
"""Told before (False) and after (True) a line of the card is measured."""


@dataclass(frozen=True)
class Line:
    """One line of the card.

    Attributes:
        name: for machines.
        title: for people.
        question: what it answers, for the page.
        measure: the instrument.
        applies: whether it makes sense for a memory; where it does for none, the card has no such line.
    """

    name: str
    title: str
    question: str
    measure: Callable[[Subject], Finding]
    applies: Callable[[Subject], bool] = lambda subject: True


LINES = (
    Line("gradient", "Gradient", "How many steps back does a gradient reach?", gradient.measure),
    Line("memory", "Memory", "How long can an input be read from the state while others follow?", retention.measure),
    Line("lyapunov", "Lyapunov exponent", "Do two nearby states part or meet?", divergence.measure),
    Line("correction", "Error correction", "Are errors of the state removed while contents stay?", correction.measure),
    Line(
        "fixed_points", "Fixed points", "Where does the state rest when its input stands still?", fixed_points.measure
    ),
    Line("control", "Written", "Which directions of the state can inputs move?", control.measure_written),
    Line("observability", "Read", "Which directions of the state do outputs show?", control.measure_read),
    Line("holding", "Neurons", "Which neurons keep a value?", neurons.measure, neurons.applies),
)


@dataclass(frozen=True, eq=False)
class Card:
    """The report card of one memory.

    Attributes:
        subject: the memory.
        findings: the finding of each instrument, by the name of its line.
    """

    subject: Subject
    findings: dict[str, Finding]


def inspect(subjects: Sequence[Subject], tell: Tell = lambda subject, line, done: None) -> list[Card]:
    """Measure every line of the card for every memory.

    Args:
        subjects: the memories.
        tell: called before and after each measurement.

    Returns:
        One card for each memory.
    """
    with _use_one_thread():
        return [Card(subject, dict(_measure_lines(subject, select_lines(subjects), tell))) for subject in subjects]


def select_lines(subjects: Sequence[Subject]) -> list[Line]:
    """Select the lines that apply to at least one of the memories."""
    return [line for line in LINES if any(line.applies(subject) for subject in subjects)]


def _measure_lines(subject: Subject, lines: Sequence[Line], tell: Tell) -> Iterator[tuple[str, Finding]]:
    ends = subject.find_overflow()
    for line in lines:
        tell(subject, line, False)
        yield line.name, _measure_line(subject, line) if ends is None else Finding.missing(_describe_overflow(ends))
        tell(subject, line, True)


def _measure_line(subject: Subject, line: Line) -> Finding:
    if not line.applies(subject):
        return Finding.missing(f"{type(subject.module).__name__} has no such neurons")
    try:
        return line.measure(subject)
    except Exception as error:  # a module of the user's may raise anything
        return Finding.missing((str(error) or type(error).__name__).partition("\n")[0].rstrip("."))


def _describe_overflow(step: int) -> str:
    return f"the state holds numbers that are not finite from step {step} on"


@contextmanager
def _use_one_thread() -> Iterator[None]:
    """Use one thread: matrices of a state are so small that several threads cost more than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
