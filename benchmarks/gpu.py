"""All tests and benchmarks of one GPU within six minutes: `python benchmarks/gpu.py`.

Runs the tests marked `cuda`, then each section of `_gpu_sections.py` in a process of its own, so that an error, or a
kernel that never returns, costs that section alone. What does not fit into the time is listed as not measured. The
targets are bounds for an H200; "ratio" is to what stands beside a figure.

Prints one table, and writes it to results/gpu.md and, with machine and versions, to results/gpu.json (`--output`).
The package must be importable (`PYTHONPATH=src`); its requirements and Rich are needed, pytest for the tests.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "benchmarks" / "results" / "gpu.json"
SECONDS = 340
"""The rest of the six minutes is for starting and ending."""
SHARES = {
    "tests": 130,
    "pointwise": 30,
    "fixed cost": 15,
    "first call": 35,
    "fast weights": 20,
    "layers": 70,
    "gated": 35,
    "newton": 15,
}
"""Of the time; what a section leaves over goes to those behind it."""
PACKAGES = ("torch", "triton", "numpy", "numba", "llvmlite", "jaxtyping")
FORK = multiprocessing.get_context("fork")  # the parent, which has imported everything, never uses the GPU
Row = dict[str, Any]


def describe_machine() -> dict[str, Any]:
    """Return what the GPU is; its name is None where there is none."""
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "system": platform.platform()}
    if not torch.cuda.is_available():
        return {"gpu": None, **machine}
    seen = torch.cuda.get_device_properties(0)
    return {
        "gpu": seen.name,
        "compute capability": f"{seen.major}.{seen.minor}",
        "multiprocessors": seen.multi_processor_count,
        "memory, GiB": round(seen.total_memory / 2**30, 1),
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
        **machine,
    }


def list_versions() -> dict[str, str]:
    """Return the versions of what computes."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def say_last_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {last_line(str(error))}"


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def in_a_process(target, *arguments: object, seconds: float) -> Iterator[Any]:
    """Run ``target(*arguments, send)`` in a process of its own; yield what it sends, and an error at last if it fails.

    The process is ended when its time is over.
    """
    deadline = time.monotonic() + seconds
    receiver, sender = FORK.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile("r", suffix=".log", errors="replace") as log:
        process = FORK.Process(target=_enter, args=(target, arguments, sender, log.name))
        process.start()
        sender.close()
        try:
            while receiver.poll(max(0.0, deadline - time.monotonic())):
                yield receiver.recv()
        except (EOFError, OSError):
            process.join()
            if process.exitcode:
                yield {"error": f"ended with {process.exitcode}: {last_line(log.read())}"}
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that it has started
            process.kill()
            process.join()


def _enter(target, arguments: tuple[object, ...], sender: Connection, log: str) -> None:
    os.setsid()
    sys.stdout = sys.stderr = open(log, "w", buffering=1)  # noqa: SIM115
    for number in (1, 2):
        os.dup2(sys.stderr.fileno(), number)
    target(*arguments, sender.send)
    sender.close()


def send_machine(send) -> None:
    send(describe_machine())


def send_figures(name: str, is_tiny: bool, send) -> None:
    """Send a row for each figure of a section, then each again as it is measured."""
    import _gpu_sections

    torch.manual_seed(0)
    figures = _gpu_sections.SECTIONS[name](_gpu_sections.TINY if is_tiny else _gpu_sections.Sizes())
    for index, figure in enumerate(figures):
        about = {"beside": figure.beside, "target": figure.target, "target of": figure.target_of}
        send({"index": index, "figure": figure.name, **about})
    for index, figure in enumerate(figures):
        try:
            measured = dict(zip(("ms", "beside, ms"), figure.measure(), strict=False))
        except Exception as error:
            measured = {"error": say_last_line(error)}
        send({"index": index, **measured})


def measure(section: str, is_tiny: bool, seconds: float, tell) -> list[Row]:
    """Return the rows of a section."""
    rows: dict[int, Row] = {}
    for sent in in_a_process(send_figures, section, is_tiny, seconds=seconds):
        row = rows.setdefault(sent.pop("index", -1), {"section": section, "figure": "the section"})
        row.update(sent)
        tell(sum("ms" in row or "error" in row for row in rows.values()), len(rows))
    return [judge(row) for row in rows.values()] or [{"section": section, "figure": "the section"}]


def judge(row: Row) -> Row:
    """Add the ratio to what stands beside a figure, and whether its target is reached."""
    if "beside, ms" in row:
        row["ratio"] = row["ms"] / row["beside, ms"]
    if row.get("target") is not None and "ms" in row:
        row["reached"] = row[row["target of"]] <= row["target"]
    return row


