"""A page of answers, as Markdown with pictures beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from remanence.files import replace_file, write_text


@dataclass(frozen=True)
class Table:
    """A table; the first column is text, the others are figures."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Format the table as Markdown."""
        ruler = ["---"] + ["---:"] * (len(self.head) - 1)
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.head, ruler, *self.rows))


@dataclass(frozen=True)
class Answer:
    """A question, and what the runs say to it.

    Attributes:
        name: of the picture's file.
        question: as it was asked.
        sentences: the answer, with its numbers and their spread.
        figure: the picture.
        caption: how to read the picture.
        tables: the figures behind it.
    """

    name: str
    question: str
    sentences: str
    figure: Figure
    caption: str
    tables: Sequence[Table]

    def markdown(self) -> str:
        """Format the section of the page."""
        tables = "\n\n".join(table.markdown() for table in self.tables)
        parts = (self.sentences, f"![{self.caption}]({self.name}.png)", self.caption, tables)
        return f"## {self.question}\n" + "\n\n".join(parts) + "\n"


def write(folder: Path, title: str, introduction: str, answers: Sequence[Answer]) -> Path:
    """Write ``index.md`` and a PNG for each answer.

    Raises:
        OSError: the folder cannot be written.
    """
    for answer in answers:
        with replace_file(folder / f"{answer.name}.png") as file:
            answer.figure.savefig(file, format="png", dpi=130)
    page = folder / "index.md"
    write_text(page, "\n".join([f"# {title}", introduction, "", *(answer.markdown() for answer in answers)]))
    return page
