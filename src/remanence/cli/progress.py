"""Progress bars, and the end of a failed command."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeAlias

import rich.progress

from remanence.cli.console import err

Message: TypeAlias = tuple[Path, int, int, float | None]  # as training.compare tells it

LONGEST = 1000  # letters of an error; what a file holds may be quoted in it
INTERRUPTED = 130  # exit code of a program that Ctrl-C ended
LINE_INTERVAL = 60  # seconds between lines about a run, where no bar can be drawn


@contextmanager
def show_progress(count: int) -> Iterator[Callable[[Message], None]]:
    """Show one progress bar for all runs and one for each active run; yields the callback that updates them.

    Where the standard error is a file, a line a minute and run takes their place.
    """
    from remanence import data  # slow to load

    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(bar_width=24),
        rich.progress.TextColumn("{task.fields[state]}"),
        rich.progress.TimeElapsedColumn(),
    )
    shares: dict[Path, float] = {}
    ids: dict[Path, rich.progress.TaskID] = {}
    told: dict[Path, float] = {}
    with rich.progress.Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        whole = progress.add_task("[bold]all runs[/]", total=count, state=f"0/{count}")

        def tell(message: Message) -> None:
            folder, done, total, metric = message
            if folder not in ids:
                ids[folder] = progress.add_task(folder.name, total=total, state="")
            shares[folder] = done / total
            state = f"step {done}/{total}" + ("" if metric is None else f", validation {metric:.3f}")
            progress.update(ids[folder], completed=done, state=state, visible=done < total)
            finished = sum(share >= 1 for share in shares.values())
            progress.update(whole, completed=sum(shares.values()), state=f"{finished}/{count}")
            now = time.monotonic()
            if not err.is_terminal and done < total and now - told.setdefault(folder, now) >= LINE_INTERVAL:
                told[folder] = now
                err.print(f"{folder.name}: {state}", markup=False, highlight=False, soft_wrap=True)

        making: list[rich.progress.TaskID] = []

        def tell_making(done: int, total: int) -> None:
            if not making:
                making.append(progress.add_task("making the data", total=total, state=""))
            progress.update(making[0], completed=done, total=total, visible=done < total, state=f"{done:,}/{total:,}")

        try:
            with data.report_progress(tell_making):
                yield tell
        except KeyboardInterrupt:
            progress.stop()
            fail("interrupted; the same command continues where it stopped", code=INTERRUPTED)


@contextmanager
def show_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar; yields the callback that updates it."""
    with rich.progress.Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def fail(message: str, code: int) -> NoReturn:
    """Exit with one line on the standard error; a long message is shortened in the middle."""
    if len(message) > LONGEST:
        message = f"{message[: LONGEST // 2]} [...] {message[-LONGEST // 2 :]}"
    err.print("[bold red]Error:[/]", end=" ")
    err.print(message, markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(code)
