"""The firing of neurons as the source of kernels.

A kernel takes ``LANES`` samples through all of time. The values of the neurons are stored in ``held``, a row of lanes
each, in the order of firing. A neuron reads its senders there, so it reads the new value of a sender that has already
fired and the old value of one that has not. The backward kernel is the same sweep in reverse order, with gradients
instead of values and receivers instead of senders.

Names: ``k`` a neuron's place in the order, ``a`` the neuron, ``s`` a firing; ``at`` is an address.
"""

from remanence._kernels.kernel_source import HEAD, KernelSource
from remanence._kernels.source_text import fill_template
from remanence.ops.scan.cpu_body import Body
from remanence.ops.scan.trace import TracedStep

SIZES = ("neurons", "time", "ticks", "batch")
ROWS = 8
"""How many neurons of a dense graph add up the values of the others together."""

_KERNEL = """\
def {name}({arguments}):
    row = batch * SIZE
    width = LANES * SIZE
    steps = time * ticks
    rows = (neurons + ROWS - 1) // ROWS * ROWS
    held = work_at + part * (rows + ROWS) * width
    totals = held + rows * width
    keep = broadcast(keep_at)
    for unit in range(begin, end):
        offset = unit * width
        samples = batch - unit * LANES
        inside = first(samples)
        for k in range(rows):
            store_full(held + k * width, lanes(0.0))
        {start}
        for i in range(steps):
            {step}
            {anew}
            {sweep}
"""

_ANEW = """\
if ({first}) % ticks == 0 and ({first}) < steps:
    renewed = load(reset_at + ({first}) // ticks * row + offset, inside)
    for k in range(neurons):
        value = {value}
        store_full(held + k * width, where(renewed != 0.0, value, load_full(held + k * width)))
"""
"""The lines before the first firing of a time step: samples that are reset get new values and pass no gradients."""

_START = """\
for k in range(neurons):
    begin_at = values_at + integer(order_at + 8 * k) * (steps + 1) * row
    store(held + k * width, load(begin_at + offset, inside), inside)
"""

_SPARSE = """\
heard = first(read)
for k in range(neurons):
    a = integer(order_at + 8 * k)
    total = muladd(keep, load_full(held + k * width), {arriving})
    other = lanes(0.0)
    e = integer(first_at + 8 * a)
    last = integer(first_at + 8 * a + 8)
    while e + 3 < last:
        {two_edges}
        e += 2
        {two_edges}
        e += 2
    while e < last:
        total = muladd(broadcast(weight_at + e * SIZE), load_full(held + integer(heard_at + 8 * e) * width), total)
        e += 1
    total = total + other
    {fire}
    store(held + k * width, n, inside)
"""

_TWO_EDGES = """\
total = muladd(broadcast(weight_at + e * SIZE), load_full(held + integer(heard_at + 8 * e) * width), total)
other = muladd(broadcast(weight_at + (e + 1) * SIZE), load_full(held + integer(heard_at + 8 * e + 8) * width), other)
"""

_DENSE = """\
for k in range(0, rows, ROWS):
    weights = weight_at + k * rows * SIZE
    {zeros}
    for j in range(k):
        {others}
    for j in range(k + ROWS, rows):
        {others}
    {store}
    {triangle}
"""

_OTHERS = """\
value = load_full(held + j * width)
at = weights + j * ROWS * SIZE
"""

_TRIANGLE = """\
last = ROWS if k + ROWS < neurons else neurons - k
heard = first(read)
for r in range(last):
    a = integer(order_at + 8 * (k + r))
    total = muladd(keep, load_full(held + (k + r) * width), load_full(totals + r * width))
    total = total + {arriving}
    weights_in = weights + (k * ROWS + r) * SIZE
    for q in range(last):
        if q != r:
            total = muladd(broadcast(weights_in + q * ROWS * SIZE), load_full(held + (k + q) * width), total)
    {fire}
    store(held + (k + r) * width, n, inside)
"""

