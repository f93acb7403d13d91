"""Processor time and memory of some work, in a process of its own."""

import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # a thread that waits uses no processor time

import torch

THREADS = 2
REPEATS = 3

Work = tuple[Callable[[], object], Callable[[], object]]
"""A small warm-up, and what is measured."""


def megabytes(field: str) -> float:
    """A line of /proc/self/status."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def in_a_process(prepare: Callable[..., Work], *arguments) -> tuple[float, float]:
    """Median milliseconds of processor time, the sum over threads, and how many megabytes the memory rose in the first.

    Other programs on the machine stretch the clock's time, but not this one.

    Args:
        prepare: makes the warm-up and the work, from the arguments.
        arguments: numbers and strings.
    """
    # fork: torch is loaded already, and has not computed anything in this process.
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    process = context.Process(target=_send_measurement, args=(prepare, arguments, results))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{prepare.__name__}{arguments} ended with {process.exitcode}")
    return results.get()


def _send_measurement(prepare: Callable[..., Work], arguments: tuple, results: "multiprocessing.SimpleQueue") -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    warm_up, work = prepare(*arguments)
    warm_up()
    before = megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    seconds = [_time_call(work)]
    peak = megabytes("VmHWM") - before
    seconds += [_time_call(work) for _ in range(REPEATS - 1)]
    results.put((1000 * statistics.median(seconds), peak))


def _time_call(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
