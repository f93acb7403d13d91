"""A trace is kept exactly while the step stays what it was."""

from functools import partial
from types import ModuleType

import pytest
import torch

from remanence.ops.scan import fingerprint as fingerprints
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


def test_what_is_unchanged_is_not_looked_at_again(monkeypatch):
    steps = [with_global, with_helper, with_module, closing_over(1.0), partial(scaled, 2.0)]
    before = [fingerprint(step) for step in steps]
    monkeypatch.setattr(fingerprints, "_make_key_of_function", lambda *given: pytest.fail("made anew"))
    assert [fingerprint(step) for step in steps] == before
    assert len(set(before)) == len(before)


def with_everything(x, gain=1.0, *, offset=0.0):
    return gain * x + offset + abs(x)


def changes_of_everything(monkeypatch, number, function, other):
    yield lambda: setattr(with_everything, "__defaults__", (number,))
    yield lambda: (with_everything.__kwdefaults__ or {}).update(offset=10 * number)
    yield lambda: setattr(with_everything, "__kwdefaults__", {"offset": 100 * number})
    yield lambda: monkeypatch.setitem(globals(), "abs", function)
    yield lambda: setattr(with_everything, "__code__", other.__code__)


def changes(monkeypatch):
    """Ways in which a function changes and stays the same object."""
    held, factor = torch.tensor([1, 2]), 1.0

    def inner(x):
        return with_everything(factor * x) + held

    def rebind():
        nonlocal factor
        factor = 2.0

    yield inner, lambda: held.add_(1)
    yield (lambda x: factor * x), rebind
    for change in changes_of_everything(monkeypatch, 2.0, torch.sin, lambda x, gain, *, offset: -abs(x)):
        yield with_everything, change
    for change in changes_of_everything(monkeypatch, 3.0, torch.cos, lambda x, gain, *, offset: x):
        yield (lambda x: with_everything(x)), change
    settled = partial(scaled, 1.0, offset=1.0)
    yield settled, lambda: settled.keywords.update(offset=2.0)
    yield (lambda *given: settled(*given)), lambda: settled.keywords.update(offset=3.0)


def test_every_change_is_seen(monkeypatch):
    parts = ("__code__", "__defaults__", "__kwdefaults__")
    before = [getattr(with_everything, part) for part in parts]
    kept = dict(before[-1])
    try:
        count = 0
        for function, change in changes(monkeypatch):
            first = fingerprint(function)
            assert first == fingerprint(function)
            change()
            assert fingerprint(function) != first, count
            count += 1
    finally:
        for part, value in zip(parts, (*before[:2], kept), strict=True):
            setattr(with_everything, part, value)
    assert count == 14


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
