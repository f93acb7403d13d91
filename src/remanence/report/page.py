"""One HTML page that needs nothing but itself: the table, the pictures, and all that is needed to repeat the runs."""

import base64
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from remanence.errors import UserError
from remanence.files import replace_file, write_text
from remanence.report.estimate import NOTHING, Estimate, format_estimate
from remanence.report.length_pictures import build_length_pictures
from remanence.report.plots import Picture, build_pictures
from remanence.report.style import DARK, DESKTOP, LIGHT, PHONE, Look, assign_looks
from remanence.report.tables import (
    Row,
    Split,
    describe_lengths,
    describe_spread,
    format_cells,
    format_chance,
    format_heading,
    format_length_cells,
    format_task,
    format_value,
    group_by_task,
    list_columns,
    list_length_columns,
    list_lengths,
    list_notes,
    summarise,
)
from remanence.runs.reading import Run, find_run_folders

NARROW = "(max-width: 720px)"
NIGHT = "(prefers-color-scheme: dark)"
# Nothing is fetched and nothing runs, whatever a name in a run folder may hold.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

Element = ElementTree.Element


def write(
    runs: Sequence[Run],
    folder: Path | str,
    *,
    title: str = "Memories compared",
    split: Split = "test",
    command: str | None = None,
) -> Path:
    """Write ``report.html``, and each picture as PNG beside it.

    Args:
        runs: as :func:`load` returns them.
        folder: the folder of the page; created if it does not exist.
        title: the title of the page.
        split: the split of the data, by which runs are judged (:func:`summarise`).
        command: that writes this page again, for the page to say; default: ``remanence report`` with the folders.

    Returns:
        The path of the page.

    Raises:
        ValueError: there are no runs.
        OSError: the folder cannot be written; what was there before stays.
    """
    if not runs:
        raise UserError("a report needs at least one run, got none")
    folder = Path(folder)
    rows = summarise(runs, split=split)
    look = assign_looks(run.layer for run in runs)
    body: list[Element | str] = [
        make_element("h1", title),
        make_element("p", summarise_runs(runs, rows), class_="lead"),
    ]
    names: list[str] = []
    for group in group_by_task(rows):
        names.append(choose_file_name(group[0].task, names))
        body.append(build_task_section(group, look, folder, names[-1]))
    body.append(build_repeat_section(runs, command or format_report_command(runs, folder)))
    path = folder / "report.html"
    write_text(path, build_document(title, body))
    return path


def make_element(kind: str, /, *children: Element | str, **attributes: str) -> Element:
    """Create an element; text and attributes are escaped when it is written.

    An underscore at the end of an attribute's name is dropped (``class_``), others become hyphens (``aria_label``).
    """
    result = ElementTree.Element(kind, {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()})
    for child in children:
        if isinstance(child, str):
            add_text(result, child)
        else:
            result.append(child)
    return result


def add_text(element: Element, text: str) -> None:
    """Put text after what the element holds; characters that HTML has no place for are left out."""
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", "\ufffd", text)
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def build_document(title: str, body: Iterable[Element | str]) -> str:
    """Build the complete page."""
    head = make_element(
        "head",
        make_element("meta", charset="utf-8"),
        make_element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        make_element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        make_element("title", title),
        make_element("style", files("remanence.report").joinpath("page.css").read_text(encoding="utf-8")),
    )
    page = make_element("html", head, make_element("body", make_element("main", *body)), lang="en")
    return "<!DOCTYPE html>\n" + ElementTree.tostring(page, encoding="unicode", method="html") + "\n"


def summarise_runs(runs: Sequence[Run], rows: Sequence[Row]) -> str:
    """Summarise how many runs there are, and how many of them failed or are unfinished."""
    layers, tasks = len({run.layer for run in runs}), len(group_by_task(rows))
    memories = format_count(layers, "memory", "memories")
    parts = [f"{memories} on {format_count(tasks, 'task')}, {format_count(len(runs), 'run')}"]
    states = Counter(run.state for run in runs)
    parts += [f"{states[state]} {state}" for state in ("failed", "unfinished") if states[state]]
    return ", ".join(parts) + "."


