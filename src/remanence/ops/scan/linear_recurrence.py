"""Solves the linear recurrence h_t = A_t h_{t-1} + b_t for all time steps at once, in plain tensor operations."""

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 16
"""The number of time steps in a chunk; they are processed one after another, in all chunks at once."""


def solve(
    a: Float[Tensor, "*rows states batch time channels"],
    b: Float[Tensor, "states batch time channels"],
    start: Float[Tensor, "states batch channels"] | None = None,
    *,
    reverse: bool = False,
) -> Float[Tensor, "states batch time channels"]:
    """Compute all h_t of ``h_t = A_t h_{t-1} + b_t``.

    This is an associative scan that moves few bytes. Time is divided into chunks of :data:`CHUNK` steps. One pass
    through all chunks at once composes the steps of each into one affine map; the same recurrence over those maps,
    CHUNK times shorter, gives the state at the end of each chunk; a second pass fills in the states between. The depth
    is O(CHUNK log T); A and b are read twice; for n states the extra memory is about 2 (n² + n) / CHUNK numbers per
    step and element (one channel of one sample).

    Args:
        a: A_t, ``[to, from, batch, time, channels]``; or only its diagonal, ``[state, batch, time, channels]``.
        b: b_t.
        start: h before the first step; default: zero.
        reverse: solve ``h_t = A_t h_{t+1} + b_t`` instead; ``start`` is then h after the last step.

    Source: Blelloch 1990, Prefix sums and their applications, section 1.4.
    """
    h = torch.empty_like(b)
    _fill(a, b, h, torch.zeros_like(b[..., 0, :]) if start is None else start, reverse)
    return h


def _fill(a: Tensor, b: Tensor, h: Tensor, before: Tensor, reverse: bool) -> None:
    """Write the solution to ``h``."""
    time = b.shape[-2]
    chunks = time // CHUNK
    if chunks < 2:
        _walk(a, b, h, before, _time_order(time, reverse))
        return
    whole = slice(time - chunks * CHUNK, time) if reverse else slice(0, chunks * CHUNK)
    # [..., batch, CHUNK, chunks, channels]: one step along the third axis from the right is a step of every chunk.
    parts = [x[..., whole, :].unflatten(-2, (chunks, CHUNK)).transpose(-2, -3) for x in (a, b, h)]
    steps = _time_order(CHUNK, reverse)
    starts = torch.empty_like(parts[1].select(-3, 0))
    first, others, last = (-1, slice(None, -1), 0) if reverse else (0, slice(1, None), -1)
    starts[..., first, :] = before
    product, shift = _compose(parts[0], parts[1], steps)
    sources = slice(1, None) if reverse else slice(None, -1)
    _fill(product[..., sources, :], shift[..., sources, :], starts[..., others, :], before, reverse)
    walked = starts
    for t in steps:
        walked = _step(parts[0].select(-3, t), parts[1].select(-3, t), parts[2].select(-3, t), walked)
    offset = 0 if reverse else chunks * CHUNK
    rest = [offset + t for t in _time_order(time - chunks * CHUNK, reverse)]
    _walk(a, b, h, walked[..., last, :], rest)


def _time_order(time: int, reverse: bool) -> list[int]:
    return list(range(time))[:: -1 if reverse else 1]


def _walk(a: Tensor, b: Tensor, h: Tensor, before: Tensor, steps: list[int]) -> None:
    for t in steps:
        before = _step(a.select(-2, t), b.select(-2, t), h.select(-2, t), before)


def _compose(a: Tensor, b: Tensor, steps: list[int]) -> tuple[Tensor, Tensor]:
    """Compute for each chunk the affine map from the state before it to the state at its end."""
    product, shift = a.select(-3, steps[0]), b.select(-3, steps[0])
    for t in steps[1:]:
        a_t, b_t = a.select(-3, t), b.select(-3, t)
        shift = _step(a_t, b_t, torch.empty_like(shift), shift)
        product = a_t * product if a.ndim == b.ndim else _product(a_t, product)
    return product, shift


def _product(left: Tensor, right: Tensor) -> Tensor:
    product = left[:, 0, None] * right[0]
    for k in range(1, right.shape[0]):
        product.addcmul_(left[:, k, None], right[k])
    return product


def _step(a: Tensor, b: Tensor, out: Tensor, before: Tensor) -> Tensor:
    """Write ``A h + b`` to ``out``, which must not be ``before``."""
    if a.ndim == b.ndim:
        return torch.addcmul(b, a, before, out=out)
    torch.addcmul(b, a[:, 0], before[0], out=out)
    for k in range(1, before.shape[0]):
        out.addcmul_(a[:, k], before[k])
    return out
