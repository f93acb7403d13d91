"""After a bare ``pip install remanence``: what needs an extra says so, by its name, and the rest works."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import remanence

EXTRAS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
IMPORTED = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}

BROUGHT = {"train": {"scipy"}, "analysis": {"PIL"}}
"""By what is in an extra: scikit-learn needs SciPy, matplotlib needs Pillow."""

CALLS = {
    "import remanence.nn, remanence.models, remanence.ops.scan": None,
    "remanence.tasks.create('retrieval').dataset('test')": None,
    "remanence.tasks.create('copy').dataset('test')": None,
    "[remanence.tasks.create(name) for name in remanence.tasks.tasks]": None,
    "remanence.wiring.lattice((3, 3))": None,
    "remanence.nn.create('cff', input_size=2, hidden_size=4)(torch.randn(1, 3, 2))": None,
    "remanence.analysis.fixed_points(step)": None,
    "remanence.analysis.spectrum(step, torch.zeros(3, 4, 2).double())": None,
    "remanence.tasks.create('digits').dataset('test')": "train",
    "remanence.tasks.create('pathfinder')._build_painter()": "train",
    "remanence.training.train": "train",
    "remanence.report.load": "train",
    "importlib.import_module('remanence.inspection')": "train",
    "remanence.analysis.spectrum(step, torch.zeros(3, 4, 2).double()).plot()": "analysis",
    "remanence.analysis.fixed_points(step).plot()": "analysis",
    "remanence.analysis.memory_capacity(step, range(1, 4), steps=100)": "analysis",
    "remanence.analysis.quadratic_lyapunov(halved, torch.zeros(4).double())": "analysis",
    "remanence.analysis.linear_control(halved, torch.zeros(4).double())": "analysis",
    "remanence.wiring.lattice((3, 3)).to_networkx()": None,
    "remanence.analysis.holding(held, torch.randn(1, 5, 2)).to_networkx()": None,
    "remanence.analysis.holding(held, torch.randn(1, 5, 2)).graph()": "analysis",
    "remanence.wiring.small_world(8)": None,
    "remanence.wiring.lattice((3, 3)).plot()": "analysis",
}

SOURCE = Path(remanence.__file__).parent
MODULES = [  # all but those of the command, which only cli/app.py loads; it says itself what it needs
    f"importlib.import_module('{'.'.join(path.relative_to(SOURCE.parent).with_suffix('').parts)}')"
    for path in sorted(SOURCE.rglob("*.py"))
    if path.name == "console.py" or not (path.name.startswith("__") or path.parent.name == "cli")
]
NEEDING = re.compile(
    r"remanence\.(cli\.console|inspection|report|runs|tasks\.dashes|tasks\.scenes|training|wiring\.picture|yaml_files)\b"
)

PROGRAM = """
import importlib, json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import torch
import remanence
layer = remanence.nn.create("elman", input_size=2, hidden_size=4).double()
step = remanence.analysis.as_step(layer)
held = remanence.nn.PersistentLinear(2, 4)
halved = remanence.analysis.as_step(lambda x_t, h: h / 2, state=torch.zeros(1, 4).double())
said = {}
for call in CALLS:
    try:
        exec(call)
    except ImportError as error:
        said[call] = str(error)
    else:
        said[call] = None
print(json.dumps(said))
"""


def packages(*extras):
    named = (requirement.partition(">")[0].partition("=")[0] for extra in extras for requirement in EXTRAS[extra])
    return {IMPORTED.get(name, name) for name in named}


@pytest.fixture(scope="module", params=[("train", "analysis"), ("train",), ("analysis",)], ids="+".join)
def outcome(request, tmp_path_factory):
    """What each call came to where these extras are missing."""
    others = {"train", "analysis"} - set(request.param)
    there = {"networkx"}.union(packages(*others), *(BROUGHT[extra] for extra in others))  # torch brings networkx
    missing = packages(*request.param) - there
    program = PROGRAM.replace("BLOCKED", repr(missing)).replace("CALLS", repr([*CALLS, *MODULES]))
    folder = tmp_path_factory.mktemp("data")
    command = [sys.executable, "-W", "ignore", "-c", program]
    environment = {**os.environ, "REMANENCE_DATA_DIR": str(folder), "MPLBACKEND": "agg"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return request.param, json.loads(done.stdout)


@pytest.mark.slow
def test_what_needs_an_extra_names_it_and_the_rest_works(outcome):
    missing, said = outcome
    for call, extra in CALLS.items():
        if extra is None or extra not in missing:
            # Of the packages that both extras bring, none is missing where one of the two is there.
            assert said[call] is None, f"{call}: {said[call]}"
        elif len(missing) == 2 or said[call] is not None:
            assert said[call].endswith(f"pip install 'remanence[{extra}]'"), f"{call}: {said[call]}"
            assert " needs " in said[call]
    assert any(said.values())


@pytest.mark.slow
def test_every_module_loads_or_names_an_extra(outcome):
    missing, said = outcome
    advice = tuple(f"pip install 'remanence[{extra}]'" for extra in missing)
    assert not {call: said[call] for call in MODULES if said[call] is not None and not said[call].endswith(advice)}
    assert not {call: said[call] for call in MODULES if said[call] is not None and not NEEDING.search(call)}
