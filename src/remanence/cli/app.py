"""The command line: remanence list | data | preview | train | compare | sweep | study | report | inspect."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
except ImportError as missing:
    raise SystemExit(f"the remanence command needs {missing.name}: pip install 'remanence[train]'") from missing

import remanence
from remanence.cli import inspect as cli_inspect
from remanence.cli import list as cli_list
from remanence.cli import study as cli_study
from remanence.cli import sweep as cli_sweep
from remanence.cli import tasks as cli_tasks
from remanence.cli.console import accept_all_letters, check_paths, out, print_json, repeated, say
from remanence.cli.names import check_names, complete_layer, complete_task
from remanence.cli.options import AllowImport, Epochs, Json, LearningRate, Overwrite, Set, short_forms
from remanence.cli.progress import bars, fail
from remanence.errors import RunError, UserError, is_out_of_memory
from remanence.recipes import find_recipe

# PyTorch, and what trains and draws, load inside the commands: a mistake, `--help` and a TAB are answered before that.

app = typer.Typer(
    name="remanence",
    help="Recurrent memories for PyTorch: train them, compare them, see which remember.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("list")(cli_list.list_)
app.command("data")(cli_tasks.prepare)
app.command()(cli_tasks.preview)
app.command()(cli_sweep.sweep)
app.command()(cli_study.study)
app.command()(cli_inspect.inspect)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    """Read what comes before the command; main() reads --debug."""
    if version:
        out.print(remanence.__version__)
        raise typer.Exit


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
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    settings: Set = [],  # noqa: B006 (Typer wants a list)
    output: Annotated[Path | None, typer.Option(help="Folder of the run (default: runs/TASK-LAYER-...).")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train one memory on one task; given again, go on where it stopped, and with more --epochs beyond that."""
    check_names(tasks=[task], layers=[layer])
    from remanence import report, training
    from remanence.training.compare import folder_name

    fields = {"task": {"name": task}, "layer": {"name": layer, "hidden_size": hidden_size}, "seed": seed}
    config = training.run_from(fields, [*short_forms(epochs, learning_rate), *settings])
    folder = output or Path("runs") / folder_name(config)
    with bars(1) as tell:
        training.train(
            config,
            folder,
            overwrite=overwrite,
            progress=lambda done, total, metric: tell((folder, done, total, metric)),
        )
    present(report.load([folder]), as_json=as_json)
    say(f"The run is in {folder}; remanence report {shlex.quote(str(folder))} draws it.")


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
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    settings: Set = [],  # noqa: B006 (Typer wants a list)
    output: Annotated[Path | None, typer.Option(help="Folder of the runs and the report.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time (default: one for each core).")] = None,
    overwrite: Overwrite = False,
    allow_import: AllowImport = False,
    as_json: Json = False,
) -> None:
    """Train several memories on the same task with several seeds; print a table and write a page.

    Given again, it goes on where it stopped.
    """
    file = find_recipe(Path(what)) if Path(what).suffix in (".yaml", ".yml") else None
    check_names(tasks=[] if file else [what], layers=separated(layers))
    if file is None and layers is None:
        raise UserError(f"compare {what} needs --layers, such as --layers fast_weights,lstm")
    from remanence import report, training

    choices = {"seeds": seeds, "layers": listed(layers), "hidden_sizes": listed(hidden_sizes)}
    overrides = [f"{field}={value}" for field, value in choices.items() if value is not None]
    overrides += [*short_forms(epochs, learning_rate), *settings]
    if file is not None:
        recipe = training.read_recipe(file, overrides, allow_import=allow_import)
        if recipe.search is not None:
            raise UserError(f"{what} has a search: remanence sweep {what}, or --set search=null for no search")
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
    page = report.write(results, folder, title=recipe.title, command=repeated())
    present(results, as_json=as_json)
    say(f"The page is {page}")


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
    check_paths(runs, "give the folder of a run, or one that holds runs")
    from remanence import report

    results = report.load(runs)
    page = report.write(results, output or runs[0], command=repeated())
    if as_markdown:
        out.print(report.markdown(report.summarise(results)), markup=False, highlight=False, soft_wrap=True)
    else:
        present(results, as_json=as_json)
    say(f"The page is {page}")


def separated(names: str | None) -> list[str]:
    """``a,b`` one by one; commas too many do no harm."""
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def listed(names: str | None) -> str | None:
    """``a,b`` as a YAML list."""
    return None if names is None else f"[{', '.join(separated(names))}]"


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
    accept_all_letters()
    sys.path.append("")  # whatever a module in the current folder is named for, every command finds it
    if "--debug" in sys.argv:
        app()
        return
    try:
        app()
    except UserError as error:
        fail(str(error), code=2)
    except ImportError as error:
        if "pip install" not in str(error):  # not one of ours about an extra
            raise
        fail(str(error), code=1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}. Once that is mended, the same command goes on where it stopped.", 1)
    except RecursionError as error:
        fail(f"something is nested too deeply ({error}); --debug shows where", code=1)
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, RunError) and not is_out_of_memory(error):
            raise
        fail(str(error).partition("\n")[0] or "out of memory", code=1)
