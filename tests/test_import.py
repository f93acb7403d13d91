import subprocess
import sys

HEAVY = ("lightning", "optuna", "matplotlib", "pydantic", "rich", "typer", "sklearn", "yaml", "scipy", "triton")

LOADED = """
import sys, torch
before = set(sys.modules)
import remanence, remanence.nn
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
    """By modules, not by seconds, which a busy machine stretches: 164 when this was written, a quarter of a second."""
    assert int(run(COUNTED)) < 200


def test_tracing_loads_no_compiler():
    assert not {"torch._dynamo", "torch.fx.experimental.symbolic_shapes", "sympy"} & {*run(TRACED).split()}
