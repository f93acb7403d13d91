"""Where the recipes lie that come with the package: in it if it was installed, else in the repository."""

from pathlib import Path

import remanence
from remanence.errors import UserError


def recipe_folder() -> Path:
    """Return the folder ``recipes``."""
    package = Path(remanence.__file__).parent
    installed, cloned = package / "recipes", package.parents[1] / "recipes"
    return installed if installed.is_dir() else cloned


def find_recipe(path: Path) -> Path:
    """Return the file itself; ``recipes/NAME.yaml`` is found from any folder.

    Raises:
        ValueError: there is no such file.
    """
    if path.is_file():
        return path
    if path.parts[:1] == ("recipes",) and (ours := recipe_folder().joinpath(*path.parts[1:])).is_file():
        return ours
    there = ", ".join(f"recipes/{each.relative_to(recipe_folder())}" for each in sorted(recipe_folder().glob("*.yaml")))
    raise UserError(f"cannot read the recipe {path}: there is no such file; the package contains {there}")
