import ast
import graphlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jaxtyping
import pytest
import torch

import remanence
from remanence import nn

HEAVY = ("lightning", "optuna", "matplotlib", "pydantic", "rich", "typer", "sklearn", "yaml", "scipy", "triton")

LOADED = """
import sys, torch
before = set(sys.modules)
import remanence, remanence.nn as part
for name in part.__all__:
    getattr(part, name)
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""

COUNTED = """
import sys, torch
before = set(sys.modules)
import remanence, remanence.nn
print(len(set(sys.modules) - before))
"""

TRACED = """
import sys, torch
from remanence.nn import CFF
from remanence.ops.scan.trace import TracedStep
before = set(sys.modules)
layer = CFF(2, 3)
TracedStep(layer._step, (2, 2, len(layer._params())), 4, 3, torch.float32).vjp((True,) * (4 + len(layer._params())))
print(*(name for name in set(sys.modules) - before))
"""


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_layers_load_nothing_that_only_training_needs():
    assert not {*HEAVY} & {*run(LOADED).split()}


def test_instruments_load_what_they_draw_and_fit_with_only_when_they_do():
    program = LOADED.replace("remanence.nn", "remanence.analysis")
    assert "remanence.analysis" in program
    assert not {*HEAVY} & {*run(program).split()}


def test_importing_the_layers_loads_little():
    """By modules, not by seconds, which a busy machine stretches: 64 when this was written."""
    assert int(run(COUNTED)) < 100


def test_every_layer_is_exported_for_type_checkers_and_at_run_time():
    """The lists of ``remanence.nn``: imports that type checkers read, ``__all__``, and what is loaded when used."""
    tree = ast.parse(Path(nn.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == {name: f"remanence.nn.{module}" for name, module in nn._MODULES.items()}
    assert set(nn.__all__) - set(vars(nn)) <= set(imported)
    assert set(imported) <= set(nn.__all__)
    own = {getattr(factory, "func", factory) for factory in map(nn.layers.__getitem__, nn.layers)}
    assert {layer.__name__ for layer in own if layer.__module__.startswith("remanence.nn")} <= set(nn.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        nn.Missing  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018


def test_types_and_shapes_are_checked_in_all_tests():
    with pytest.raises(jaxtyping.TypeCheckError):
        nn.Elman(3, 4)(torch.zeros(2, 3))
    with pytest.raises(jaxtyping.TypeCheckError):
        remanence.scan("no step", [torch.zeros(1, 2, 3)], [torch.zeros(1, 3)])  # pyright: ignore[reportArgumentType]


def test_tracing_loads_no_compiler():
    assert not {"torch._dynamo", "torch.fx.experimental.symbolic_shapes", "sympy"} & {*run(TRACED).split()}


SRC = Path(remanence.__file__).parent
BASE = (
    "_torch caches checkpoints checks errors extras files locks old_names private recipes registry studies yaml_files"
).split()
ORDER = "_kernels wiring ops nn models analysis data tasks runs training report inspection".split()
TOP = ("cli", "__main__", "__init__")
RANK = {**dict.fromkeys(BASE, 0), **{name: number for number, name in enumerate((*ORDER, *TOP), start=1)}}


def imported(path):
    """Parts of the library that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "remanence":
            yield from (alias.name for alias in node.names if not alias.name.startswith("__"))
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("remanence."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("remanence."))


def test_imports_run_downwards():
    for path in SRC.rglob("*.py"):
        part = path.relative_to(SRC).parts[0].removesuffix(".py")
        for other in {*imported(path)} - {part}:
            assert RANK[other] < RANK[part] or RANK[other] == RANK[part] == 0, f"{path} imports {other}"


def test_no_package_exports_a_name_that_hides_one_of_its_modules():
    """``import remanence.wiring.ncp`` would give the function, and its module could be had from sys.modules only."""
    for path in SRC.rglob("__init__.py"):
        modules = {other.stem for other in path.parent.glob("*.py")} | {
            other.parent.name for other in path.parent.glob("*/__init__.py")
        }
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                package = ".".join(("remanence", *path.parent.relative_to(SRC).parts))
                names = {alias.asname or alias.name for alias in node.names if node.module != package}
                assert not names & modules, f"{path}: {names & modules}"


SAME_ROLE = {"__init__", "reference", "operation", "cpu", "gpu", "cpu_source", "gpu_source", "layer"}
"""Modules with the same role in several packages of operations and layers."""


def modules():
    """Path of each module of the library, by its name."""
    for path in SRC.rglob("*.py"):
        name = ".".join(("remanence", *path.relative_to(SRC).with_suffix("").parts))
        yield name.removesuffix(".__init__"), path


def test_names_of_modules_are_unique():
    counts = Counter(path.stem for path in SRC.rglob("*.py"))
    assert {name for name, count in counts.items() if count > 1} <= SAME_ROLE


def runtime_imports(node):
    """Import statements that are executed at some time, those inside functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom | ast.Import):
            yield child
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from runtime_imports(child)


def test_no_two_modules_import_each_other():
    """Neither directly nor through others, nor by an import inside a function; types alone may go round in circles."""
    names = dict(modules())
    graph = {}
    for name, path in names.items():
        used = set()
        for statement in runtime_imports(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.Import):
                used |= {alias.name for alias in statement.names}
            else:
                inner = {f"{statement.module}.{alias.name}" for alias in statement.names}
                used |= {full if full in names else statement.module for full in inner}
        graph[name] = used & set(names) - {name}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_torch_is_used_by_its_public_names_but_in_one_file():
    private_names = re.compile(r"torch\.(\w+\.)*_[a-z]\w*|from torch(\.\w+)*\._\w+|from torch\._\w+|import _functorch")
    for path in SRC.rglob("*.py"):
        if path.name != "_torch.py":
            code = ast.unparse(without_texts(ast.parse(path.read_text(encoding="utf-8"))))
            assert not (found := private_names.search(code)), f"{path}: {found}"


def without_texts(tree):
    """Code without docstrings and other strings, in which such names may be said."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return tree


def test_git_has_every_source_file():
    """A folder of ours that is called like what git ignores is in no clone, and in no wheel."""
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "--", "*.py"]
    assert not subprocess.run(command, cwd=SRC, capture_output=True, text=True).stdout
