"""Is the scan on a GPU as fast as memory allows, and how does it compare with what a user has today?

Bounds for float32, S states and I inputs. A step of an element (one channel of one sample) reads I and writes S numbers
forwards; backwards it reads I inputs, S states and as many gradients as states are used, and writes I gradients. At 1
sub-step of a flip-flop (S = I = 2) that is 16 bytes forwards and 28 backwards when only q is used. The kernels come to
some 150 and 300 machine instructions a step (disassembled for compute capability 9.0), so that a GPU of 132
multiprocessors, 4 instructions a cycle each at 1.7 GHz, is busy for as long with one sub-step as 4 TB/s with its bytes:
one sub-step is at the border between the two, six are bound by arithmetic. With few elements, only the latency of a
step counts, a chain of some 15 dependent operations and two exponentials: 0.1 to 0.2 µs, 2 to 3 ms for 16,384 steps. A
parallel search over time (Newton) has to pass over all states and Jacobians several times in an iteration.

Steps with matrices. A GRU of H units takes 3H² multiply-adds a sample and step forwards, as many in the backward
kernel, and as many in one matrix product over all steps. It moves 7H numbers forwards, of which it saves 3H, 15H
backwards, and 4H for that product: 0.3 TFLOP and 14 GB for 1024 samples of 128 units and 1000 steps, 5 ms at 60 TFLOP/s
and 4 ms at 4 TB/s, if the batch fills the GPU. If it does not, a step takes the time of its instructions and waits.
For 64 units and up to 128 samples a program has one sample and the matrix in registers; a thread executes 170
instructions a step forwards and 294 backwards (disassembled for compute capability 9.0), 8 warps on 4 schedulers 340
and 590; barriers and what is read after them add some 300 cycles: 0.4 and 0.5 µs a step at 1.7 GHz. The plain loop
launches 8 kernels a step forwards and some 25 backwards, 3 µs each at best.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from _interleaved import measure_medians, show
from rich.console import Console
from rich.table import Table

from remanence import nn
from remanence.nn.gated import gru_step, lstm_step
from remanence.ops.scan import scan
from remanence.ops.scan.trace import Step

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import delta_rule
import slstm

Shape = tuple[int, ...]


def leaky(state, inputs, params):
    return (params[0] * state[0] + inputs[0],)


class Problem:
    """Flip-flops (or a leaky sum, at 0 sub-steps) with random gates, forwards and backwards by any backend."""

    def __init__(self, sub_steps: int, batch: int, length: int, channels: int, device: str = "cuda"):
        layer = nn.CFF(1, channels, sub_steps=max(1, sub_steps), horizon=length).to(device)
        params = layer._params().detach()
        both = 2 if sub_steps else 1
        self.step = layer._step if sub_steps else leaky
        self.params = [x.clone().requires_grad_() for x in params] if sub_steps else [torch.full_like(params[0], 0.9)]
        self.state = [x.detach() for x in layer.initial_state(batch)][:both]
        drawn = (torch.randn(batch, length, channels, device=device) for _ in range(both))
        self.inputs = [x.requires_grad_() for x in drawn]
        self.above = torch.randn(batch, length, channels, device=device)
        self.wanted = [*self.inputs, *(x for x in self.params if x.requires_grad)]

    def forward(self, backend: str = "gpu"):
        with torch.no_grad():
            return scan(self.step, self.inputs, self.state, self.params, backend=backend)[0]

    def run_both_ways(self, backend: str = "gpu"):
        states, _ = scan(self.step, self.inputs, self.state, self.params, backend=backend)
        return torch.autograd.grad(states[0], self.wanted, self.above)

    def run_loop(self, inputs, state, params):
        """The same in plain PyTorch, for torch.compile."""
        history = []
        for x_t in zip(*(x.unbind(1) for x in inputs), strict=True):
            state = self.step(state, x_t, params)
            history.append(state[0])
        return torch.stack(history, 1)

    def numbers(self, *, backward: bool) -> int:
        """How many numbers must be read and written."""
        sequences = 2 * len(self.inputs) + (2 * len(self.inputs) + len(self.state) + 1 if backward else 0)
        return sequences * self.above.numel()


def list_shapes(cell: str, units: int) -> tuple[Step, list[Shape], list[Shape], list[Shape]]:
    """Return the step of a cell, and the shapes of its inputs, states and params, without batch and time."""
    heads, half = 4, units // 4
    return {
        "GRU": (gru_step, [(3 * units,)], [(units,)], [(3 * units, units), (3 * units,)]),
        "LSTM": (lstm_step, [(4 * units,)], [(units,), (units,)], [(4 * units, units)]),
        "sLSTM, 4 heads": (slstm.step, [(heads, 4 * half)], [(heads, half)] * 4, [(heads, half, 4 * half)]),
        "delta rule": (delta_rule.step, [(units,)] * 3 + [(1,)], [(units, units), (units,)], []),
    }[cell]


class CellProblem:
    """A cell with matrices, forwards and backwards by any backend, for a loss of its last state."""

    def __init__(self, cell: str, batch: int, length: int, units: int, device: str = "cuda"):
        self.step, inputs, states, params = list_shapes(cell, units)
        scale = units**-0.5
        self.inputs = [(scale * torch.randn(batch, length, *s, device=device)).requires_grad_() for s in inputs]
        self.state = [torch.ones(batch, *s, device=device) for s in states]
        self.params = [(scale * torch.randn(s, device=device)).requires_grad_() for s in params]

    def forward(self, backend: str = "gpu"):
        with torch.no_grad():
            return scan(self.step, self.inputs, self.state, self.params, backend=backend)[0]

    def run_both_ways(self, backend: str = "gpu"):
        states, _ = scan(self.step, self.inputs, self.state, self.params, backend=backend)
        loss = states[-1 if len(self.state) == 2 and not self.params else 0].square().mean()
        return torch.autograd.grad(loss, [*self.inputs, *self.params])

    def operations(self) -> int:
        """How many floating-point operations the products with parameters take, forwards and backwards."""
        batch, length = self.inputs[0].shape[:2]
        return 6 * batch * length * sum(weight.numel() for weight in self.params if weight.ndim > 1)


def wait_after(call: Callable[[], object]) -> Callable[[], None]:
    def run():
        call()
        torch.cuda.synchronize()

    return run


def bandwidth(batch: int = 1024, length: int = 512, channels: int = 64):
    """Against copying as many bytes."""
    title = f"{batch * channels} elements, {length} steps, float32: against a copy of as many bytes"
    table = Table("", "ms", "copy, ms", "ratio", title=title, title_justify="left")
    for sub_steps, name in ((0, "leaky sum"), (1, "flip-flop"), (6, "flip-flop, 6 sub-steps")):
        problem = Problem(sub_steps, batch, length, channels)
        for backward, call in ((False, problem.forward), (True, problem.run_both_ways)):
            copied = torch.empty(problem.numbers(backward=backward) // 2, device="cuda")
            figures = measure_medians({"scan": wait_after(call), "copy": wait_after(copied.clone)})
            ratio = figures["scan"] / figures["copy"]
            label = f"{name}, {'forward + backward' if backward else 'forward'}"
            table.add_row(label, f"{1e3 * figures['scan']:.2f}", f"{1e3 * figures['copy']:.2f}", f"{ratio:.2f}")
    Console().print(table)


def peers(batch: int = 32, length: int = 128, channels: int = 64):
    """Against what a user has today; the compiled loop takes minutes to compile."""
    for sub_steps in (1, 6):
        problem = Problem(sub_steps, batch, length, channels)
        lstm = torch.nn.LSTM(16, channels, batch_first=True, device="cuda")
        x = torch.randn(batch, length, 16, device="cuda", requires_grad=True)
        compiled = torch.compile(problem.run_loop)

        def run_lstm(lstm=lstm, x=x, problem=problem):
            return torch.autograd.grad(lstm(x)[0], [x, *lstm.parameters()], problem.above)

        def run_compiled(compiled=compiled, problem=problem):
            states = compiled(problem.inputs, problem.state, problem.params)
            return torch.autograd.grad(states, problem.wanted, problem.above)

        ways = {
            "scan": problem.run_both_ways,
            "torch.nn.LSTM(16, 64)": run_lstm,
            "the loop, eager": partial(problem.run_both_ways, "reference"),
            "the loop, torch.compile": run_compiled,
        }
        for name in ("scan", "the loop, torch.compile"):
            start = time.perf_counter()
            wait_after(ways[name])()
            print(f"{name}: first call {time.perf_counter() - start:.1f} s")
        title = f"batch {batch}, time {length}, {channels} channels, {sub_steps} sub-steps, forward + backward"
        show(title, measure_medians({name: wait_after(call) for name, call in ways.items()}), "scan")


CELLS = ("GRU", "LSTM", "sLSTM, 4 heads", "delta rule")
LAYERS = ("alstm", "cfc", "orthogonal", "urnn", "eunn", "fast_weights")


def cells(sizes=((32, 128, 64), (32, 128, 256), (1024, 128, 64), (1024, 128, 128))):
    """Cells with matrices against their plain loop, and against cuDNN's where it has the cell."""
    for batch, length, units in sizes:
        for cell in CELLS:
            problem = CellProblem(cell, batch, length, units)
            ways = {"scan, forward": problem.forward, "scan": problem.run_both_ways}
            ways["the loop"] = partial(problem.run_both_ways, "reference")
            if cell in ("GRU", "LSTM"):
                kind = getattr(torch.nn, cell)
                ways["cuDNN"] = LayerProblem(kind(units, units, batch_first=True), batch, length, units).run_both_ways
            title = f"{cell}: batch {batch}, time {length}, {units} units, forward + backward"
            figures = measure_medians({name: wait_after(call) for name, call in ways.items()}, repeats=7)
            show(title, figures, "scan")
            if problem.params:
                print(f"{problem.operations() / figures['scan'] / 1e12:.2f} TFLOP/s")


