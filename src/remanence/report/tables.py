"""Many runs as one table: a row for each memory on each task, averaged over seeds."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any, Literal, TypeAlias

from rich.console import Group
from rich.table import Table
from rich.text import Text

from remanence.report.estimate import DISAGREEMENT_NOTE, NOTHING, SPREAD_NOTE, Estimate, format_estimate, is_share
from remanence.runs.reading import Run

LONG = 8  # number of digits from which a number is rounded for display

Split: TypeAlias = Literal["test", "validation"]


@dataclass(frozen=True, eq=False)
class Row:
    """Runs that differ in nothing but their seed.

    Attributes:
        runs: all of them, by seed; failed and unfinished ones too.
        settings: fields of ``model`` and ``training`` in which this row differs from others of its task.
        split: the split of the data, by which rows are judged.
    """

    runs: tuple[Run, ...]
    settings: dict[str, Any]
    split: Split = "test"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of all runs but for the seed."""
        return self.runs[0].config

    @property
    def task(self) -> str:
        """The task with its options."""
        return join_options(self.runs[0].task, self.config["task"]["options"])

    @property
    def layer(self) -> str:
        """The layer with its options and what else sets it apart, by the last part of its name where that is clear."""
        options = self.config["layer"]["options"]
        ends = {field: field.rpartition(".")[2] for field in self.settings}
        taken = Counter([*ends.values(), *options])
        named = {ends[field] if taken[ends[field]] == 1 else field: value for field, value in self.settings.items()}
        return join_options(self.config["layer"]["name"], options | named)

    @property
    def label(self) -> str:
        """The layer with its size."""
        return f"{self.layer}, {self.runs[0].hidden_size} units"

    def in_state(self, state: str) -> list[Run]:
        """Select runs by their state.

        Args:
            state: ``"finished"``, ``"failed"`` or ``"unfinished"``.
        """
        return [run for run in self.runs if run.state == state]

    def figures(self, key: str) -> list[float]:
        """Collect one field of the results of the finished runs.

        Args:
            key: of ``result.json``.
        """
        return [float(run.result[key]) for run in self.in_state("finished") if run.result is not None]

    @property
    def scores(self) -> list[float]:
        """The metric of each finished run on the split that counts."""
        return self.figures(f"{self.split}_metric")

    @property
    def score(self) -> Estimate | None:
        """Their estimate; None while no run is finished."""
        return Estimate.of(self.scores, 1.0 if is_share(self.metric) else math.inf)

    def score_at(self, length: int) -> Estimate | None:
        """Estimate the test metric on sequences of one length; None where it was not measured.

        Args:
            length: of the sequences.
        """
        curves = [(run.result or {}).get("length_metrics") or {} for run in self.in_state("finished")]
        values = [float(curve[str(length)]) for curve in curves if str(length) in curve]
        return Estimate.of(values, 1.0 if is_share(self.metric) else math.inf)

    @property
    def steps(self) -> Estimate | None:
        """Optimiser steps until a run ended."""
        return Estimate.of(self.figures("steps"))

    @property
    def seconds(self) -> Estimate | None:
        """Seconds of training per run."""
        return Estimate.of(self.figures("seconds"))

    @property
    def memory(self) -> Estimate | None:
        """The most memory that a run took, in MiB; None where that was not measured."""
        known = [run.result.get("memory") for run in self.in_state("finished") if run.result is not None]
        return Estimate.of([float(value) for value in known if value is not None])

    @property
    def parameters(self) -> int | None:
        """Trainable parameters."""
        return next((run.result["parameters"] for run in self.runs if run.result is not None), None)

    @property
    def metric(self) -> str | None:
        """Name of the metric."""
        return next((run.result["metric"] for run in self.runs if run.result is not None), None)

    @property
    def chance(self) -> float | None:
        """The metric of a guess."""
        return next((run.result["chance"] for run in self.runs if run.result is not None), None)


def join_options(name: str, options: dict[str, Any]) -> str:
    """Format ``"retrieval pairs=8"``."""
    return " ".join([name, *(f"{key}={format_value(value)}" for key, value in options.items())])


