"""Damaged files before every reader: each is read, or refused in a line that names it.

    python tests/fuzz/run.py

A case is made from the seed, the name of the reader and its number: ``--reader NAME --first K --cases 1`` makes it
again. Each reader runs in a process of its own, which may take 1 GiB beyond what it starts with, and 10 s a case; what
it opens for writing, starts or connects to is watched. Writes benchmarks/results/fuzz.md.
"""

import argparse
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from readers import Reader, clear, every

from remanence.errors import RunError, UserError, is_out_of_memory

CASES, SECONDS, ROOM = 2000, 10, 1 << 30
OUTPUT = Path(__file__).parents[2] / "benchmarks" / "results" / "fuzz.md"
ENDS = ("read", "refused", "traceback", "unnamed", "crash", "too large", "too slow", "outside")
FAULTS = ENDS[2:]


class TooSlowError(BaseException):
    """A case takes longer than it may."""


class OutsideError(BaseException):
    """Something is written elsewhere, or started."""


def watch(place: Path) -> None:
    """End what writes outside of a folder, starts a program or connects to another machine."""

    def hook(event: str, given: Sequence[object]) -> None:
        if event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect", "os.fork"):
            raise OutsideError(f"{event} {given[0]!r}")
        if event == "open" and isinstance(given[0], str | bytes) and writes(given[1], given[2]):
            path = Path(os.fsdecode(given[0])).resolve()
            if not path.is_relative_to(place) and path != Path(os.devnull):
                raise OutsideError(f"writes {path}")

    sys.addaudithook(hook)


def writes(mode: object, flags: object) -> bool:
    """Whether a file is opened to be written."""
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def bound() -> None:
    """Let this process take so much beyond what it has."""
    data = re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())
    assert data is not None
    held = int(data[1]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (held + ROOM, held + ROOM))


def late(*_: object) -> None:
    raise TooSlowError


def end_of(reader: Reader, folder: Path, draw: random.Random | None) -> tuple[str, str]:
    """How a case ends, and what was said; without chance nothing is damaged."""
    path = reader.write(folder, draw)
    signal.alarm(SECONDS)
    try:
        reader.read(path)
    except (UserError, RunError) as error:
        signal.alarm(0)
        said = str(error)
        return ("refused" if str(path) in said else "unnamed"), said
    except OSError as error:
        signal.alarm(0)
        return ("refused" if str(path) in str(error) else "unnamed"), traceback.format_exc()
    except TooSlowError:
        return "too slow", "".join(traceback.format_exc())
    except OutsideError as error:
        return "outside", str(error)
    except BaseException as error:
        signal.alarm(0)
        return ("too large" if is_out_of_memory(error) else "traceback"), traceback.format_exc()
    finally:
        signal.alarm(0)
    return "read", ""


def attempt(reader: Reader, seed: str, cases: Iterable[int], pipe: Connection) -> None:
    """Cases one after another, in a process of its own; tells how each ended."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        for part in ("data", "case", "here"):
            (place / part).mkdir()
        os.environ["REMANENCE_DATA_DIR"] = str(place / "data")
        os.chdir(place / "here")
        signal.signal(signal.SIGALRM, late)
        warnings.simplefilter("ignore")
        bound()
        watch(place)
        assert (whole := end_of(reader, place / "case", None))[0] == "read", whole
        for case in cases:
            for part in ("data", "case", "here"):
                clear(place / part)
            pipe.send((case, None, ""))
            ended, said = end_of(reader, place / "case", random.Random(f"{seed} {case}"))
            if ended in ("read", "refused") and list((place / "here").iterdir()):
                ended, said = "outside", f"left {list((place / 'here').iterdir())}"
            pipe.send((case, ended, said.replace(str(place), "")))
    pipe.send((None, None, ""))


def ends(name: str, reader: Reader, seed: int, first: int, cases: int) -> Counter[str]:
    """How many cases ended in each way; faults are printed. A process that crashes is followed by another."""
    counts: Counter[str] = Counter()
    context, start = multiprocessing.get_context("fork"), first
    while start < first + cases:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=attempt, args=(reader, f"{seed} {name}", range(start, first + cases), theirs))
        process.start()
        theirs.close()
        try:
            while (told := ours.recv())[0] is not None:
                start, ended, said = told
                if ended is not None:
                    counts[ended] += 1
                    if ended in FAULTS:
                        print(f"{name}, case {start}: {ended}: {said[-1500:]}", flush=True)
            start = first + cases
        except EOFError:
            counts["crash"] += 1
            process.join()
            print(f"{name}, case {start}: the process ended with {process.exitcode}", flush=True)
            start += 1
        process.join()
    return counts


def main() -> None:
    """Try all, and count."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--reader", help="only those whose name begins so")
    options.add_argument("--cases", type=int, default=CASES, help="of each reader")
    options.add_argument("--first", type=int, default=0, help="number of the first case")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--output", type=Path, default=OUTPUT)
    given = options.parse_args()
    lines = [f"| reader | {' | '.join(ENDS)} |", f"| --- | {' | '.join(['---:'] * len(ENDS))} |"]
    faults, total = 0, 0
    for name, reader in every().items():
        if given.reader is None or name.startswith(given.reader):
            counts = ends(name, reader, given.seed, given.first, given.cases)
            faults += sum(counts[fault] for fault in FAULTS)
            total += counts.total()
            lines.append(f"| {name} | {' | '.join(str(counts[end]) for end in ENDS)} |")
            print(lines[-1], flush=True)
    if given.reader is None:
        text = f"# Damaged files before every reader\n`python tests/fuzz/run.py`: {total:,} cases, {faults} faults.\n\n"
        given.output.write_text(text + "\n".join(lines) + "\n")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
