"""Time several ways to do the same, in turn, so that a slow moment of the machine hits all of them."""

import statistics
import time
from collections.abc import Callable, Mapping

import rich.progress
from rich.console import Console
from rich.table import Table


def collect_samples(ways: Mapping[str, Callable[[], object]], repeats: int = 15) -> dict[str, list[float]]:
    """Seconds of each, over interleaved repeats.

    A call that is not counted goes before each that is, as in training: what another way left behind in the caches and
    in the memory that is freed and taken again would count otherwise.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in rich.progress.track(range(repeats), transient=True, console=Console(stderr=True)):
        for name, call in ways.items():
            call()
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def measure_medians(ways: Mapping[str, Callable[[], object]], repeats: int = 15) -> dict[str, float]:
    """Their medians."""
    return {name: statistics.median(values) for name, values in collect_samples(ways, repeats).items()}


def show(title: str, figures: Mapping[str, float], against: str) -> None:
    """Print milliseconds, and the ratio to one of them."""
    table = Table("", "ms", f"ratio to {against}", title=title, title_justify="left")
    for name, value in figures.items():
        table.add_row(name, f"{1000 * value:.2f}", f"{value / figures[against]:.2f}")
    Console().print(table)


def print_rows(seconds: Mapping[str, list[float]], against: str) -> list[str]:
    """Medians and best, in ms, and how many times those of one."""
    lines = ["| | median, ms | ratio | best, ms | ratio |", "|" + " --- |" * 5]
    figures = {name: (1000 * sorted(times)[len(times) // 2], 1000 * min(times)) for name, times in seconds.items()}
    for name, found in figures.items():
        cells = (f"{value:.1f} | {value / other:.2f}" for value, other in zip(found, figures[against], strict=True))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    print("\n".join(lines), flush=True)
    return lines
