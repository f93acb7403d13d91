"""The card in the terminal, and for machines."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from remanence.inspection.card import Card, select_lines


def table(cards: Sequence[Card]) -> Table:
    """Build the table for the terminal.

    For one memory it has a row for each instrument, with a sentence; for several, a column for each memory.

    Args:
        cards: as :func:`inspect` returns them.

    Returns:
        The table.
    """
    result = Table(box=None, padding=(0, 2, 0, 0), title_justify="left")
    result.add_column("")
    if len(cards) == 1:
        result.title = Text(cards[0].subject.about, style="italic")
        result.add_column("found", max_width=24)
        result.add_column("in words")
    else:
        for card in cards:
            result.add_column(Text(card.subject.name), overflow="fold")
    # Text, not str: a name in square brackets is no markup.
    for line in select_lines([card.subject for card in cards]):
        found = [card.findings[line.name] for card in cards]
        cells = [found[0].short, found[0].sentence] if len(cards) == 1 else [each.short for each in found]
        result.add_row(Text(line.title, style="bold"), *map(Text, cells))
    return result


def as_json(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Convert cards to plain objects for JSON.

    Args:
        cards: as :func:`inspect` returns them.

    Returns:
        One object for each memory.
    """
    return [
        {
            "name": card.subject.name,
            "about": card.subject.about,
            "state_size": card.subject.step.size,
            "input_size": card.subject.step.input_size,
            "findings": {name: {**each.figures, "sentence": each.sentence} for name, each in card.findings.items()},
        }
        for card in cards
    ]
