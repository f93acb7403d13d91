"""Irregularly sampled series in a table of comma-separated values."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from remanence.data.archive import Member, iter_members
from remanence.data.source import Progress, Source
from remanence.data.store import Writer
from remanence.errors import UserError

LATEST = 1e100  # so that no difference of times overflows
LARGEST = 1e30  # of a value; single precision goes to 3e38
KEYS = ["series", "time", "label"]


def build_source(name: str) -> Source:
    """Create the source of a user's table, prepared under a name."""
    return Source(
        name=f"irregular-{name}",
        title=f"irregularly sampled series called {name!r}",
        publisher="anywhere",
        wanted="a CSV file with the columns series, time, label and the channels (an empty cell: not observed)",
        read=read,
        settings=f"--set task.options.name={name}",
    )


def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
    """Write the rows of all series (:func:`build_rows`) end to end, where each series starts, and its class.

    Times are in units of the median gap.
    """
    unit = find_median_gap(path)
    channels, labels, starts, targets = 0, [], [0], []
    for values, times, label, names in iter_series(path):
        channels = len(names)
        if label not in labels:
            labels.append(label)
        writer.append("rows", build_rows(values, np.diff(times / unit, prepend=times[0] / unit - 1)))
        starts.append(starts[-1] + len(values))
        targets.append(label)
        progress(len(targets), len(targets))
    if not targets:
        raise UserError(f"{path} holds no series")
    writer.append("starts", np.array(starts))
    labels.sort()
    writer.append("targets", np.array([labels.index(label) for label in targets]))
    writer.facts.update(labels=labels, channels=channels, unit=unit)


def find_median_gap(path: Path) -> float:
    """Find the median time between consecutive observations of a series; 1 if no series has two."""
    gaps = np.concatenate([np.empty(0), *(np.diff(times) for _, times, _, _ in iter_series(path))])
    return float(np.median(gaps)) if len(gaps) else 1.0


def build_rows(values: np.ndarray, timespans: np.ndarray) -> np.ndarray:
    """Combine values (0 for NaN), which of them exist, and timespans to rows [observations, 2 channels + 1]."""
    return np.concatenate([np.nan_to_num(values), np.isfinite(values), timespans[:, None]], 1).astype(np.float32)


def iter_series(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, str, list[str]]]:
    """Iterate over series: values [observations, channels] (NaN if missing), times, label and names of the channels.

    Raises:
        ValueError: a row of another form, with its number.
    """
    for member in iter_members(path):
        try:
            yield from parse_series(member)
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}: {member.name} is not a table of text: {error}") from error


def parse_series(member: Member) -> Iterator[tuple[np.ndarray, np.ndarray, str, list[str]]]:
    """Iterate over the series of one file, as :func:`iter_series`."""
    place = f"{member.archive}: {member.name}"
    lines = (line.decode("utf-8-sig" if number == 0 else "utf-8") for number, line in enumerate(member.lines()))
    cells_of = csv.reader(lines)
    names = next(cells_of, [])
    if names[:3] != KEYS or len(names) < 4:
        raise UserError(f"{place} must begin with the columns {', '.join(KEYS)} and channels")
    current: tuple[str, str] | None = None
    values: list[list[float]] = []
    times: list[float] = []
    for number, row in enumerate(cells_of, start=2):
        try:
            key, time = (row[0], row[2]), float(row[1])
            cells = [float(cell) if cell.strip() else np.nan for cell in row[3:]]
            if len(row) != len(names) or not abs(time) < LATEST or any(abs(cell) > LARGEST for cell in cells):
                raise ValueError
        except (ValueError, IndexError):
            raise UserError(f"{place}, row {number}: expected {', '.join(names)}, all finite") from None
        if current is not None and key != current:
            yield np.array(values), np.array(times), current[1], names[3:]
            values, times = [], []
        if times and time <= times[-1]:
            raise UserError(f"{place}, row {number}: times of a series must increase")
        current = key
        values.append(cells)
        times.append(time)
    if current is not None:
        yield np.array(values), np.array(times), current[1], names[3:]
