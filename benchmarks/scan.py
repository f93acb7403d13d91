"""How fast a fused scan is, beside what a user would pick instead; writes benchmarks/results/scan.md.

The step is that of isolated continuous flip-flops with 13 parameters a channel, of 1 and 6 sub-steps, at batch 32, 128
steps, 64 channels in float32, forward and backward.

The bound, written down first. Additions, multiplications, comparisons and the like count 1; σ counts 17 (2 to clamp, 4
to cut the argument, 5 for the polynomial, 2 for the exponent, 1 + e, 3 for the reciprocal); a division counts 8, less
than the CPU needs for one (a vector of 16 every 16 cycles, where it could start 32 multiply-adds). A sub-step forward
has 4 σ, 2 divisions and about 32 others, 116 in all, and the step 2 σ more; a step back computes the forward pass again
and has some 130 others at one sub-step. Divided by the fused multiply-adds that two threads start in a second (measured
here by a loop of nothing else), that is the least time.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from functools import partial
from pathlib import Path

import llvmlite
import numba
import torch
from _interleaved import collect_samples, measure_medians
from torch import nn

from remanence._kernels import kernel
from remanence._kernels.kernel_source import HEAD, KernelSource
from remanence._kernels.threads import run as run_kernel
from remanence.nn import CFF
from remanence.ops.scan import cpu_source, scan
from remanence.ops.scan.pointwise_graph import Graph
from remanence.ops.scan.trace import TracedStep

BATCH, TIME, CHANNELS, INPUTS = 32, 128, 64, 16
RESULTS = Path(__file__).with_name("results") / "scan.md"
LENGTHS = (128, 512, 2048, 8192, 65536)
COST = {"sigmoid": 17, "div": 8}
lines: list[str] = []


def say(*cells: object) -> None:
    """A line of the report, a row of a table if it has several cells."""
    line = str(cells[0]) if len(cells) == 1 else f"| {' | '.join(str(cell) for cell in cells)} |"
    print(line, flush=True)
    lines.append(line)


def say_head(*head: str) -> None:
    say("")
    say(*head)
    say(*("---" for _ in head))


def flip_flop(sub_steps: int):
    def step(state, inputs, params):
        q, r = state
        C, g, V, w_m, y_m, mu_m, E_m, w_s, y_s, mu_s, E_s, E_q, E_r = params
        x_q, x_r = (C * torch.sigmoid(x) for x in inputs)
        for _ in range(sub_steps):
            q_m, r_m = (w_m * torch.sigmoid(y_m * (v - mu_m)) for v in (q, r))
            q_s, r_s = (w_s * torch.sigmoid(y_s * (v - mu_s)) for v in (q, r))
            q, r = (
                (C * sub_steps * q + g * V + r_m * E_m + q_s * E_s + x_q * E_q) / (C * sub_steps + g + r_m + q_s + x_q),
                (C * sub_steps * r + g * V + q_m * E_m + r_s * E_s + x_r * E_r) / (C * sub_steps + g + q_m + r_s + x_r),
            )
        return q, r

    return step


def random_params():
    return [(torch.rand(CHANNELS) + 0.5).requires_grad_() for _ in range(13)]


class Layer(nn.Module):
    """A linear layer for the input, then a scan, or a loop that does the same."""

    def __init__(self, sub_steps: int, run=scan):
        super().__init__()
        self.linear = nn.Linear(INPUTS, 2 * CHANNELS)
        self.own = nn.ParameterList(random_params())
        self.step, self.run = flip_flop(sub_steps), run

    def forward(self, x):
        state = [x.new_zeros(len(x), CHANNELS) for _ in range(2)]
        states, final = self.run(self.step, self.linear(x).unflatten(-1, (2, -1)), state, list(self.own))
        return states[0], final


def run_loop(step, inputs, state, params):
    """The loop that a user writes, over unbind, q alone kept."""
    over_time = []
    for x in zip(*(x.unbind(1) for x in inputs.unbind(2)), strict=True):
        state = step(state, x, params)
        over_time.append(state[0])
    return (torch.stack(over_time, 1),), state


def prepare_both_ways(layer: nn.Module, x: torch.Tensor, weights: torch.Tensor):
    def call():
        layer.zero_grad()
        (layer(x)[0] * weights).sum().backward()

    return call


def scan_alone(sub_steps: int, batch: int = BATCH, steps: int = TIME):
    step, params = flip_flop(sub_steps), random_params()
    inputs = [torch.randn(batch, steps, CHANNELS, requires_grad=True) for _ in range(2)]
    state = [torch.zeros(batch, CHANNELS) for _ in range(2)]
    weights = torch.randn(batch, steps, CHANNELS)
    everything = (*inputs, *params)

    def call():
        for x in everything:
            x.grad = None
        torch.autograd.backward(scan(step, inputs, state, params)[0][0], weights)

    return call


def in_jax(sub_steps: int):
    """The same scan by jax.lax.scan under jit; None where there is no jax."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None
    params = [jnp.asarray(p.detach().numpy()) for p in random_params()]
    inputs = [jnp.asarray(torch.randn(TIME, BATCH, CHANNELS).numpy()) for _ in range(2)]
    step = flip_flop(sub_steps)
    sigmoid, torch.sigmoid = torch.sigmoid, jax.nn.sigmoid  # the step's text, read by JAX

    def loss(inputs, params):
        def body(state, x):
            state = step(state, x, params)
            return state, state[0]

        zero = jnp.zeros((BATCH, CHANNELS))
        return jax.lax.scan(body, (zero, zero), tuple(inputs))[1].sum()

    gradient = jax.jit(jax.grad(loss, (0, 1)))
    try:
        jax.block_until_ready(gradient(inputs, params))
    finally:
        torch.sigmoid = sigmoid
    return lambda: jax.block_until_ready(gradient(inputs, params))