def format_count(number: int, one: str, many: str | None = None) -> str:
    """Format ``1 run``, ``2 runs``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def choose_file_name(task: str, taken: Sequence[str]) -> str:
    """Choose the file name of a task's pictures, which does not depend on the rest of the report."""
    name = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")[:60]
    return f"{name}-{len(taken) + 1}" if name in taken else name


def build_task_section(rows: list[Row], look: dict[str, Look], folder: Path, name: str) -> Element:
    """Build the table, the pictures and the configurations of one task, and write the pictures."""
    task, options = format_task(rows)
    section = make_element(
        "section", make_element("h2", task, *([" ", make_element("small", options)] if options else []))
    )
    section.append(build_result_table(task, rows))
    section.extend(make_element("p", note, class_="note") for row in rows for note in list_notes(row))
    drawn = [*build_pictures(rows, look), *build_length_pictures(rows, look)]
    if not drawn:
        section.append(make_element("p", "There is nothing to draw yet: no run has finished its first epoch."))
    for picture in drawn:
        file = f"{name}-{picture.name}.png"
        with replace_file(folder / file) as output:
            output.write(picture.png(LIGHT, DESKTOP))
        section.append(make_element("h3", picture.title))
        section.append(build_figure(picture))
    if list_lengths(rows):
        section.append(build_length_table(task, rows))
    section.append(make_element("h3", "Configurations and runs"))
    section.extend(build_configuration(row) for row in rows)
    return section


def build_result_table(task: str, rows: list[Row]) -> Element:
    """Build the table of one task, in a box that scrolls on narrow screens."""
    head = make_element(
        "thead", make_element("tr", *(make_element("th", name, scope="col") for name in list_columns(rows)))
    )
    body = make_element("tbody", *(build_table_row(format_cells(row)) for row in rows))
    if (chance := format_chance(rows)) is not None:
        body.append(build_table_row(("chance", "", chance, *[""] * 5), class_="chance"))
    caption = make_element("caption", f"{rows[0].split.capitalize()} set; lower is better. {describe_spread(rows)}")
    return make_scrollable(make_element("table", caption, head, body), f"Results on {task}")


def build_length_table(task: str, rows: list[Row]) -> Element:
    """Build the table of the metric at each length, in a box that scrolls on narrow screens."""
    names = (make_element("th", name, scope="col") for name in list_length_columns(rows))
    body = make_element("tbody", *(build_table_row(format_length_cells(row, rows)) for row in rows))
    caption = make_element("caption", f"{describe_lengths(rows)}.")
    head = make_element("thead", make_element("tr", *names))
    return make_scrollable(make_element("table", caption, head, body), f"Results on {task} by length")


def build_table_row(values: Sequence[str], **attributes: str) -> Element:
    """Build a row whose first cell is its heading."""
    return make_element(
        "tr",
        make_element("th", values[0], scope="row"),
        *(make_element("td", value) for value in values[1:]),
        **attributes,
    )


def make_scrollable(child: Element, label: str) -> Element:
    """Wrap an element in a box that scrolls sideways, also by keyboard."""
    return make_element("div", child, tabindex="0", role="region", aria_label=label, class_="scroll")


def build_figure(picture: Picture) -> Element:
    """Build a picture in four variants, from which the browser chooses by its screen."""
    variants = [
        (f"{NIGHT} and {NARROW}", DARK, PHONE),
        (NARROW, LIGHT, PHONE),
        (NIGHT, DARK, DESKTOP),
    ]
    sources = [
        make_element("source", media=media, srcset=encode_address(picture.svg(theme, layout)))
        for media, theme, layout in variants
    ]
    image = make_element("img", src=encode_address(picture.svg(LIGHT, DESKTOP)), alt=picture.alt)
    return make_element("figure", make_element("picture", *sources, image), make_element("figcaption", picture.caption))


