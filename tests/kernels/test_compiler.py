"""The language of kernels means what Python means by the same text."""

import operator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence._kernels import compiler
from remanence._kernels.kernel_source import HEAD, KernelSource
from remanence._kernels.launch import launch


def kernel(lines: str, *arguments: str) -> KernelSource:
    names = (*HEAD, *arguments)
    body = "\n".join(f"    {line}" for line in lines.splitlines())
    return KernelSource(f"def forward({', '.join(names)}):\n{body}\n", names)


def run(lines: str, **values: int) -> list[float]:
    """What the lines store behind ``at``, numbers of 64 bits; they are given the values by name."""
    out = torch.full((16,), -1.0, dtype=torch.float64)
    launch(kernel(lines, "at", *values), torch.float64, 1, out, *values.values())
    return out.tolist()


def truth(condition: str) -> str:
    return f"store(at, lanes(1.0) if {condition} else lanes(0.0), first(1))"


INTEGERS = st.integers(-(2**40), 2**40)


@settings(max_examples=30, deadline=None)
@given(a=INTEGERS, b=INTEGERS.filter(bool))
def test_integers_are_those_of_python(a, b):
    expressions = ["a + b", "a - b", "-a + b", "a // b", "a % b", "(a & 1048575) * (b & 1048575)", "(a | 7) ^ b"]
    lines = "\n".join(
        f"value{i} = {expression}\n{truth(f'value{i} == expected{i}').replace('at', f'at + {8 * i}', 1)}"
        for i, expression in enumerate(expressions)
    )
    expected = {f"expected{i}": eval(expression, {"a": a, "b": b}) for i, expression in enumerate(expressions)}
    assert run(lines, a=a, b=b, **expected)[: len(expressions)] == [1.0] * len(expressions)


@pytest.mark.parametrize("name", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons(name):
    sign = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}[name]
    for a, b in ((-1, 2), (2, -1), (3, 3)):
        assert run(truth(f"a {sign} b"), a=a, b=b)[0] == float(getattr(operator, name)(a, b))


def test_what_comes_behind_the_value_that_decides_is_not_computed():
    assert run(truth("b != 0 and a // b == 2"), a=4, b=0)[0] == 0.0
    assert run(truth("b != 0 and a // b == 2"), a=4, b=2)[0] == 1.0
    assert run(truth("b == 0 or a // b == 2"), a=4, b=0)[0] == 1.0
    assert run(truth("b == 0 or a // b == 2"), a=5, b=1)[0] == 0.0


@pytest.mark.parametrize("arguments", ["5", "2, 9", "1, 12, 4", "3, 3", "7, 2"])
def test_range(arguments):
    """Every number is stored, then the one that the variable has at the end."""
    lines = f"place = at\nfor i in range({arguments}):\n    number = i\n" + (
        "    value = lanes(0.0)\n    for k in range(i):\n        value = value + 1.0\n"
        "    store(place, value, first(1))\n    place += SIZE"
    )
    numbers = [float(i) for i in eval(f"range({arguments})")]
    assert run(lines)[: len(numbers) + 1] == [*numbers, -1.0]


def test_while_if_and_pairs():
    lines = """\
a, b = b, a
n = 0
while a != 0:
    if a % 2 == 1:
        n += 1
    else:
        b = b + 10
    a = a // 2
store(at, lanes(1.0) if n == 3 and b == 11 else lanes(0.0), first(1))"""
    assert run(lines, a=1, b=0b1101)[0] == 1.0


def test_the_last_function_is_the_kernel_and_may_call_the_others():
    text = """\
def twice(at, number):
    value = lanes(0.0)
    for i in range(2 * number):
        value = value + 1.0
    store(at, value, first(1))
def forward(part, begin, end, at):
    twice(at, 3)
    twice(at + SIZE, 4)
"""
    out = torch.zeros(4, dtype=torch.float64)
    launch(KernelSource(text, (*HEAD, "at")), torch.float64, 1, out)
    assert out.tolist() == [6.0, 8.0, 0.0, 0.0]


def test_a_name_may_mean_a_vector_after_a_number():
    assert run("x = 3\nx = lanes(2.0)\nstore(at, x * 2.0, first(1))")[0] == 4.0


def test_literals_fill_every_lane():
    assert run("x = 0.5\nstore(at, x + 1.0, first(2))")[:3] == [1.5, 1.5, -1.0]
    assert run("store(at, where(truth(True), inf, 0.0) * lanes(-1.0), first(1))")[0] == -float("inf")


@pytest.mark.parametrize(
    "line",
    ["x = unknown", "x = print(1)", "return", "x = [1]", "x = 1.5 + 2", "for i in items:\n    pass", "x = 'text'"],
)
def test_the_rest_of_python_is_refused_with_the_line(line):
    with pytest.raises(SyntaxError, match="language of kernels") as error:
        compiler.lower(kernel("y = 1\n" + line), 64, 4)
    assert error.value.lineno == 3
