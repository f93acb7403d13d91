"""The commands about tasks: remanence data | preview."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from remanence.cli.console import err, out, print_json, say
from remanence.cli.names import check_names, complete_task
from remanence.cli.options import Json, make_set_option
from remanence.cli.progress import show_bar
from remanence.errors import UserError

if TYPE_CHECKING:
    from remanence.data import Source
    from remanence.tasks import Task

Options = Annotated[
    list[str],
    make_set_option("An option of the task, such as task.options.pairs=8"),
]


def prepare(
    task: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="The task; default: all.", autocompletion=complete_task)
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--from", metavar="PATH", help="The archive or folder that you downloaded.")
    ] = None,
    unverified: Annotated[
        bool,
        typer.Option(
            "--unverified", help="Accept files that differ from the published ones, if their counts are right."
        ),
    ] = False,
    make: Annotated[
        bool, typer.Option("--make", help="Generate the data of the task now instead of in its first run.")
    ] = False,
    settings: Options = [],  # noqa: B006 (Typer wants a list)
    as_json: Json = False,
) -> None:
    """Prepare the data of a task from published files, or list which data are prepared and which are missing."""
    if make and (task is None or path is not None):
        raise UserError("--make requires a task that generates its data, and excludes --from")
    if path is not None and task is None:
        raise UserError(f"name the task that {path} is for: remanence data TASK --from {path}")
    check_names(tasks=[] if task is None else [task])
    from remanence import data, tasks  # slow to load

    if make and task is not None:
        for split in tasks.SPLITS:
            with show_bar(f"making the {split} data") as progress, data.report_progress(progress):
                create_task(task, settings).dataset(split)
        say(f"Next: remanence preview {task}")
        return
    if path is None or task is None:
        print_states(list(tasks.tasks) if task is None else [task], settings, as_json=as_json)
        return
    source = create_task(task, settings).source
    if source is None:
        raise UserError(f"{task} generates its data: there is nothing to prepare")
    with show_bar(f"preparing {source.title}") as progress:
        store = data.prepare(source, path, verify=not unverified, progress=progress)
    if as_json:
        print_json({"task": task, "source": source.name, "folder": str(store.folder), **store.facts})
        return
    out.print(f"{source.title} is prepared in {store.folder}", markup=False, highlight=False, soft_wrap=True)
    if unverified and source.checksums:
        err.print("[bold]Not verified:[/] the files may differ from those that are published.")
    say(f"Next: remanence preview {task}")


def preview(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task.", autocompletion=complete_task)],
    count: Annotated[int, typer.Option(min=1, help="Number of samples.")] = 3,
    output: Annotated[Path | None, typer.Option(help="Also draw each sample as a PNG in this folder.")] = None,
    settings: Options = [],  # noqa: B006 (Typer wants a list)
    as_json: Json = False,
) -> None:
    """Show a few training samples of a task with their targets."""
    check_names(tasks=[task])
    from remanence import data  # slow to load

    pictures: list[Path] = []
    with show_bar("making the data") as progress, data.report_progress(progress):
        made = create_task(task, settings)
        samples = made.examples(count)
        if output is not None:
            from remanence.report.sample_figures import write_samples  # slow to load

            pictures = write_samples(made, task, count, output)
    if as_json:
        print_json({"task": task, "examples": samples, "pictures": [str(path) for path in pictures]})
        return
    for number, sample in enumerate(samples, start=1):
        out.rule(f"{task}, sample {number}", align="left")
        out.print(sample, highlight=False, markup=False, soft_wrap=True)
    if pictures:
        say(f"The pictures are in {output}")


def create_task(name: str, settings: list[str]) -> "Task":
    """Create the task with the options that were set.

    Raises:
        ValueError: something else was set, or the task refuses an option.
    """
    from remanence import tasks  # slow to load

    if not settings:
        return tasks.create(name)
    from remanence.training.recipe import parse_override  # slow to load

    options: dict[str, Any] = {}
    for field, value in map(parse_override, settings):
        if field[:2] != ["task", "options"] or len(field) != 3:
            raise UserError(f"{'.'.join(field)} is not an option of a task: --set task.options.NAME=VALUE")
        options[field[2]] = value
    return tasks.create(name, **options)


def print_states(names: list[str], settings: list[str], *, as_json: bool) -> None:
    """Print which tasks need data, and whether these are prepared."""
    from remanence import data  # slow to load

    rows = [describe_state(name, create_task(name, settings).source) for name in names]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        if row["state"] == "missing":
            out.print(f"[bold]{row['task']}[/]  [yellow]missing[/]: {escape(str(row['data']))}", highlight=False)
            out.print(f"    get {row['get']} from {row['from']}, then:", highlight=False, soft_wrap=True)
            out.print(f"    {row['command']}", highlight=False, soft_wrap=True)
        elif row["data"] is not None or len(rows) == 1:
            what = escape(row["data"] or "needs no files")
            out.print(f"[bold]{escape(str(row['task']))}[/]  {row['state']}: {what}", highlight=False)
    place = escape(str(data.directory()))
    out.print(f"\nPrepared data are in {place} (REMANENCE_DATA_DIR)", highlight=False, soft_wrap=True)


def describe_state(name: str, source: "Source | None") -> dict[str, str | None]:
    """Describe which data a task needs, and whether these are prepared."""
    from remanence import data  # slow to load

    if source is None:
        return {"task": name, "data": None, "state": "ready"}
    store = data.load(source.name)
    there = "missing" if store is None else "prepared"
    if store is not None and source.checksums and not store.facts["verified"]:
        there = "prepared, not verified"
    facts = {"task": name, "data": source.title, "state": there}
    return {**facts, "get": source.wanted, "from": source.publisher, "command": source.command(name)}
