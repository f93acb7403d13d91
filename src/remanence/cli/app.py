"""The command line: remanence list | data | preview | train | compare | sweep | study | report | inspect."""

import sys
from typing import Annotated

try:
    import typer
except ImportError as missing:
    raise SystemExit(f"the remanence command needs {missing.name}: pip install 'remanence[train]'") from missing

import remanence
from remanence.cli import compare as cli_compare
from remanence.cli import inspect as cli_inspect
from remanence.cli import list as cli_list
from remanence.cli import report as cli_report
from remanence.cli import study as cli_study
from remanence.cli import sweep as cli_sweep
from remanence.cli import tasks as cli_tasks
from remanence.cli import train as cli_train
from remanence.cli.console import accept_all_letters, out
from remanence.cli.progress import fail
from remanence.errors import RunError, UserError, is_out_of_memory

# PyTorch, and what trains and draws, load inside the commands: a mistake, `--help` and a TAB are answered before that.

app = typer.Typer(
    name="remanence",
    help="Train and compare recurrent memories for PyTorch, and inspect how long they remember.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("list")(cli_list.list_)
app.command("data")(cli_tasks.prepare)
app.command()(cli_tasks.preview)
app.command()(cli_train.train)
app.command()(cli_compare.compare)
app.command()(cli_sweep.sweep)
app.command()(cli_study.study)
app.command("report")(cli_report.report_)
app.command()(cli_inspect.inspect)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the full traceback of errors.")] = False,
) -> None:
    """Parse the options before the command; ``main`` handles --debug."""
    if version:
        out.print(remanence.__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line: a user's mistake prints one line and exits with 2, another failure with 1."""
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
        fail(f"{place}{error.strerror or error}. Once this is fixed, the same command continues where it stopped.", 1)
    except RecursionError as error:
        fail(f"something is nested too deeply ({error}); --debug shows where", code=1)
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, RunError) and not is_out_of_memory(error):
            raise
        fail(str(error).partition("\n")[0] or "out of memory", code=1)
