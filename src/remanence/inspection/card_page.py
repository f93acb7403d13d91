"""The card as one HTML page that needs nothing but itself, in the look of the report."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from remanence.files import write_text
from remanence.inspection.card import Card, Line, select_lines
from remanence.inspection.finding import Finding
from remanence.report.page import build_document, build_figure, build_table_row, make_element, make_scrollable
from remanence.report.plots import Picture
from remanence.report.style import Layout


def write(cards: Sequence[Card], folder: Path, command: str) -> Path:
    """Write ``inspection.html``.

    Args:
        cards: what was found.
        folder: the folder of the page; created if it does not exist.
        command: what writes the page again.

    Returns:
        The path of the page.

    Raises:
        OSError: the folder cannot be written; what was there before stays.
    """
    title = f"Inspection of {cards[0].subject.name}" if len(cards) == 1 else f"Inspection of {len(cards)} memories"
    body: list[Element | str] = [make_element("h1", title)]
    body += [make_element("p", f"{_format_lead(card, len(cards))}.", class_="lead") for card in cards]
    lines = select_lines([card.subject for card in cards])
    body.append(build_summary(cards, lines))
    body += [build_section(cards, line) for line in lines]
    body.append(make_element("section", make_element("h2", "To repeat it"), make_element("pre", command, tabindex="0")))
    path = folder / "inspection.html"
    write_text(path, build_document(title, body))
    return path


def _format_lead(card: Card, count: int) -> str:
    about = card.subject.about
    return f"{card.subject.name}: {about}" if count > 1 else about[:1].upper() + about[1:]


def build_summary(cards: Sequence[Card], lines: Sequence[Line]) -> Element:
    """Build the table with a row for each line and a column for each memory."""
    names = [card.subject.name for card in cards] if len(cards) > 1 else ["found"]
    head = make_element(
        "thead", make_element("tr", make_element("th", ""), *(make_element("th", name, scope="col") for name in names))
    )
    rows = (build_table_row([line.title, *(card.findings[line.name].short for card in cards)]) for line in lines)
    return make_scrollable(make_element("table", head, make_element("tbody", *rows)), "What was found")


def build_section(cards: Sequence[Card], line: Line) -> Element:
    """Build the section of one line: its question, its findings, and their picture."""
    result = make_element("section", make_element("h2", line.title, " ", make_element("small", line.question)))
    found = {card.subject.name: card.findings[line.name] for card in cards}
    for name, each in found.items():
        result.append(make_element("p", f"{name}: {each.sentence}" if len(cards) > 1 else each.sentence))
    drawn = {name: each for name, each in found.items() if each.draw}
    if drawn:
        try:
            result.append(build_figure(build_picture(line, drawn)))
        except Exception as error:  # matplotlib refuses, for one, a logarithmic axis of zeros
            result.append(make_element("p", f"This cannot be drawn: {error}", class_="note"))
    return result


def build_picture(line: Line, found: dict[str, Finding]) -> Picture:
    """Build the picture of the findings of one line, side by side."""
    alt = " ".join(f"{name}: {each.sentence}" for name, each in found.items())
    return Picture(
        name=line.name,
        title=line.title,
        caption=CAPTIONS[line.name],
        alt=f"{line.title}. {alt}",
        draw=lambda theme, layout: draw_findings(found, layout),
    )


def draw_findings(found: dict[str, Finding], layout: Layout) -> Figure:
    """Draw panels in rows: as many columns as one memory has panels, or as fit the page."""
    panels = next(iter(found.values())).panels
    columns = 1 if layout.columns == 1 else max(panels, min(len(found), layout.columns))
    count = panels * len(found)
    rows = -(-count // columns)
    height = layout.panel_height * next(iter(found.values())).height * 1.15
    figure = Figure(figsize=(layout.width, rows * height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for index, (name, each) in enumerate(found.items()):
        own = axes[index * panels : (index + 1) * panels]
        assert each.draw
        each.draw(own)
        if len(found) > 1:
            own[0].set_title(f"{name}\n{own[0].get_title()}")
    for panel in axes:
        if panel.images:
            panel.grid(visible=False)  # it would lie over them
    for unused in axes[count:]:
        unused.axis("off")
    return figure


CAPTIONS = {
    "gradient": "The norm of the gradient of the last state by each earlier one (geometric mean over sequences), and "
    "what bounds it from above: the product of the norms of the Jacobians. The dotted line is where 1% is left.",
    "memory": "How often a linear probe of the state names which of a few inputs was shown, by how many steps ago that "
    "was, while others follow with noise of a tenth of their spread. The band is 95% confidence; dashed is chance.",
    "lyapunov": "The largest Lyapunov exponents, the mean so far: they should end flat. Below 0 nearby states meet, "
    "above 0 they part.",
    "correction": "What is left of errors of the state of several sizes, and of the differences between sequences "
    "under the same inputs. Errors that fall while the differences stay are corrected; a linear memory treats both "
    "alike. Dashed: what the largest Lyapunov exponent predicts for small errors. Dotted: the tenth of an error that "
    "may be left.",
    "fixed_points": "Where the state rests under the mean input, in the plane of the first two principal components of "
    "these points. Full: it is drawn in. Hollow: it is not.",
    "control": "First: how much energy each input channel writes into each component of the state. Then: the energies "
    "of the directions of the state. Last: how much is written at each time step of the sequence.",
    "observability": "First: how much energy of each component of the first state each output channel shows. Then: the "
    "energies of the directions of the state. Last: how much is shown at each time step after it.",
    "holding": "First: the values of neurons in one sequence, those that hold most on top. Then: the connections, the "
    "strongest edges into each neuron; after a colon, its place in the order of firing. A thick outline marks neurons "
    "that hold: for more than half of the steps they keep a value away from 0, to 1% of its range.",
}
