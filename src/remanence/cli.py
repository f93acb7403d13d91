"""The command line: remanence list | data | preview | train | compare | sweep | study | report | inspect."""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from rich.markup import escape
    from rich.table import Table
except ImportError as missing:
    raise SystemExit(f"the remanence command needs {missing.name}: pip install 'remanence[train]'") from missing

import remanence
from remanence import cli_inspect, cli_study, cli_sweep, cli_tasks, nn, tasks
from remanence.cli_progress import bars, fail
from remanence.cli_tasks import complete_task
from remanence.console import err, out, print_json
from remanence.errors import RunError

# What trains and draws (Lightning, matplotlib) loads inside the commands, so that `list` and `--help` stay quick.

app = typer.Typer(
    name="remanence",
    help="Recurrent memories for PyTorch: train them, compare them, see which remember.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("data")(cli_tasks.prepare)
app.command()(cli_tasks.preview)
app.command()(cli_sweep.sweep)
app.command()(cli_study.study)
app.command()(cli_inspect.inspect)


def complete_layer(incomplete: str) -> list[str]:
    """Names of layers, for the shell."""
    return [name for name in nn.layers if name.startswith(incomplete)]


Set = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Set any field of the configuration, such as training.learning_rate=0.003 or task.options.pairs=8. "
        "May be given several times.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start anew where the folder holds runs already.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")]


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    """Read what comes before the command; main() reads --debug."""
    if version:
        out.print(remanence.__version__)
        raise typer.Exit


@app.command("list")
def list_(
    task: Annotated[
        str | None, typer.Option(help="Describe one task and print examples of it.", autocompletion=complete_task)
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="How many examples.")] = 3,
    as_json: Json = False,
) -> None:
    """List layers, attention methods and tasks, or describe one task with examples."""
    if task is not None:
        describe_task(task, examples, as_json=as_json)
        return
    names = {
        "layers": {name: summary(nn.layers[name]) for name in nn.layers},
        "attention": {name: summary(nn.attention.methods[name]) for name in nn.attention.methods},
        "tasks": {name: summary(tasks.tasks[name]) for name in tasks.tasks},
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


@app.command()
def train(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="The task, see: remanence list.", autocompletion=complete_task)
    ],
    layer: Annotated[
        str,
        typer.Option(
            help="The memory: a name from remanence list, or package.module:Class.", autocompletion=complete_layer
        ),
    ],
    hidden_size: Annotated[int, typer.Option(help="Units of the memory.")] = 50,
    seed: Annotated[int, typer.Option(help="Of initialisation and order; the data has task.options.seed.")] = 0,
    settings: Set = [],  # noqa: B006 (Typer wants a list)
    output: Annotated[Path | None, typer.Option(help="Folder of the run (default: runs/TASK-LAYER-...).")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train one memory on one task; given again, go on where it stopped."""
    from remanence import report, training
    from remanence.training.compare import folder_name

    fields = {"task": {"name": task}, "layer": {"name": layer, "hidden_size": hidden_size}, "seed": seed}
    config = training.run_from(fields, settings)
    folder = output or Path("runs") / folder_name(config)
    with bars(1) as tell:
        training.train(
            config,
            folder,
            overwrite=overwrite,
            progress=lambda done, total, metric: tell((folder, done, total, metric)),
        )
    present(report.load([folder]), as_json=as_json)
    err.print(f"The run is in {folder}; [bold]remanence report {folder}[/] draws it.")


@app.command()
def compare(
    what: Annotated[
        str, typer.Argument(metavar="TASK|RECIPE.yaml", help="A task, or a recipe.", autocompletion=complete_task)
    ],
    layers: Annotated[
        str | None,
        typer.Option(help="The memories, with commas between (default: those of the recipe).", metavar="A,B,C"),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds (default: 3, or the recipe's).")] = None,
    hidden_sizes: Annotated[
        str | None, typer.Option(help="Units, with commas between (default: 50, or the recipe's).", metavar="20,50")
    ] = None,
    settings: Set = [],  # noqa: B006 (Typer wants a list)
    output: Annotated[Path | None, typer.Option(help="Folder of the runs and the report.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time (default: one for each core).")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train several memories on the same task with several seeds; print a table and write a page.

    Given again, it goes on where it stopped.
    """
    from remanence import report, training

    choices = {"seeds": seeds, "layers": listed(layers), "hidden_sizes": listed(hidden_sizes)}
    overrides = [f"{field}={value}" for field, value in choices.items() if value is not None] + settings
    if Path(what).suffix in (".yaml", ".yml"):
        recipe = training.read_recipe(Path(what), overrides)
        if recipe.search is not None:
            raise ValueError(f"{what} has a search: remanence sweep {what}, or --set search=null for no search")
    elif layers is None:
        raise ValueError(f"compare {what} needs --layers, such as --layers fast_weights,lstm")
    else:
        fields = {"title": f"Memories on {what}", "comparisons": [{"task": {"name": what}, "layers": []}]}
        recipe = training.recipe_from(fields, overrides)
    folder = output or Path("runs") / Path(what).stem
    runs = training.plan(recipe.runs(), folder)
    with bars(len(runs)) as tell:
        training.compare(
            runs,
            jobs=jobs or training.side_by_side(config.training for config in runs.values()),
            overwrite=overwrite,
            tell=tell,
        )
    results = report.load(list(runs))
    page = report.write(results, folder, title=recipe.title)
    present(results, as_json=as_json)
    err.print(f"The page is {page}", highlight=False)


@app.command("report")
def report_(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUNS", help="Folders of runs, or folders that hold such folders.")
    ],
    output: Annotated[Path | None, typer.Option(help="Where report.html goes (default: the first folder).")] = None,
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown.")] = False,
) -> None:
    """Print the table of finished runs and write a page with plots."""
    from remanence import report

    results = report.load(runs)
    page = report.write(results, output or runs[0])
    if as_markdown:
        out.print(report.markdown(report.summarise(results)), markup=False, highlight=False, soft_wrap=True)
    else:
        present(results, as_json=as_json)
    err.print(f"The page is {page}", highlight=False)