def against_others(compiled_steps: int | None, repeats: int) -> None:
    x, weights = torch.randn(BATCH, TIME, INPUTS), torch.randn(BATCH, TIME, CHANNELS)
    for sub_steps, targets in ((1, (5, 40, 10)), (6, (1, 60, 100))):
        ways = {
            "remanence.scan, whole layer": prepare_both_ways(Layer(sub_steps), x, weights),
            "torch.nn.LSTM(16, 64)": prepare_both_ways(nn.LSTM(INPUTS, CHANNELS, batch_first=True), x, weights),
            "the eager loop over unbind": prepare_both_ways(Layer(sub_steps, run_loop), x, weights),
        }
        if jaxed := in_jax(sub_steps):
            ways["jax.lax.scan under jit"] = jaxed
        ways["remanence.scan alone"] = scan_alone(sub_steps)
        ways["remanence.nn.CFF(16, 64)"] = prepare_both_ways(CFF(INPUTS, CHANNELS, sub_steps=sub_steps), x, weights)
        seconds = collect_samples(ways, repeats)
        ours = statistics.median(next(iter(seconds.values())))
        least = min(next(iter(seconds.values())))
        goals = dict(zip(list(ways)[1:], targets, strict=False))
        heads = ("ms", "times ours", "best, ms", "times our best", "target")
        say_head(f"{sub_steps} sub-step{'s' * (sub_steps > 1)}, forward + backward", *heads)
        for name, values in seconds.items():
            median, best = statistics.median(values), min(values)
            figures = (f"{1e3 * median:.2f}", f"{median / ours:.2f}", f"{1e3 * best:.2f}", f"{best / least:.2f}")
            say(name, *figures, goals.get(name, "") if "remanence" not in name else "")
        if not jaxed:
            say("jax.lax.scan under jit", "not installed", "", "", "", targets[2])
    if compiled_steps:
        against_compiled(compiled_steps, repeats)


def against_compiled(steps: int, repeats: int) -> None:
    x, weights = torch.randn(BATCH, steps, INPUTS), torch.randn(BATCH, steps, CHANNELS)
    start = time.perf_counter()
    compiled = torch.compile(Layer(1, run_loop))
    prepare_both_ways(compiled, x, weights)()
    took = time.perf_counter() - start
    ways = {"ours": prepare_both_ways(Layer(1), x, weights), "torch.compile": prepare_both_ways(compiled, x, weights)}
    seconds = measure_medians(ways, repeats)
    say_head(f"1 sub-step, {steps} steps", "ms", "times ours", "target")
    say("remanence.scan, whole layer", f"{1e3 * seconds['ours']:.2f}", "1", "")
    ratio = seconds["torch.compile"] / seconds["ours"]
    say(
        f"torch.compile of the loop ({took:.0f} s to compile)",
        f"{1e3 * seconds['torch.compile']:.2f}",
        f"{ratio:.2f}",
        10,
    )