_WEIGH = """\
def forward({arguments}):
    width = LANES * SIZE
    size = steps * batch
    chunk = CHUNK * LANES
    for begins in range(0, size, chunk):
        count = chunk if size - begins > chunk else size - begins
        full = count // LANES
        rest = first(count - full * LANES)
        for a in range(begin, end):
            grads = grads_at + (a * size + begins) * SIZE
            for e in range(integer(first_at + 8 * a), integer(first_at + 8 * a + 8)):
                firing = integer(sender_at + 8 * e) * (steps + 1) + integer(new_at + 8 * e)
                values = values_at + (firing * batch + begins) * SIZE
                total = lanes(0.0)
                other = lanes(0.0)
                for i in range(0, full - 1, 2):
                    at = i * width
                    total = muladd(load_full(grads + at), load_full(values + at), total)
                    at += width
                    other = muladd(load_full(grads + at), load_full(values + at), other)
                if full % 2 == 1:
                    at = (full - 1) * width
                    total = muladd(load_full(grads + at), load_full(values + at), total)
                at = full * width
                total = muladd(load(grads + at, rest), load(values + at, rest), total)
                add_total(sums_at + e * SIZE, total + other)
"""


def forward(function: TracedStep, *, dense: bool, resets: bool) -> KernelSource:
    """Write the kernel from ``drive`` to ``values``, the first of which are given, and ``before``, f's arguments.

    With ``resets``, samples are reset to the values ``anew``.
    """
    body = Body(function.forward)
    fire = ["h0 = total", *body.once, *body.every_step, f"n = {body.vector(function.forward.outputs[0])}"]
    fire += [
        f"store({_address('values', 's + 1', 'steps + 1')}, n, inside)",
        f"store({_address('before')}, h0, inside)",
    ]
    step = "s = i\nread = samples"
    anew = fill_template(_ANEW, first="s", value="load(anew_at + integer(order_at + 8 * k) * row + offset, inside)")
    own = ("drive", "values", "before", *(("reset", "anew") if resets else ()))
    return _write_kernel("forward", own, _START, step, fire, dense, anew if resets else "")


def backward(function: TracedStep, *, dense: bool, resets: bool) -> KernelSource:
    """Write the kernel from ``above``, gradients of the values over time, to ``grads``, those of f's arguments."""
    graph = function.vjp((True,))
    body = Body(graph)
    fire = ["g0 = total", f"h0 = load({_address('before')}, inside)"]
    fire += [
        *body.once,
        *body.every_step,
        f"n = {body.vector(graph.outputs[0])}",
        f"store({_address('grads')}, n, inside)",
    ]
    step = "s = steps - 1 - i\nread = samples if i % ticks == 0 else 0  # outputs are what the last firing left"
    own = ("above", "grads", "before", *(("reset",) if resets else ()))
    anew = fill_template(_ANEW, first="s + 1", value="lanes(0.0)") if resets else ""
    return _write_kernel("backward", own, "", step, fire, dense, anew)


def weight_gradient() -> KernelSource:
    """Write the kernel for the gradients of the weights: sums over time and batch of gradient times the value read."""
    arguments = (*HEAD, *"steps batch values_at grads_at first_at sender_at new_at sums_at".split())
    return KernelSource(_WEIGH.replace("CHUNK", "16").format(arguments=", ".join(arguments)), arguments)


def _write_kernel(
    name: str, own: tuple[str, ...], start: str, step: str, fire: list[str], dense: bool, anew: str
) -> KernelSource:
    tensors = ("order", "keep", "work", *own, "weight", *(() if dense else ("first", "heard")))
    arguments = (*HEAD, *SIZES, *(f"{tensor}_at" for tensor in tensors))
    parts = {"arriving": f"load({_address(own[0], 's // ticks', 'time')}, heard)", "fire": "\n".join(fire)}
    sweep = (
        _write_dense_sweep(fill_template(_TRIANGLE, **parts))
        if dense
        else fill_template(_SPARSE, two_edges=_TWO_EDGES, **parts)
    )
    text = fill_template(
        _KERNEL, name=name, arguments=", ".join(arguments), start=start, step=step, anew=anew, sweep=sweep
    )
    return KernelSource(text.replace("ROWS", str(ROWS)), arguments)


def _write_dense_sweep(triangle: str) -> str:
    """Write a sweep that adds up the values of all other neurons in registers, then, one by one, those of the block."""
    others = [f"total{r} = muladd(broadcast(at + {r} * SIZE), value, total{r})" for r in range(ROWS)]
    return fill_template(
        _DENSE,
        zeros="\n".join(f"total{r} = lanes(0.0)" for r in range(ROWS)),
        others=_OTHERS + "\n".join(others),
        store="\n".join(f"store_full(totals + {r} * width, total{r})" for r in range(ROWS)),
        triangle=triangle,
    )


def _address(name: str, place: str = "s", places: str = "steps") -> str:
    """Return the address of the row of a neuron at a firing in [neurons, firings, batch]."""
    return f"{name}_at + (a * ({places}) + {place}) * row + offset"