def listed(names: str | None) -> str | None:
    """``a,b`` as a YAML list; commas too many do no harm."""
    return None if names is None else f"[{', '.join(name for name in names.split(',') if name.strip())}]"


def describe_task(name: str, examples: int, *, as_json: bool) -> None:
    """Print what a task is, and examples."""
    task = tasks.create(name)
    try:
        shown = task.examples(examples)
    except ValueError as missing:  # data that nobody prepared yet
        if as_json:
            print_json({"name": name, "summary": summary(type(task)), "missing": str(missing)})
            return
        out.print(f"[bold]{name}[/]: {summary(type(task))}")
        out.print(str(missing), highlight=False, markup=False, soft_wrap=True)
        return
    facts = {
        "name": name,
        "summary": summary(type(task)),
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
    out.print(f"[bold]{name}[/]: {facts['summary']}")
    source = f"{len(task.vocabulary)} symbols" if task.vocabulary else f"{task.input_size} channels"
    out.print(f"{source} in, {task.target_size} numbers out; {task.metric}, {task.chance:.3g} by chance\n")
    for example in shown:
        out.print(example, highlight=False, markup=False)


def summary(factory: Callable[..., Any]) -> str:
    """First line of the docstring; of a preset, what it is a preset of."""
    if isinstance(factory, partial):
        given = ", ".join(f"{name}={value!r}" for name, value in factory.keywords.items())
        return f"{summary(factory.func)} Preset: {given}."
    return (inspect.getdoc(factory) or "").partition("\n")[0].replace("``", "")


def present(runs: Any, *, as_json: bool) -> None:
    """Print the table of runs, or its rows as JSON."""
    from remanence import report

    rows = report.summarise(runs)
    if as_json:
        print_json(report.as_json(rows))
    else:
        out.print(report.table(rows))


def main() -> None:
    """Run the command; a mistake of the user is one line and exit code 2, a failure one line and exit code 1."""
    if "--debug" in sys.argv:
        app()
        return
    try:
        app()
    except ValueError as error:
        fail(str(error), code=2)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}. Once that is mended, the same command goes on where it stopped.", 1)
    except RunError as error:
        fail(str(error), code=1)
