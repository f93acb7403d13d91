"""The command that lists layers, attention methods and tasks: remanence list."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from remanence.cli.console import out, print_json
from remanence.cli.names import check_names, complete_task
from remanence.cli.options import Json


def list_(
    task: Annotated[
        str | None, typer.Option(help="Describe one task and print examples of it.", autocompletion=complete_task)
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Number of examples.")] = 3,
    as_json: Json = False,
) -> None:
    """List layers, attention methods and tasks, or describe one task with examples."""
    if task is not None:
        check_names(tasks=[task])
        describe_task(task, examples, as_json=as_json)
        return
    from remanence import nn, tasks  # slow to load

    names = {
        "layers": {name: summarise(nn.layers[name]) for name in nn.layers},
        "attention": {name: summarise(nn.attention.methods[name]) for name in nn.attention.methods},
        "tasks": {name: summarise(tasks.tasks[name]) for name in tasks.tasks},
    }
    if as_json:
        print_json(names)
        return
    for kind, items in names.items():
        table = Table("name", "what it is", title=kind, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for name, text in items.items():
            table.add_row(f"[bold]{name}[/]", escape(text))
        out.print(table, "")
    out.print("Next: [bold]remanence compare retrieval --layers fast_weights,lstm[/]")


def describe_task(name: str, examples: int, *, as_json: bool) -> None:
    """Print the description of a task, with examples."""
    from remanence import tasks  # slow to load

    task = tasks.create(name)
    try:
        shown = task.examples(examples)
    except ValueError as missing:  # data that are not prepared yet
        if as_json:
            print_json({"name": name, "summary": summarise(type(task)), "missing": str(missing)})
            return
        out.print(f"[bold]{escape(name)}[/]: {escape(summarise(type(task)))}")
        out.print(str(missing), highlight=False, markup=False, soft_wrap=True)
        return
    facts = {
        "name": name,
        "summary": summarise(type(task)),
        "metric": task.metric,
        "chance": task.chance,
        "vocabulary": task.vocabulary,
        "input_size": task.input_size,
        "target_size": task.target_size,
        "examples": shown,
    }
    if as_json:
        print_json(facts)
        return
    out.print(f"[bold]{escape(name)}[/]: {escape(summarise(type(task)))}")
    source = f"{len(task.vocabulary)} symbols" if task.vocabulary else f"{task.input_size} channels"
    out.print(f"{source} in, {task.target_size} numbers out; {task.metric}, {task.chance:.3g} by chance\n")
    for example in shown:
        out.print(example, highlight=False, markup=False)


def summarise(factory: Callable[..., Any]) -> str:
    """Return the first line of the docstring; for a preset, also its options."""
    if isinstance(factory, partial):
        given = ", ".join(f"{name}={value!r}" for name, value in factory.keywords.items())
        return f"{summarise(factory.func)} Preset: {given}."
    return (inspect.getdoc(factory) or "").partition("\n")[0].replace("``", "")
