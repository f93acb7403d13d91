"""A trace is kept exactly while the step stays what it was."""

from functools import partial
from types import ModuleType

import pytest
import torch

from remanence.ops.scan import scan
from remanence.ops.scan.fingerprint import fingerprint

GAIN = 2.0


def with_global(state, inputs, params):
    return (GAIN * state[0] + inputs[0],)


def helper(x):
    return GAIN * x


def with_helper(state, inputs, params):
    return (helper(state[0]) + inputs[0],)


def scaled(gain, state, inputs, params, *, offset=0.0):
    return (gain * state[0] + inputs[0] + offset,)


def closing_over(gain):
    def inner(state, inputs, params):
        return (gain * state[0] + inputs[0],)

    return inner


@pytest.mark.parametrize("step", [with_global, with_helper])
def test_a_changed_global_is_seen(step, monkeypatch, graph_backend):
    x, h = torch.randn(2, 3, 4), torch.randn(2, 4)
    before = fingerprint(step)
    first, _ = scan(step, [x], [h], backend=graph_backend)
    monkeypatch.setitem(globals(), "GAIN", 3.0)
    assert before is not None
    assert fingerprint(step) != before
    second, _ = scan(step, [x], [h], backend=graph_backend)
    expected, _ = scan(step, [x], [h], backend="reference")
    torch.testing.assert_close(second, expected)
    assert not torch.allclose(first[0], second[0])


class Options:
    gain = 2.0


def with_class(state, inputs, params):
    return (Options.gain * state[0] + inputs[0],)


def with_module(state, inputs, params):
    return (settings.gain * state[0] + settings.twice(inputs[0]),)


settings = ModuleType("settings")
exec("gain = 2.0\nfactor = 2.0\ndef twice(x):\n    return factor * x", vars(settings))


@pytest.mark.parametrize(
    ("step", "owner", "name"),
    [(with_class, Options, "gain"), (with_module, settings, "gain"), (with_module, settings, "factor")],
)
def test_a_changed_attribute_of_a_class_or_module_is_seen(step, owner, name, monkeypatch, graph_backend):
    x, h = torch.randn(2, 3, 4), torch.randn(2, 4)
    first, _ = scan(step, [x], [h], backend=graph_backend)
    monkeypatch.setattr(owner, name, 3.0)
    second, _ = scan(step, [x], [h], backend=graph_backend)
    expected, _ = scan(step, [x], [h], backend="reference")
    torch.testing.assert_close(second, expected)
    assert not torch.allclose(first[0], second[0])


def test_same_code_with_other_values_is_another_step():
    assert fingerprint(closing_over(1.0)) == fingerprint(closing_over(1.0))
    assert fingerprint(closing_over(1.0)) != fingerprint(closing_over(2.0))
    assert fingerprint(closing_over(1.0)) != fingerprint(closing_over(1))
    assert fingerprint(closing_over(0.0)) != fingerprint(closing_over(-0.0))
    assert fingerprint(partial(scaled, 2.0)) == fingerprint(partial(scaled, 2.0))
    assert fingerprint(partial(scaled, 2.0)) != fingerprint(partial(scaled, 2.0, offset=1.0))
    assert fingerprint(lambda s, x, p: (s[0] + 1,)) != fingerprint(lambda s, x, p: (s[0] + 2,))


class Cell:
    """Holds what its step uses; it may change at any time."""

    gain = 2.0

    def step(self, state, inputs, params):
        return (self.gain * state[0] + inputs[0],)


def test_what_may_change_unseen_is_traced_each_time(graph_backend):
    cell, x, h = Cell(), torch.randn(2, 3, 4), torch.randn(2, 4)
    assert fingerprint(cell.step) is None
    assert fingerprint(closing_over([1.0])) is None
    assert fingerprint(closing_over(torch.ones(()))) is None
    for gain in (2.0, 3.0):
        cell.gain = gain
        ours, theirs = (scan(cell.step, [x], [h], backend=name) for name in (graph_backend, "reference"))
        torch.testing.assert_close(ours, theirs)
