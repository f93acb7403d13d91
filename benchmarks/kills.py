"""What is left of runs that are killed at random moments: `train`, `compare` and `sweep`, with SIGKILL.

Each command is started again and again and killed with all its processes, after a time that is drawn, until it has come
to its end; then it starts anew. Counted are runs whose record differs from that of the same command left alone, files
that no run has, files that cannot be read after a kill, and tracebacks. Writes results/kills.md.
"""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from remanence.checkpoints import read_tensors
from remanence.files import PART

KILLS = 50
COMMANDS = ("train", "compare", "sweep")
SLOWEST = 9.0  # seconds until a kill; a start takes three to five
EPOCHS = 60
OUTPUT = Path(__file__).parent / "results" / "kills.md"
RECIPE = {
    "title": "to be killed",
    "seeds": 2,
    "comparisons": [
        {
            "task": {"name": "retrieval", "options": {"pairs": 1, "train": 640, "validation": 64, "test": 64}},
            "layers": ["elman", "fast_weights"],
            "hidden_sizes": [8],
            "model": {"embedding": [8], "readout": []},
        }
    ],
}
SEARCH = {"fields": {"training.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}, "trials": 3}


def commands(folder: Path) -> dict[str, list[str]]:
    """The three commands; their recipes lie in the folder."""
    training = {"epochs": EPOCHS, "batch_size": 32}
    recipe = {**RECIPE, "comparisons": [{**RECIPE["comparisons"][0], "training": training}]}
    (folder / "compare.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**recipe, "search": SEARCH}))
    options = [
        f"--set=task.options.{key}={value}" for key, value in RECIPE["comparisons"][0]["task"]["options"].items()
    ]
    train = ["train", "retrieval", "--layer", "elman", "--hidden-size", "8", "--epochs", str(EPOCHS), *options]
    return {"train": train, "compare": ["compare", "compare.yaml"], "sweep": ["sweep", "sweep.yaml"]}


def start(command: list[str], folder: Path, output: str) -> subprocess.Popen[bytes]:
    """A process, at the head of a group of its own."""
    words = [sys.executable, "-m", "remanence", *command, "--output", output]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def finish(command: list[str], folder: Path, output: str) -> str:
    """Run to the end; what it said."""
    process = start(command, folder, output)
    said = process.communicate()[1].decode()
    assert process.returncode == 0, said
    return said


def kill(command: list[str], folder: Path, output: str, after: float) -> tuple[str, bool]:
    """Run for some seconds; what it said, and whether it was over before."""
    process = start(command, folder, output)
    try:
        return process.communicate(timeout=after)[1].decode(), True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[1].decode(), False


def count_unreadable(place: Path) -> int:
    """Files of runs that are there and not whole."""
    count = 0
    for path in place.rglob("*"):
        if not path.is_file() or path.name.endswith(PART):
            continue
        try:
            if path.suffix == ".ckpt":
                read_tensors(path)
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".yaml":
                assert yaml.safe_load(path.read_text())["task"]
            elif path.name == "metrics.csv":
                assert all(None not in row.values() for row in csv.DictReader(path.open()))
        except (ValueError, KeyError, TypeError, AssertionError):
            count += 1
    return count


def records(place: Path) -> dict[str, list[list[str]]]:
    """The record of each run, without the clock."""
    found = {}
    for path in sorted(place.rglob("metrics.csv")):
        rows = list(csv.reader(path.open()))
        clock = rows[0].index("seconds")
        found[str(path.parent.relative_to(place))] = [row[:clock] + row[clock + 1 :] for row in rows]
    return found


def compare_records(place: Path, alone: Path) -> tuple[int, set[str]]:
    """Runs whose record is not that of the command left alone, and names of files that it has not."""
    expected, found = records(alone), records(place)
    differing = sum(found.get(run) != record for run, record in expected.items()) + len(found.keys() - expected)
    names = [{path.name for path in folder.rglob("*") if path.is_file()} for folder in (place, alone)]
    return differing, names[0] - names[1]


def main() -> None:
    """Kill, and count. A command that is over before starts anew, in an empty folder."""
    draw = random.Random(0)
    lines = ["| command | kills | to the end | records that differ | unreadable files | stray files | tracebacks |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = commands(folder)
        for number, title in enumerate(COMMANDS):
            command, wanted = every[title], KILLS // len(COMMANDS) + (number < KILLS % len(COMMANDS))
            alone, place = folder / f"{title}-alone", folder / f"{title}-killed"
            finish(command, folder, alone.name)
            kills = ended = differing = broken = tracebacks = 0
            stray: set[str] = set()
            while kills < wanted or place.exists():
                if kills < wanted:
                    said, over = kill(command, folder, place.name, draw.uniform(0.5, SLOWEST))
                else:
                    said, over = finish(command, folder, place.name), True
                if "Traceback" in said:
                    tracebacks += 1
                    print(said, flush=True)
                kills += not over
                broken += count_unreadable(place)
                if over:
                    found, more = compare_records(place, alone)
                    differing, stray, ended = differing + found, stray | more, ended + 1
                    shutil.rmtree(place)
            print(*sorted(stray), flush=True)
            lines.append(f"| {title} | {kills} | {ended} | {differing} | {broken} | {len(stray)} | {tracebacks} |")
            print(lines[-1], flush=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text("# Runs killed at random moments\n`python benchmarks/kills.py`\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
