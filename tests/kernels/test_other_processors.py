"""The code that kernels have on processors and systems that these tests do not run on, as LLVM writes it down."""

import re

import llvmlite.binding as llvm
import pytest
import torch

from remanence._kernels import kernel, object_file, targets
from remanence._kernels.operations import OPERATIONS
from remanence.ops.scan import cpu_source
from remanence.ops.scan.trace import TracedStep

NUMERIC = [row for row in OPERATIONS.values() if not row.is_boolean and row.name != "where"]
ARM = [
    ("aarch64-unknown-linux-gnu", "generic"),
    ("aarch64-unknown-linux-gnu", "neoverse-v1"),
    ("arm64-apple-darwin", "apple-m1"),
]
X86 = [("x86_64-unknown-linux-gnu", "x86-64"), ("x86_64-pc-windows-msvc", "skylake-avx512")]
OTHERS = [("powerpc64le-unknown-linux-gnu", "ppc64le")]
ESTIMATES = r"v?(rcp|rsqrt)(14|28)?[ps][sd]|f(recp|rsqrt)[esx]|xv?(re|rsqrte)[sd]p"
"""Instructions that give the first bits of a reciprocal, and the next with them, which differ between makes."""


def step(state, inputs, params):
    x, y = inputs
    return tuple(row.function(*(x, y)[: row.operands]) for row in NUMERIC)


@pytest.fixture(scope="module", autouse=True)
def compilers():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@pytest.fixture(scope="module")
def sources():
    traced = TracedStep(step, (len(NUMERIC), 2, 0), 1, 33, torch.float32)
    return cpu_source.forward(traced), cpu_source.backward(traced, (True,) * (len(NUMERIC) + 2))


def instructions(source, triple, cpu):
    """All of a kernel, in order, with what they work on; its object file is looked at, too."""
    machine = targets.create_machine(cpu, "", triple)
    module = kernel.optimise(source, 32, 8, machine)
    assert object_file.is_whole(machine.emit_object(module))
    return re.findall(r"^\s+([a-z][\w.]*)[ \t]*([^\n]*)$", machine.emit_assembly(module), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(("triple", "cpu"), [*ARM, *X86, *OTHERS])
def test_nothing_is_estimated(sources, triple, cpu):
    for source in sources if cpu in ("generic", "x86-64") else sources[:1]:
        names = [name for name, _ in instructions(source, triple, cpu)]
        assert any("div" in name for name in names)
        assert not [name for name in names if re.fullmatch(ESTIMATES, name.split(".")[0])]


@pytest.mark.parametrize(("triple", "cpu"), ARM)
def test_on_arm_the_kernel_flushes_as_on_x86(sources, triple, cpu):
    found = instructions(sources[0], triple, cpu)
    assert not [name for name, operands in found if re.search(r"%[xyz]mm|%r[a-z]|mxcsr", name + operands)]
    text = "\n".join(f"{name} {operands}" for name, operands in found)
    assert re.findall(r"^(m[rs]+) .*FPCR", text, re.MULTILINE) == ["mrs", "msr", "msr"]  # read; set; put back
    head, work, tail = re.split(r"^msr\s.*$", text, flags=re.MULTILINE)
    assert re.search(r"^orr (\w+), \w+, #0x1000000$", head, re.MULTILINE)  # the bit FZ
    assert "fdiv" in work
    assert not re.search(r"^(f\w+|bl) ", head + tail, re.MULTILINE)


@pytest.mark.parametrize(("triple", "cpu"), OTHERS)
def test_elsewhere_nothing_is_set(sources, triple, cpu):
    assert not [name for name, _ in instructions(sources[0], triple, cpu) if name.startswith(("mtfs", "mffs"))]


def test_the_family_of_a_process():
    triples = ["x86_64-apple-darwin", "amd64-portbld-freebsd", "arm64-apple-darwin", "aarch64-pc-windows-msvc"]
    assert [targets.family(triple) for triple in triples] == ["x86", "x86", "arm", "arm"]
    assert targets.family("riscv64-unknown-linux-gnu") == "riscv64"
    assert targets.family("armv7l-unknown-linux-gnueabihf") != "arm"  # 32 bits have no FPCR


@pytest.mark.parametrize("triple", ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"])
def test_features_of_x86_are_asked_for_on_x86_alone(monkeypatch, triple):
    monkeypatch.setattr(llvm, "get_process_triple", lambda: triple)
    _, features = targets.choose_processor()
    assert ("-prefer-256-bit" in features.split(",")) == (triple == "x86_64-unknown-linux-gnu")
