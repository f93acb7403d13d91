"""Half-cheetah traces, as they come with the code of Hasani et al. (2020)."""

from pathlib import Path, PurePosixPath

import numpy as np

from remanence.data.archive import iter_members
from remanence.data.npy import read_npy
from remanence.data.source import Progress, Source, make_ambiguity_error, make_missing_error
from remanence.data.store import Writer
from remanence.errors import UserError

CHANNELS = 17
FILES = 25
MOST = 100
LARGEST = 1 << 24  # bytes of a trace


def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
    """Read the concatenated traces [steps, 17], in the order of their names, and their starts."""
    found: dict[str, np.ndarray] = {}
    places: dict[str, str] = {}
    for member in iter_members(path):
        name = PurePosixPath(member.name).name
        if name.startswith("trace_") and name.endswith(".npy"):
            if len(found) == MOST:
                raise UserError(f"{path} has more than {MOST} traces: it is another set of data")
            if name in found:
                raise make_ambiguity_error(path, name, places[name], member.name)
            places[name] = member.name
            found[name] = parse_trace(f"{path}: {member.name}", member.read(LARGEST))
            progress(len(found), max(FILES, len(found)))
    if len(found) < FILES:
        raise make_missing_error(source, path, f"traces: {len(found)} instead of {FILES} or more")
    traces = [found[name] for name in sorted(found)]
    writer.append("values", np.concatenate(traces))
    writer.append("starts", np.cumsum([0, *map(len, traces)]))


def parse_trace(name: str, content: bytes) -> np.ndarray:
    """Parse one trace, as float32.

    Raises:
        ValueError: it is truncated, or no array of 17 channels.
    """
    values = read_npy(name, content)
    if values.dtype.kind != "f" or values.shape[1:] != (CHANNELS,):
        raise UserError(f"{name} should be an array [steps, {CHANNELS}] of numbers")
    if not np.isfinite(values).all():
        raise UserError(f"{name} holds values that are not finite")
    return values.astype(np.float32)


CHEETAH = Source(
    name="cheetah",
    title="the half-cheetah traces (Hasani et al. 2020)",
    publisher="https://github.com/raminmh/liquid_time_constant_networks",
    wanted="the folder experiments_with_ltcs/data/cheetah",
    read=read,
)
