"""The command remanence report."""

from pathlib import Path
from typing import Annotated, Any

import typer

from remanence.cli.console import check_paths, format_command, out, print_json, say
from remanence.cli.options import Json


def report_(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUNS", help="Run folders, or folders that contain run folders.")
    ],
    output: Annotated[Path | None, typer.Option(help="Folder for report.html (default: the first folder).")] = None,
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown.")] = False,
) -> None:
    """Print the table of finished runs and write a page with plots."""
    check_paths(runs, "pass a run folder, or a folder that contains runs")
    from remanence import report

    results = report.load(runs)
    page = report.write(results, output or runs[0], command=format_command())
    if as_markdown:
        out.print(report.markdown(report.summarise(results)), markup=False, highlight=False, soft_wrap=True)
    else:
        print_results(results, as_json=as_json)
    say(f"The page is {page}")


def print_results(runs: Any, *, as_json: bool) -> None:
    """Print the table of runs, or its rows as JSON."""
    from remanence import report

    rows = report.summarise(runs)
    if as_json:
        print_json(report.as_json(rows))
    else:
        out.print(report.table(rows))