def run_tests(is_tiny: bool, seconds: float, tell) -> dict[str, Any]:
    """Run the tests marked `cuda`; return how many had which outcome, and the last line of each error."""
    if importlib.util.find_spec("pytest") is None:
        return {"error": "pytest is not installed"}
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        outcomes, log = Path(folder, "outcomes"), Path(folder, "log")
        paths = os.pathsep.join((str(ROOT / "benchmarks"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")))
        environment = {**os.environ, "PYTHONPATH": paths, "OUTCOMES": str(outcomes)}
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *list_options(is_tiny), *list_test_files(is_tiny)],
                cwd=ROOT,
                env=environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            try:
                while process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.2)
                    found = read_outcomes(outcomes)
                    tell(sum(found["outcomes"].values()), found["selected"])
            finally:
                is_over = process.poll() is not None
                if not is_over:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        found = read_outcomes(outcomes)
        if not is_over:
            found["error"] = "out of time"
        elif process.returncode not in (0, 1):
            found["error"] = f"pytest ended with {process.returncode}: {last_line(log.read_text(errors='replace'))}"
    found["not run"] = max(0, found["selected"] - sum(found["outcomes"].values()))
    return found


def list_options(is_tiny: bool) -> list[str]:
    options = ["-q", "-m", "cuda", "-p", "_outcomes", "--continue-on-collection-errors"]
    workers = min(8, (os.cpu_count() or 1) // 2)  # each compiles kernels, one at a time
    has_xdist = importlib.util.find_spec("xdist") is not None
    return [*options, "-n", str(workers)] if has_xdist and workers > 1 and not is_tiny else options


def list_test_files(is_tiny: bool) -> list[str]:
    """Return the files with tests for a GPU: others may import what a machine with a GPU lacks."""
    folder = ROOT / "tests" / ("nn/attention" if is_tiny else "")
    return [str(path) for path in sorted(folder.rglob("test_*.py")) if "mark.cuda" in path.read_text("utf-8")]


def read_outcomes(path: Path) -> dict[str, Any]:
    """Read what the plugin has written so far."""
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    tests: dict[str, Row] = {}
    for entry in entries:
        if "test" in entry and tests.get(entry["test"], {}).get("outcome") != "failed":
            tests[entry["test"]] = entry
    return {
        "selected": max((entry.get("count", 0) for entry in entries), default=0),
        "outcomes": dict(Counter(entry["outcome"] for entry in tests.values())),
        "failures": {name: entry["error"] for name, entry in tests.items() if entry["outcome"] == "failed"},
    }


def as_cells(tests: dict[str, Any], rows: list[Row]) -> list[list[str]]:
    """Return the lines of the table, tests first."""
    counted = ", ".join(f"{count} {outcome}" for outcome, count in tests.get("outcomes", {}).items())
    said = "; ".join(filter(None, [counted, f"{tests['not run']} not run" if tests.get("not run") else ""]))
    is_good = tests.get("outcomes", {}).keys() <= {"passed", "skipped"} and not tests.get("not run")
    lines = [["tests", "marked cuda", said, "", "", "all", "no" if "error" in tests or not is_good else "yes"]]
    lines += [["tests", name, error, "", "", "", ""] for name, error in tests.get("failures", {}).items()]
    if "error" in tests:
        lines.append(["tests", "", tests["error"], "", "", "", ""])
    for row in rows:
        target, of = row.get("target"), row.get("target of")
        beside = f"{row['beside, ms']:.3g} ({row['beside']})" if "beside, ms" in row else ""
        lines.append(
            [
                row["section"],
                row["figure"],
                f"{row['ms']:.3g}" if "ms" in row else row.get("error", "not measured"),
                beside,
                f"{row['ratio']:.2f}" if "ratio" in row else "",
                "" if target is None else f"{target:g}{' ms' if of == 'ms' else ' times'}",
                {True: "yes", False: "no", None: ""}[row.get("reached")],
            ]
        )
    return lines


HEAD = ("section", "figure", "ms", "beside it, ms", "ratio", "target", "reached")


def show(title: str, lines: list[list[str]]) -> None:
    table = Table(*HEAD, title=title, title_justify="left")
    for line in lines:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else 180).print(table, markup=False)


def write(path: Path, record: dict[str, Any], title: str, lines: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    text = [f"# {title}", "", "Written by `python benchmarks/gpu.py`.", "", f"| {' | '.join(HEAD)} |"]
    text.append("|" + " --- |" * len(HEAD))
    text += [f"| {' | '.join(cell.replace('|', '¦') for cell in line)} |" for line in lines]
    path.with_suffix(".md").write_text("\n".join(text) + "\n", encoding="utf-8")


def run_all(is_tiny: bool, end: float) -> tuple[dict[str, Any], list[Row]]:
    """Run the tests and all sections, each within its share of the time that is left."""
    tests, rows = {}, []
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    # Drawn by this thread: a process that is forked while another one writes could wait for its lock for ever.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as progress:
        for index, section in enumerate(SHARES):
            seconds = (end - time.monotonic()) * SHARES[section] / sum(list(SHARES.values())[index:])
            task = progress.add_task(section)

            def tell(done: int, total: int, task=task) -> None:
                progress.update(task, completed=done, total=total, refresh=True)

            if section == "tests":
                tests = run_tests(is_tiny, seconds, tell)
            else:
                rows += measure(section, is_tiny, seconds, tell)
            progress.stop_task(task)
    return tests, rows


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the JSON; the table goes beside it")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)  # small sizes, on the CPU
    options = parser.parse_args()
    start = time.monotonic()
    machine = next(in_a_process(send_machine, seconds=60), {"error": "the driver does not answer"})
    if machine.get("gpu") is None and not options.tiny:
        raise SystemExit(f"no CUDA GPU here: nothing measured {machine.get('error', '')}".strip())
    try:
        import _gpu_sections  # noqa: F401  # once, for all sections
    except Exception as error:  # each section will say so
        print(say_last_line(error), file=sys.stderr)
    tests, rows = run_all(options.tiny, start + SECONDS)
    seconds = round(time.monotonic() - start)
    title = f"{machine.get('gpu') or 'tiny sizes on a CPU'}, PyTorch {torch.__version__}, {seconds} s"
    lines = as_cells(tests, rows)
    show(title, lines)
    record = {"machine": machine, "versions": list_versions(), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    write(options.output, {**record, "seconds": seconds, "tests": tests, "figures": rows}, title, lines)
    return int("error" in tests or bool(tests["failures"]) or any("error" in row for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
