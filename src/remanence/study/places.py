"""Where the recipes of a study lie: beside the package if it was installed, else in the repository."""

from pathlib import Path

import remanence


def recipes(name: str) -> Path:
    """The folder ``recipes/NAME``.

    Raises:
        ValueError: it is in neither place.
    """
    package = Path(remanence.__file__).parent
    for root in (package, package.parents[1]):
        if (root / "recipes" / name).is_dir():
            return root / "recipes" / name
    raise ValueError(f"the recipes of the study {name} are missing: expected them in {package / 'recipes' / name}")
