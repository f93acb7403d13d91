"""Where the studies lie, which are not part of the package: in the clone it is imported from, or the current folder."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import remanence
from remanence.errors import UserError


def find_studies() -> dict[str, Path]:
    """Find the studies: the name and the folder of each; a clone comes before the current folder."""
    found: dict[str, Path] = {}
    for place in _list_places():
        for file in sorted(place.glob("*/__init__.py")):
            found.setdefault(file.parent.name, file.parent)
    return found


def load_study(name: str) -> ModuleType:
    """Import a study as ``studies.NAME``.

    Raises:
        ValueError: there is no such study, or it lacks one of its functions.
    """
    found = find_studies()
    if not found:
        places = " or ".join(str(place.absolute()) for place in _list_places())
        raise UserError(
            f"there is no study {name!r} in {places}: studies are not part of the installed package; "
            "clone the repository of remanence and run the command in its folder"
        )
    if name not in found:
        raise UserError(f"unknown study {name!r}; known: {', '.join(sorted(found))}")
    package = sys.modules["studies"] = ModuleType("studies")  # no other package of this name comes in between
    package.__path__ = [str(place.absolute()) for place in _list_places()]
    module = importlib.import_module(f"studies.{name}")
    if missing := [function for function in ("plan", "answer") if not hasattr(module, function)]:
        raise UserError(f"{found[name]} is not a study: it has no function {' and no function '.join(missing)}")
    return module


def _list_places() -> list[Path]:
    package = Path(remanence.__file__).parent
    clones = [package.parents[1]] if package.parent.name == "src" else []
    return [folder / "studies" for folder in (*clones, Path())]