def format_value(value: Any) -> str:
    """Format a value as a person would type it; long floats with four digits."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{value:.4g}" if isinstance(value, float) and len(text) > LONG else text


def summarise(runs: Iterable[Run], *, split: Split = "test") -> list[Row]:
    """Put runs that differ in nothing but their seed into one row.

    Args:
        runs: as :func:`load` returns them.
        split: the split of the data, by which they are judged; default: ``"test"``. A choice among them (a search) uses
            ``"validation"``, so that the test data show what the choice is worth.

    Returns:
        Rows by task, the tasks in the order of the runs; then by the metric, those without figures last.
    """
    tasks: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        task = join_options(run.task, run.config["task"]["options"])
        tasks.setdefault(task, {}).setdefault(get_identity(run), []).append(run)
    return [
        row for groups in tasks.values() for row in sorted(build_rows(list(groups.values()), split), key=get_sort_key)
    ]


def get_sort_key(row: Row) -> tuple[float, str]:
    """Return the key that sorts the rows of a task: the best first, those without figures last."""
    return (row.score.centre if row.score else math.inf, row.label)


def get_identity(run: Run) -> str:
    """Serialise everything that identifies a run, except seed and versions."""
    return json.dumps({key: run.config[key] for key in ("task", "layer", "model", "training")}, sort_keys=True)


def build_rows(groups: list[list[Run]], split: Split) -> list[Row]:
    """Build a row from each group, with the fields of ``model`` and ``training`` that differ between groups."""
    fields = [
        {f"{part}.{key}": value for part in ("model", "training") for key, value in group[0].config[part].items()}
        for group in groups
    ]
    keys = dict.fromkeys(key for one in fields for key in one)
    differing = [key for key in keys if len({json.dumps(one.get(key)) for one in fields}) > 1]
    return [
        Row(
            tuple(sorted(group, key=lambda run: (run.seed, str(run.folder)))),
            {key: one.get(key) for key in differing},
            split,
        )
        for group, one in zip(groups, fields, strict=True)
    ]


def group_by_task(rows: Iterable[Row]) -> list[list[Row]]:
    """Group rows by task; the rows are already sorted."""
    return [list(group) for _, group in groupby(rows, key=lambda row: row.task)]


def format_task(rows: list[Row]) -> tuple[str, str]:
    """Return the name of the task and its options in words: ``("retrieval", "pairs 3, test 10,000")``."""
    task = rows[0].config["task"]
    return task["name"], ", ".join(
        f"{key.replace('_', ' ')} {format_option(value)}" for key, value in task["options"].items()
    )


def format_option(value: Any) -> str:
    """Format a value as a person would write it: thousands with commas."""
    return f"{value:,}" if type(value) is int else format_value(value)


def find_first(values: Iterable[Any]) -> Any:
    """Return the first value that is not None, else None."""
    return next((value for value in values if value is not None), None)


def format_heading(metric: str | None) -> str:
    """Format the name of the metric with its unit."""
    return f"{metric or 'metric'}, %" if is_share(metric) else metric or "metric"


def format_seeds(row: Row) -> str:
    """Format how many seeds the figures are based on; where seeds disagree, how many solved the task."""
    finished = len(row.in_state("finished"))
    text = str(finished) if finished == len(row.runs) else f"{finished} of {len(row.runs)}"
    if row.score is None or row.chance is None or not row.score.disagrees:
        return text
    return f"{text}, {row.score.count_solved(row.chance)} solved"


def list_lengths(rows: Iterable[Row]) -> list[int]:
    """List the lengths at which runs were tested, in increasing order; none while the test data are kept back."""
    runs = [run for row in rows if row.split == "test" for run in row.in_state("finished")]
    return sorted({int(length) for run in runs for length in (run.result or {}).get("length_metrics") or {}})


def find_train_length(rows: Iterable[Row]) -> int | None:
    """Return the length of the training sequences; None where it is not known."""
    return find_first((run.result or {}).get("train_length") for row in rows for run in row.runs)


def list_length_columns(rows: list[Row]) -> tuple[str, ...]:
    """List the column names of the table of lengths."""
    return ("layer", "units", *(f"{length:,}" for length in list_lengths(rows)))


def format_length_cells(row: Row, rows: list[Row]) -> tuple[str, ...]:
    """Format the cells of a row, under :func:`list_length_columns`."""
    scores = (format_estimate(row.score_at(length), row.metric) for length in list_lengths(rows))
    return (row.layer, str(row.runs[0].hidden_size), *scores)


def describe_lengths(rows: list[Row]) -> str:
    """Describe the table of lengths in a few words."""
    trained = find_train_length(rows)
    after = "" if trained is None else f", trained at {trained:,}"
    return f"Test {format_heading(find_first(row.metric for row in rows))}, by length{after}"


def list_notes(row: Row) -> list[str]:
    """List what a reader must know about the row's runs: failures, unfinished runs, repeated seeds."""
    lines = [
        f"{row.label}, seed {run.seed} failed and does not count: {run.result['failure']}"
        for run in row.in_state("failed")
        if run.result is not None
    ]
    if unfinished := row.in_state("unfinished"):
        which = ", ".join(str(run.seed) for run in unfinished)
        lines.append(f"{row.label}, seed {which}: unfinished, does not count yet")
    repeated = [seed for seed, count in Counter(run.seed for run in row.in_state("finished")).items() if count > 1]
    if repeated:
        which = ", ".join(map(str, repeated))
        lines.append(f"{row.label}, seed {which}: several runs of the same seed, so the spread may be too small")
    return lines


def format_cells(row: Row) -> tuple[str, ...]:
    """Format the cells of a row, under :func:`list_columns`."""
    parameters = NOTHING if row.parameters is None else f"{row.parameters:,}"
    return (
        row.layer,
        str(row.runs[0].hidden_size),
        format_estimate(row.score, row.metric),
        parameters,
        format_mean(row.steps),
        format_estimate(row.seconds),
        format_mean(row.memory),
        format_seeds(row),
    )


