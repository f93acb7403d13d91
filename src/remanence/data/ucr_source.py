"""Time series in the ``.ts`` format of the UEA and UCR archives."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from remanence.data.archive import Member
from remanence.data.source import Progress, Source, iter_files
from remanence.data.store import Writer
from remanence.errors import UserError

FLOAT_MAX = float(np.finfo(np.float32).max)
SPARSEST = 100  # an array may have so many times the values that a line has
MISSING = ("?", "NaN", "nan", "")


@dataclass
class Problem:
    """A file.

    Args:
        labels: the labels of the classes, in the order of the header.
        series: each [steps, channels], missing values are NaN.
        targets: the class of each.
    """

    labels: list[str] = field(default_factory=list)
    series: list[np.ndarray] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)


def build_source(name: str) -> Source:
    """Create the source of a problem of the archive."""

    def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
        files = {f"{name}_TRAIN.ts": "train", f"{name}_TEST.ts": "test"}
        found: dict[str, Problem] = {}
        for done, (file, member) in enumerate(iter_files(source, path, tuple(files)), start=1):
            found[files[file]] = parse_problem(member)
            progress(done, len(files))
        write_problem(found, writer, path)

    return Source(
        name=f"ucr-{name}",
        title=f"the time series {name}",
        publisher="https://www.timeseriesclassification.com",
        wanted=f"{name}.zip, or a folder with {name}_TRAIN.ts and {name}_TEST.ts",
        read=read,
        settings=f"--set task.options.name={name}",
    )


def write_problem(found: dict[str, Problem], writer: Writer, path: Path) -> None:
    """Write the concatenated series, standardised by the training series, their starts and classes, for each split."""
    train, test = found["train"], found["test"]
    channels = {series.shape[1] for part in found.values() for series in part.series}
    if train.labels != test.labels or len(channels) != 1:
        raise UserError(f"{path}: the training and the test file differ in their classes or channels")
    everything = np.concatenate(train.series).astype(np.float64)
    mean, deviation = np.nanmean(everything, 0), np.nanstd(everything, 0)
    for split, part in found.items():
        for series in part.series:
            standard = (series - mean) / np.where(deviation > 0, deviation, 1)
            writer.append(f"{split}.values", np.nan_to_num(standard).astype(np.float32))
        writer.append(f"{split}.starts", np.cumsum([0, *map(len, part.series)]))
        writer.append(f"{split}.targets", np.array(part.targets, np.uint16))
    writer.facts.update(labels=train.labels, channels=channels.pop())


def parse_problem(member: Member) -> Problem:
    """Read a file.

    Raises:
        ValueError: a line of another form, with its number, or fewer series than none.
    """
    found, in_data, expected = Problem(), False, None
    for number, raw in enumerate(member.lines(), start=1):
        line = raw.decode("utf-8", "replace").strip()
        if not line or line.startswith(("#", "%")):
            continue
        try:
            if in_data:
                series, target = parse_case(line, found.labels)
                if expected not in (None, series.shape[1]):
                    raise UserError(f"{series.shape[1]} channels, the lines before have {expected}")
                expected = series.shape[1]
                found.series.append(series)
                found.targets.append(target)
            else:
                in_data = parse_header(line, found)
        except ValueError as error:
            raise UserError(f"{member.archive}: {member.name}, line {number}: {error}") from error
    if not found.series:
        raise UserError(f"{member.archive}: {member.name} holds no series")
    return found


def parse_header(line: str, found: Problem) -> bool:
    """Take up a line of the header; return whether the data begin behind it.

    Raises:
        ValueError: a kind of problem that is not read.
    """
    key, *values = line.split()
    key = key.lower()
    if not key.startswith("@"):
        raise UserError("expected a line of the header, which begins with @")
    if key == "@timestamps" and values[:1] == ["true"]:
        raise UserError("series with time stamps are not supported")
    if key == "@targetlabel" and values[:1] == ["true"]:
        raise UserError("numeric targets are not supported, only classes")
    if key == "@classlabel":
        found.labels = values[1:]
    if key == "@data" and not found.labels:
        raise UserError("there are no classes: a line @classLabel true A B ... is needed")
    return key == "@data"


def parse_number(text: str) -> float:
    """Parse a value, NaN where it is missing.

    Raises:
        ValueError: it is no number, or not a finite one.
    """
    if text.strip() in MISSING:
        return np.nan
    if not abs(value := float(text)) <= FLOAT_MAX:
        raise UserError(f"the value {text.strip()} is not finite")
    return value


def parse_case(line: str, labels: list[str]) -> tuple[np.ndarray, int]:
    """Parse a series [steps, channels] and the number of its class; shorter channels are padded with NaN.

    Raises:
        ValueError: a value that is no number, or an unknown class.
    """
    *channels, label = line.split(":")
    if label.strip() not in labels:
        raise UserError(f"the class {label.strip()!r} is not in the header")
    if not channels:
        raise UserError("there is no series before the class")
    columns = [[parse_number(value) for value in channel.split(",")] for channel in channels]
    if max(map(len, columns)) * len(columns) > SPARSEST * sum(map(len, columns)):
        raise UserError(f"{len(columns):,} channels, of which the longest has {max(map(len, columns)):,} values")
    values = np.full((max(map(len, columns)), len(columns)), np.nan, np.float32)
    for channel, column in enumerate(columns):
        values[: len(column), channel] = column
    return values, labels.index(label.strip())
