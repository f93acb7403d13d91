import weakref
from dataclasses import replace

import torch

from remanence._kernels.operations import OPERATIONS
from remanence.ops.scan import interpreter
from remanence.ops.scan.pointwise_graph import Builder


def test_holds_only_what_is_still_needed(monkeypatch):
    alive, most = [], []

    def sine(x):
        result = torch.sin(x)
        alive.append(weakref.ref(result))
        most.append(sum(reference() is not None for reference in alive))
        return result

    monkeypatch.setitem(OPERATIONS, "sin", replace(OPERATIONS["sin"], function=sine))
    builder = Builder()
    place = first = builder.apply("sin", builder.add("state"))
    for _ in range(50):
        place = builder.apply("sin", place)
    x = torch.rand(5, dtype=torch.float64)
    early, late = interpreter.evaluate(builder.build_graph([first, place]), {"state": [x]}, x)
    assert max(most) == 3  # the early result, an operand and what is made of it
    expected = x
    for _ in range(51):
        expected = expected.sin()
    torch.testing.assert_close((early, late), (x.sin(), expected))
