"""The style of pictures: colours that colour-blind readers can distinguish, light and dark, wide and narrow."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MARKERS = "os^DvPX*"
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))


@dataclass(frozen=True)
class Theme:
    """Colours; those of the memories have a contrast of at least 4.5 to the paper, so they serve for text too.

    Simulated for protanopia, deuteranopia and tritanopia, any two of them stay at least 13 apart in CIELAB.
    """

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    colours: tuple[str, ...]


LIGHT = Theme(
    "light",
    paper="#ffffff",
    ink="#1a1d21",
    muted="#5a6169",
    grid="#e3e6ea",
    colours=("#003f9e", "#8c2f00", "#00805a", "#9c2f78", "#877600", "#7a46f2"),
)
DARK = Theme(
    "dark",
    paper="#15181c",
    ink="#e8eaed",
    muted="#a2a9b2",
    grid="#2c3138",
    colours=("#45c4ff", "#cc7a40", "#7dffce", "#d05cae", "#cfc528", "#8676ff"),
)


@dataclass(frozen=True)
class Layout:
    """Sizes in inches and points; at these, a figure fills the page's column, or the screen of a phone."""

    name: str
    width: float
    panel_height: float
    columns: int
    font: float
    label_letters: int


DESKTOP = Layout("desktop", width=10.0, panel_height=2.9, columns=2, font=9.5, label_letters=16)
PHONE = Layout("phone", width=3.45, panel_height=2.4, columns=1, font=8.5, label_letters=11)


@dataclass(frozen=True)
class Look:
    """Index of a layer among all layers of the report, which decides its colour and marker everywhere."""

    index: int

    def colour(self, theme: Theme) -> str:
        """Return the colour on this theme."""
        return theme.colours[self.index % len(theme.colours)]

    @property
    def marker(self) -> str:
        """Marker."""
        return MARKERS[self.index % len(MARKERS)]


def assign_looks(layers: Iterable[str]) -> dict[str, Look]:
    """Assign a look to each layer; more than six share colours, but not both colour and marker."""
    return {layer: Look(index) for index, layer in enumerate(sorted(set(layers)))}


def make_settings(theme: Theme, layout: Layout) -> dict[Any, Any]:
    """Return Matplotlib's settings for a theme and a layout."""
    return {
        "font.family": "DejaVu Sans",
        "font.size": layout.font,
        "axes.labelsize": layout.font,
        "axes.titlesize": layout.font,
        "xtick.labelsize": layout.font * 0.92,
        "ytick.labelsize": layout.font * 0.92,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.muted,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.which": "major",
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "figure.facecolor": theme.paper,
        "svg.fonttype": "none",
        "svg.hashsalt": "remanence",
    }