def encode_address(svg: bytes) -> str:
    """Encode a picture as a data address."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def build_configuration(row: Row) -> Element:
    """Build the list of all runs of a row, their configuration, and the command to repeat them."""
    shared = {key: value for key, value in row.config.items() if key not in ("seed", "versions")}
    text = yaml.safe_dump(shared, sort_keys=False, allow_unicode=True)
    return make_element(
        "details",
        make_element("summary", f"{row.label}: {format_count(len(row.runs), 'run')}"),
        make_scrollable(build_runs_table(row), f"Runs of {row.label}"),
        make_element("p", "Configuration, the same for every seed:", class_="aside"),
        make_element("pre", text, tabindex="0"),
        make_element("p", f"To repeat it (seed {', '.join(str(run.seed) for run in row.runs)}):", class_="aside"),
        make_element("pre", format_command(row.runs[0]), tabindex="0"),
    )


def build_runs_table(row: Row) -> Element:
    """Build a table with one line for each run."""
    names = ("seed", f"{row.split} {format_heading(row.metric)}", "steps", "seconds")
    heads = [make_element("th", name, scope="col") for name in names]
    heads += [make_element("th", name, scope="col", class_="text") for name in ("stopped", "folder")]
    head = make_element("thead", make_element("tr", *heads))
    body = make_element("tbody")
    for run in row.runs:
        result = run.result or {}
        metric = result.get(f"{row.split}_metric")
        estimate = None if metric is None else Estimate((metric,))
        values = (
            str(run.seed),
            format_estimate(estimate, row.metric),
            format_known(result.get("steps")),
            format_known(result.get("seconds")),
        )
        line = build_table_row(values)
        line.append(make_element("td", describe_ending(run), class_="text"))
        line.append(make_element("td", str(run.folder), class_="text"))
        body.append(line)
    return make_element("table", head, body)


def format_known(value: Any) -> str:
    """Format a value, or a dash if it is None."""
    return NOTHING if value is None else str(value)


def describe_ending(run: Run) -> str:
    """Describe in words why a run stopped."""
    if run.result is None:
        return "unfinished"
    if run.result["failure"] is not None:
        return f"failed: {run.result['failure']}"
    words = {
        "solved": "solved: the validation metric reached its goal",
        "patience": "no better for a while",
        "budget": "all epochs done",
    }
    return words.get(run.result["stopped"], format_known(run.result["stopped"]))


def format_command(run: Run) -> str:
    """Format the command that repeats a run; every field is set, so that later defaults do not matter."""
    config = run.config
    fixed = [
        f"remanence train {shlex.quote(run.task)} --layer {shlex.quote(run.layer)}",
        f"--hidden-size {run.hidden_size} --seed {run.seed}",
    ]
    return " \\\n  ".join(
        [*fixed, *(f"--set {shlex.quote(f'{field}={value}')}" for field, value in iter_fields(config))]
    )


def iter_fields(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every field that has no option of its own, with its value."""
    parts = {
        "task.options": config["task"]["options"],
        "layer.options": config["layer"]["options"],
        "model": config["model"],
        "training": config["training"],
    }
    for part, fields in parts.items():
        for key, value in fields.items():
            yield f"{part}.{key}", format_value(value)


def format_report_command(runs: Sequence[Run], folder: Path) -> str:
    """Format the command that reads exactly these runs and writes the page to the same place."""
    given = {run.folder.resolve() for run in runs}
    whole = {
        parent: all(each.resolve() in given for each in find_run_folders(parent))
        for parent in dict.fromkeys(run.folder.parent for run in runs)
    }
    paths = list(dict.fromkeys(run.folder.parent if whole[run.folder.parent] else run.folder for run in runs))
    words = ["remanence", "report", *map(str, paths)]
    return shlex.join(words if folder == paths[0] else [*words, "--output", str(folder)])


def build_repeat_section(runs: Sequence[Run], again: str) -> Element:
    """Build the section with the versions and the command that writes this page again."""
    section = make_element("section", make_element("h2", "To repeat it"))
    versions: dict[tuple[str, ...], int] = {}
    for run in runs:
        key = tuple(f"{name} {version}" for name, version in run.config["versions"].items())
        versions[key] = versions.get(key, 0) + 1
    for key, number in versions.items():
        which = "All runs" if len(versions) == 1 else format_count(number, "run")
        section.append(make_element("p", f"{which} with {', '.join(key) or 'unknown versions'}."))
    section.append(make_element("p", "Each configuration above has its own command. This page is written again by:"))
    section.append(make_element("pre", again, tabindex="0"))
    return section