def describe_spread(rows: Iterable[Row]) -> str:
    """Describe how the figures of these rows are computed."""
    estimates = (estimate for row in rows for estimate in (row.score, row.seconds) if estimate is not None)
    return SPREAD_NOTE + (DISAGREEMENT_NOTE if any(estimate.disagrees for estimate in estimates) else "")


def format_mean(estimate: Estimate | None) -> str:
    """Format a mean as a whole number."""
    return NOTHING if estimate is None else f"{estimate.mean:,.0f}"


def list_columns(rows: list[Row]) -> tuple[str, ...]:
    """List the column names of a task's table."""
    metric = format_heading(find_first(row.metric for row in rows))
    return ("layer", "units", metric, "parameters", "steps", "seconds/run", "MiB", "seeds")


def format_chance(rows: list[Row]) -> str | None:
    """Format the level of chance for the table; None where it is not known."""
    chance = find_first(row.chance for row in rows)
    return None if chance is None else format_estimate(Estimate((chance,)), find_first(row.metric for row in rows))


def table(rows: Iterable[Row]) -> Group:
    """Build a table for the terminal for each task, followed by what failed or is unfinished.

    Args:
        rows: as :func:`summarise` returns them.

    Returns:
        The tables.
    """
    parts: list[Table | Text] = []
    rows = list(rows)
    for group in group_by_task(rows):
        parts.append(build_task_table(group))
        if list_lengths(group):
            parts += [Text(), build_length_table(group)]
        parts += [*(Text(note, style="yellow") for row in group for note in list_notes(row))]
        parts.append(Text())
    return Group(*parts, Text(describe_spread(rows), style="dim"))


def build_task_table(rows: list[Row]) -> Table:
    """Build the table of one task."""
    task, options = format_task(rows)
    caption = Text.assemble((task, "bold"), (f"  {options}", "dim"))
    result = make_table(caption, list_columns(rows))
    # Text, not str: a name in square brackets is no markup.
    for row in rows:
        result.add_row(*map(Text, format_cells(row)))
    if (chance := format_chance(rows)) is not None:
        result.add_row("chance", "", chance, *[""] * 5, style="dim")
    return result


def make_table(title: Text, columns: Sequence[str]) -> Table:
    """Create an empty table for the terminal, all columns but that of the layers to the right."""
    result = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in columns:
        right = name != "layer"
        result.add_column(Text(name), justify="right" if right else "left", overflow="fold", no_wrap=right)
    return result


def build_length_table(rows: list[Row]) -> Table:
    """Build the table of the metric at each length."""
    result = make_table(Text(describe_lengths(rows), style="dim"), list_length_columns(rows))
    for row in rows:
        scores = (row.score_at(length) for length in list_lengths(rows))
        # The centres alone: with all spreads the table would be wider than a terminal.
        cells = (format_estimate(score and Estimate((score.centre,)), row.metric) for score in scores)
        result.add_row(*map(Text, (row.layer, str(row.runs[0].hidden_size), *cells)))
    return result


def markdown(rows: Iterable[Row]) -> str:
    """Format a Markdown table for each task, followed by what failed or is unfinished.

    Args:
        rows: as :func:`summarise` returns them.

    Returns:
        The text.
    """
    parts, rows = [], list(rows)
    for group in group_by_task(rows):
        task, options = format_task(group)
        body = [format_cells(row) for row in group]
        if (chance := format_chance(group)) is not None:
            body.append(("chance", "", chance, *[""] * 5))
        parts += [f"**{task}** {options}".rstrip(), format_markdown_table(list_columns(group), body)]
        if list_lengths(group):
            cells = [format_length_cells(row, group) for row in group]
            parts += [describe_lengths(group) + ":", format_markdown_table(list_length_columns(group), cells)]
        parts += [
            *(note for row in group for note in list_notes(row)),
        ]
    return "\n\n".join([*parts, describe_spread(rows)]) + "\n"


def format_markdown_table(columns: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Format a table, all columns but the first to the right."""
    ruler = ("---", *["---:"] * (len(columns) - 1))
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, ruler, *body))


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Convert rows to plain objects for JSON, figures unrounded, rates as fractions of one.

    Args:
        rows: as :func:`summarise` returns them.

    Returns:
        One object for each row.
    """
    return [
        {
            "task": row.config["task"],
            "layer": row.config["layer"],
            "settings": row.settings,
            "metric": row.metric,
            "chance": row.chance,
            "mean": row.score and row.score.mean,
            "spread": row.score and row.score.spread,
            "median": row.score and median(row.score.values),
            "solved": row.score and row.chance and row.score.count_solved(row.chance),
            "values": row.scores,
            "lengths": {str(length): score.values for length in list_lengths([row]) if (score := row.score_at(length))},
            "parameters": row.parameters,
            "steps": row.steps and row.steps.mean,
            "seconds": row.seconds and row.seconds.mean,
            "seconds_spread": row.seconds and row.seconds.spread,
            "memory": row.memory and row.memory.mean,
            "seeds": [run.seed for run in row.in_state("finished")],
            "failed": {str(run.seed): run.result["failure"] for run in row.in_state("failed") if run.result},
            "unfinished": [run.seed for run in row.in_state("unfinished")],
        }
        for row in rows
    ]