def by_length(repeats: int) -> None:
    say_head("time steps (batch 16, 1 sub-step)", "µs a step, forward + backward", "ratio to 128")
    first = None
    for steps in LENGTHS:
        call = scan_alone(1, batch=16, steps=steps)
        seconds = measure_medians({"": call}, max(3, repeats * 128 // steps))[""] / steps
        first = first or seconds
        say(steps, f"{1e6 * seconds:.2f}", f"{seconds / first:.2f}")


def fixed_cost(repeats: int) -> None:
    """What a call costs before anything is computed, beside the plain loop of two steps and PyTorch's LSTM."""
    x, weights = torch.randn(1, 2, INPUTS), torch.randn(1, 2, CHANNELS)
    layers = {
        "remanence.scan, whole layer": Layer(1),
        "remanence.nn.CFF(16, 64)": CFF(INPUTS, CHANNELS),
        "the eager loop over unbind": Layer(1, run_loop),
        "torch.nn.LSTM(16, 64)": nn.LSTM(INPUTS, CHANNELS, batch_first=True),
    }
    ways = {f"{name}, forward": torch.no_grad()(partial(layer, x)) for name, layer in layers.items()}
    ways |= {f"{name}, forward + backward": prepare_both_ways(layer, x, weights) for name, layer in layers.items()}
    say_head("batch 1, 2 steps, 1 sub-step", "ms", "best, ms", "times the LSTM's")
    seconds = collect_samples(ways, 20 * repeats)
    for name, values in seconds.items():
        lstm = seconds[f"torch.nn.LSTM(16, 64), {name.rpartition(', ')[2]}"]
        median = statistics.median(values)
        say(name, f"{1e3 * median:.3f}", f"{1e3 * min(values):.3f}", f"{median / statistics.median(lstm):.2f}")


def by_threads(repeats: int) -> None:
    def with_threads(count, call):
        def run():
            torch.set_num_threads(count)
            call()

        return run

    say_head("threads, scan alone", "1, ms", "2, ms", "times faster", "target")
    for sub_steps in (1, 6):
        call = scan_alone(sub_steps)
        seconds = collect_samples({str(n): with_threads(n, call) for n in (1, 2)}, 4 * repeats)
        torch.set_num_threads(2)
        title = f"{sub_steps} sub-step{'s' * (sub_steps > 1)}"
        for how, pick in (("median", statistics.median), ("best", min)):
            one, two = pick(seconds["1"]), pick(seconds["2"])
            say(f"{title}, {how}", f"{1e3 * one:.2f}", f"{1e3 * two:.2f}", f"{one / two:.2f}", 1.7)


def multiply_adds(repeats: int, threads: int) -> float:
    """Fused multiply-adds of so many threads in a second: twenty registers, nothing but that."""
    lanes, count = 2 * kernel.vector_width(32), 100_000
    rows = [f"    c{i} = load(x0_at + {4 * lanes * i}, inside)" for i in range(10)]
    adds = [f"        c{i} = muladd(c{i}, a, b)" for i in range(10)]
    stores = [f"    store(x0_at + {4 * lanes * i}, c{i}, inside)" for i in range(10)]
    start = f"    inside = first({lanes})\n    a = load(x0_at, inside)\n    b = load(x0_at, inside)"
    text = "\n".join([start, *rows, "    for _ in range(time):", *adds, *stores, ""])
    place = cpu_source.Place("x", 0, 0)
    arguments = (*HEAD, *cpu_source.SIZES, *place.arguments)
    code = kernel.build(KernelSource(f"def forward({', '.join(arguments)}):\n{text}", arguments), 32, lanes)
    x = torch.rand(10 * lanes) / 2
    seconds: list[float] = []
    for _ in range(repeats):
        block = array("q", [0, threads, threads, 1, count, lanes, x.data_ptr()])
        start_time = time.perf_counter()
        run_kernel(code, block.buffer_info()[0], threads)
        seconds.append(time.perf_counter() - start_time)
    return threads * 10 * lanes * count / min(seconds)


def work(graph: Graph) -> int:
    """Operations of one element in one step, as the text at the top counts them."""
    counted = (node.op for node in graph.nodes if node.op not in ("state", "input", "param", "cotangent", "constant"))
    return sum(COST.get(op, 1) for op in counted)


def against_bound(repeats: int) -> None:
    alone, rate = (multiply_adds(10 * repeats, threads) for threads in (1, 2))
    say("")
    say(f"One thread starts {alone / 1e9:.0f} thousand million fused multiply-adds of float32 in a second,")
    say(f"two together {rate / 1e9:.0f}, {rate / alone:.2f} times as many: no kernel gains more by the second.")
    heads = ("operations", "bound, ms", "kernel and call, ms", "ratio", "best, ms", "ratio of the best", "target")
    say_head("against the arithmetic bound, 2 threads", *heads)
    from remanence.ops.scan import cpu

    for sub_steps in (1, 6):
        counts = (2, 2, 13)
        traced = TracedStep(flip_flop(sub_steps), counts, BATCH, CHANNELS, torch.float32)
        inputs = tuple(torch.randn(BATCH, TIME, CHANNELS) for _ in range(2))
        state = tuple(torch.zeros(BATCH, CHANNELS) for _ in range(2))
        params = tuple(p.detach() for p in random_params())
        needs = (True,) * sum(counts)
        states, grad = cpu.forward(traced, inputs, state, params), torch.randn(BATCH, TIME, CHANNELS)
        ways = {
            "forward": lambda t=traced, x=inputs, s=state, p=params: cpu.forward(t, x, s, p),
            "backward": lambda t=traced, x=inputs, s=state, p=params, n=needs, y=states, g=grad: cpu.backward(
                t, n, (x, s, p), y, [g, None], [None, None]
            ),
        }
        seconds = collect_samples(ways, 8 * repeats)
        for name, graph in (("forward", traced.forward), ("backward", traced.vjp(needs))):
            bound = work(graph) * BATCH * TIME * CHANNELS / rate
            row: list[object] = [
                f"{name}, {sub_steps} sub-step{'s' * (sub_steps > 1)}",
                work(graph),
                f"{1e3 * bound:.3f}",
            ]
            for value in (statistics.median(seconds[name]), min(seconds[name])):
                row += [f"{1e3 * value:.3f}", f"{value / bound:.1f}"]
            say(*row, 3)


def run_child(what: str, directory: str) -> str:
    environment = {**os.environ, "REMANENCE_CACHE_DIR": directory}
    command = [sys.executable, __file__, "--child", what]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def compile_times() -> None:
    """Of a fresh process, PyTorch loaded: to trace, then to build both kernels, LLVM's own start included."""
    say_head("6 sub-steps, seconds to", "trace and differentiate", "build both kernels", "target")
    with tempfile.TemporaryDirectory() as directory:
        for name, target in (("compile", 5), ("load from the disk", 0.3)):
            traced, built = run_child("compile", directory).split()
            say(name, traced, built, target)


def in_child(what: str) -> None:
    if what == "compile":
        start = time.perf_counter()
        traced = TracedStep(flip_flop(6), (2, 2, 13), BATCH, CHANNELS, torch.float32)
        needs = (True,) * 17
        traced.vjp(needs)
        middle = time.perf_counter()
        for source in (cpu_source.forward(traced), cpu_source.backward(traced, needs)):
            kernel.build(source, 32, 2 * kernel.vector_width(32))
        print(f"{middle - start:.2f} {time.perf_counter() - middle:.2f}")
    else:
        scan_alone(1)()
        before = read_peak()
        scan_alone(1, steps=8192)()
        print(read_peak() - before)


def read_peak() -> float:
    """MiB that this process held at most; getrusage would count those of the process that started it, too."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def memory() -> None:
    """Two inputs, two states, their weights (the gradient that comes in), two gradients of inputs."""
    with tempfile.TemporaryDirectory() as directory:
        run_child("memory", directory)  # the second process loads what the first compiled, so that no compiler counts
        most = float(run_child("memory", directory))
    least = 7 * 4 * BATCH * 8192 * CHANNELS / 2**20
    say_head("8192 steps", "MiB")
    say("inputs, states, gradients", f"{least:.0f}")
    say("peak", f"{most:.0f}")
    say("ratio (target 1.2)", f"{most / least:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--compiled-steps", type=int, default=0, help="also torch.compile the loop over so many steps")
    parser.add_argument("--child", choices=("compile", "memory"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    if options.child:
        in_child(options.child)
        return
    say("# What benchmarks/scan.py printed")
    say("")
    cpu_name = kernel._choose_processor()[0]
    versions = f"PyTorch {torch.__version__}, Numba {numba.__version__}, llvmlite {llvmlite.__version__}"
    machine = f"{platform.machine()} ({cpu_name} to LLVM), {os.cpu_count()} cores"
    say(f"{machine}, Python {platform.python_version()}, {versions}.")
    say(f"Load of the machine when it began: {os.getloadavg()[0]:.1f}. Medians of interleaved repeats.")
    against_others(options.compiled_steps, options.repeats)
    by_threads(options.repeats)
    against_bound(options.repeats)
    by_length(options.repeats)
    fixed_cost(options.repeats)
    compile_times()
    memory()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
