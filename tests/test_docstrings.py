"""What the docstring of every public name says, and that the API reference in ``docs/`` shows it."""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PACKAGES = "nn nn.attention analysis wiring models tasks training report inspection runs data".split()
ON_DISK = ("training", "report", "inspection", "runs", "data")
"""Packages of trained runs and downloaded files, whose examples are in the pages."""

WITH_FILES = {"AAN", "Cheetah", "Characters", "MNIST", "UCR", "Text", "Image", "Pathfinder", "Drawn"}
"""Tasks whose data are downloaded, and their base."""


def public():
    """Module, name and object of every public function and class, once."""
    seen = set()
    for package in ("remanence", *(f"remanence.{name}" for name in PACKAGES)):
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            is_ours = getattr(value, "__module__", "").startswith("remanence")
            if is_ours and (inspect.isclass(value) or inspect.isfunction(value)) and value not in seen:
                seen.add(value)
                yield pytest.param(package, name, value, id=f"{package}.{name}")


PUBLIC = [*public()]


def parse(value):
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body[0]


def documents(section, name):
    """Whether a section has an entry for a name, by itself or in a list such as ``train, test: samples``."""
    return re.search(rf"^ +(\w+, )*{re.escape(name)}(, \w+)*:", section, re.MULTILINE)


def list_missing(package, value, doc):
    sections = dict(re.findall(r"^ *(\w+):\n((?:.+\n|\n(?= {8}))*)", doc + "\n", re.MULTILINE))
    arguments = sections.get("Args", "") + sections.get("Attributes", "")
    if inspect.isclass(value):
        if issubclass(value, Warning):
            return
        own = vars(value).get("__init__")  # without device and dtype, which Structured adds where they are not declared
        names = [*inspect.signature(inspect.unwrap(own)).parameters][1:] if own else ()
    else:
        names = inspect.signature(value).parameters
        node = parse(value)
        assert isinstance(node, ast.FunctionDef)
        if node.returns is not None and ast.unparse(node.returns) != "None" and "Returns" not in sections:
            yield "Returns"
        if any(isinstance(part, ast.Raise) for part in ast.walk(node)) and "Raises" not in sections:
            yield "Raises"
    yield from (name for name in names if not documents(arguments, name))


@pytest.mark.parametrize(("package", "name", "value"), PUBLIC)
def test_arguments_and_results_are_described(package, name, value):
    assert value.__doc__
    assert not [*list_missing(package, value, inspect.cleandoc(value.__doc__))]


@pytest.mark.parametrize(("package", "name", "value"), PUBLIC)
def test_there_is_an_example(package, name, value):
    is_data = inspect.isclass(value) and (dataclasses.is_dataclass(value) or issubclass(value, Warning | tuple))
    if package.split(".")[-1] in ON_DISK or name in WITH_FILES or is_data or inspect.isabstract(value):
        return
    assert ">>> " in (value.__doc__ or "")


def test_the_api_reference_shows_every_public_name():
    shown = set()
    for page in DOCS.rglob("*.md"):
        for module, options in re.findall(r"^::: (\S+)\n((?:    .*\n)*)", page.read_text(), re.MULTILINE):
            members = re.search(r"members: \[(.*?)\]", options)
            shown |= {f"{module}.{name.strip()}" for name in members[1].split(",")} if members else {module}
    names = {name.rpartition(".")[2] for name in shown}
    assert not {param.id for param in PUBLIC if param.values[1] not in names}