class LayerProblem:
    """A layer, forwards and backwards."""

    def __init__(self, layer: torch.nn.Module, batch: int, length: int, inputs: int, device: str = "cuda"):
        self.layer = layer.to(device)
        self.x = torch.randn(batch, length, inputs, device=device, requires_grad=True)

    def run_both_ways(self):
        loss = self.layer(self.x)[0].square().mean()
        return torch.autograd.grad(loss, [self.x, *self.layer.parameters()], allow_unused=True)


def layers(batch: int = 32, length: int = 128, units: int = 64):
    """Layers whose step has matrices, against torch.nn.LSTM with as many units."""
    made = {name: nn.create(name, input_size=16, hidden_size=units) for name in LAYERS}
    made["torch.nn.LSTM"] = torch.nn.LSTM(16, units, batch_first=True)
    ways = {name: wait_after(LayerProblem(layer, batch, length, 16).run_both_ways) for name, layer in made.items()}
    title = f"layers: batch {batch}, time {length}, {units} units, forward + backward"
    show(title, measure_medians(ways, repeats=7), "torch.nn.LSTM")


def newton(batch: int = 64, length: int = 16_384, channels: int = 64):
    """All steps at once against one after the other."""
    problem = Problem(1, batch, length, channels)
    ways = {name: wait_after(partial(problem.run_both_ways, name)) for name in ("gpu", "newton")}
    title = f"{batch * channels} elements, {length} steps, flip-flop, forward + backward"
    show(title, measure_medians(ways, repeats=5), "gpu")


if __name__ == "__main__":
    if torch.cuda.is_available():
        torch.manual_seed(0)
        bandwidth()
        peers()
        cells()
        layers()
        newton()
    else:
        print("no CUDA GPU here: nothing measured")
