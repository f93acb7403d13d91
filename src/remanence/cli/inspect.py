"""The command remanence inspect."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import rich.progress
import typer

from remanence.cli.console import check_paths, err, format_command, out, print_json, say
from remanence.cli.options import AllowImport, Json, make_set_option
from remanence.errors import UserError


def inspect(
    what: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN_OR_CHECKPOINT...", help="Run folders, or files with the weights of a model."),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option(metavar="PACKAGE:CLASS", help="Your own module, forward(x, state) -> (y, state)."),
    ] = None,
    settings: Annotated[
        list[str],
        make_set_option("An argument of that class, module.options.NAME=VALUE, or module.input_size=CHANNELS"),
    ] = [],  # noqa: B006 (Typer wants a list)
    output: Annotated[
        Path | None, typer.Option(help="Folder for inspection.html (default: that of the first argument).")
    ] = None,
    allow_import: AllowImport = False,
    as_json: Json = False,
) -> None:
    """Report how long trained memories remember and why they forget; several memories are shown side by side.

    The input is the validation data of a run's task, or white noise for checkpoints and for --module.

    Checkpoints may contain layers of nn.LSTM, nn.GRU or nn.RNN.
    """
    paths = what or []
    if not paths and module is None:
        raise UserError("nothing to inspect: pass a run or a checkpoint, or --module package:Class")
    if settings and module is None:
        raise UserError("--set requires --module, whose class it configures")
    check_paths(paths, "give a run folder or a checkpoint file")
    from remanence import inspection  # slow to load

    with show_progress() as tell:
        subjects = (
            load_subjects(paths, allow_import=allow_import) if module is None else load_modules(module, paths, settings)
        )
        cards = inspection.inspect(subjects, tell)
    page = inspection.write(cards, output or choose_folder(paths), format_command())
    if as_json:
        print_json(inspection.as_json(cards))
    else:
        out.print(inspection.table(cards))
    say(f"The page is {page}")


def load_subjects(paths: list[Path], *, allow_import: bool) -> list[Any]:
    """Load the memories of runs and checkpoints."""
    from remanence import inspection
    from remanence.runs.reading import find_run_folders

    subjects = []
    for path in paths:
        if not path.is_dir():
            subjects += inspection.subjects_of_checkpoint(path)
            continue
        folders = find_run_folders(path)
        if not folders:
            raise UserError(f"no run in {path}: create one with remanence train or remanence compare")
        for folder in folders:
            subjects += inspection.subjects_of_run(folder, allow_import=allow_import)
    return subjects


def load_modules(name: str, checkpoints: list[Path], settings: list[str]) -> list[Any]:
    """Load the user's module, with each of the checkpoints or untrained."""
    from remanence import inspection
    from remanence.training.recipe import parse_override

    arguments: dict[str, Any] = {"options": {}}
    for field, value in map(parse_override, settings):
        if field == ["module", "input_size"]:
            arguments["input_size"] = value
        elif field[:2] == ["module", "options"] and len(field) == 3:
            arguments["options"][field[2]] = value
        else:
            raise UserError(f"{'.'.join(field)} is neither module.options.NAME nor module.input_size")
    return [inspection.subject_of_module(name, checkpoint, **arguments) for checkpoint in checkpoints or [None]]


def choose_folder(paths: list[Path]) -> Path:
    """Return the folder of the first argument, else the current one."""
    if not paths:
        return Path()
    return paths[0] if paths[0].is_dir() else paths[0].parent


@contextmanager
def show_progress() -> Iterator[Callable[[Any, Any, bool], None]]:
    """Show a progress bar for each running instrument; yields the callback that updates them."""
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(bar_width=24),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        tasks: dict[tuple[str, str], rich.progress.TaskID] = {}

        def tell(subject: Any, line: Any, done: bool) -> None:
            key = subject.name, line.name
            if done:
                progress.update(tasks[key], total=1, completed=1)
            else:
                tasks[key] = progress.add_task(f"{subject.name}: {line.title}", total=None)

        yield tell
