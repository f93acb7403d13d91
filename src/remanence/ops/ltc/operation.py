"""Checks the arguments of sums over synapses and of liquid neurons over time, and chooses their kernels."""

from collections.abc import Sequence
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from remanence._kernels import addressing, launch
from remanence.errors import UserError
from remanence.ops import autocast
from remanence.ops.dispatch import BackendName, choose, record
from remanence.ops.eager import run_eagerly
from remanence.ops.episodes import Episodes, select_last
from remanence.ops.ltc import dense, gpu, reference, sparse
from remanence.ops.ltc.autograd import EvolutionKernel, SynapseSumKernel
from remanence.ops.ltc.edges import Edges, SynapseParameters
from remanence.ops.ltc.evolution import Evolution


@run_eagerly
def sum_synapses(
    x: Float[Tensor, "*batch senders"], edges: Edges, parameters: SynapseParameters, *, backend: BackendName = "auto"
) -> tuple[Float[Tensor, "*batch receivers"], Float[Tensor, "*batch receivers"]]:
    """Sum over the synapses of each receiver: Σ_j w_ij σ(γ_ij (x_j - μ_ij)), and the same with every term times E_ij.

    Args:
        x: values of the senders, [..., senders].
        edges: which senders and receivers are connected.
        parameters: w, γ, μ and E, [edges] each.
        backend: ``"reference"``, the plain formula; ``"cpu"``, kernels compiled by LLVM; ``"gpu"``, Triton kernels; or
            ``"auto"`` (default), the fastest that applies.

    Returns:
        The two sums, conductance and current, [..., receivers] each.

    Raises:
        ValueError: shapes, dtypes or devices do not match, or the backend is unknown or cannot run on these tensors.
    """
    x, *rest = autocast.widen((x, *parameters))
    parameters = SynapseParameters(*rest)
    _check_tensor("x", x, (*x.shape[:-1], edges.senders), x)
    _check_parameters(edges, parameters, x)
    layout = _choose_layout(backend, (x, *parameters), x.numel() // max(1, x.shape[-1]), edges)
    if layout is None or x.ndim < 2:
        return reference.sum_synapses(x, edges, parameters)
    kernel = SynapseSumKernel(layout, edges)
    sums = record(kernel, (x.flatten(0, -2), *parameters))
    conductance, current = (each.unflatten(0, x.shape[:-1]) for each in sums)
    return conductance, current


@run_eagerly
def evolve(
    v: Float[Tensor, "batch neurons"],
    conductance: Float[Tensor, "batch time neurons"],
    current: Float[Tensor, "batch time neurons"],
    capacitance: Float[Tensor, " neurons"],
    edges: Edges,
    parameters: SynapseParameters,
    *,
    sub_steps: int,
    timespans: Float[Tensor, "batch time"] | None = None,
    backend: BackendName = "auto",
    episodes: Episodes | None = None,
) -> tuple[Float[Tensor, "batch time neurons"], Float[Tensor, "batch neurons"]]:
    """Advance liquid neurons over time by the semi-implicit Euler rule::

        C_i dv_i/dt = Q_i - P_i v_i + Σ_j w_ij σ(γ_ij (v_j - μ_ij)) (E_ij - v_i)
        v_i <- v_i + Δ (Q_i + Σ w σ(.) E - G_i v_i) / (C_i + Δ G_i)
        G_i = P_i + Σ w σ(.),    Δ = timespan / sub_steps

    which is ``(C/Δ v + Q + Σ w σ E) / (C/Δ + G)``, written so that Δ = 0 leaves v exactly as it is.

    Args:
        v: potentials before the first step, [batch, neurons].
        conductance: P, the sum of the conductances of the leak and of the inputs, without those of the synapses between
            the neurons, [batch, time, neurons].
        current: Q, the sum of these conductances times their potentials, [batch, time, neurons].
        capacitance: C, [neurons].
        edges: which neurons are connected.
        parameters: w, γ, μ and E, [edges] each.
        sub_steps: number of steps of the Euler rule in each time step.
        timespans: how long each time step lasts, [batch, time], in units of C / conductance; default: 1.
        backend: as in :func:`sum_synapses`.
        episodes: where samples are reset and end; default: nowhere. The states after the end of a sample are undefined.

    Returns:
        The potentials after every time step, [batch, time, neurons], and after the last real one, [batch, neurons].

    Raises:
        ValueError: shapes, dtypes or devices do not match, ``sub_steps`` is below 1, or the backend is unknown or
            cannot run on these tensors.
    """
    spans = capacitance.new_ones(1, 1) if timespans is None else timespans.to(v.dtype)
    if sub_steps < 1:
        raise UserError(f"sub_steps must be at least 1, got {sub_steps}")
    tensors = autocast.widen((v, conductance, current, spans / sub_steps, capacitance, *parameters))
    if episodes is not None:
        tensors = (*tensors, episodes.reset.to(v.dtype), *autocast.widen(episodes.reset_state))
    given = Evolution.from_tensors(tensors, edges, sub_steps)
    _check(given, timed=timespans is not None)
    if given.conductance.shape[1] == 0:
        return given.conductance, given.v
    layout = None if _would_lose_gradient(given) else _choose_layout(backend, given.tensors, v.shape[0], edges)
    if layout is None:
        states, last = reference.evolve(given)
    else:
        states, last = record(EvolutionKernel(layout, edges, sub_steps), given.tensors)
    return states, select_last(states, last, given.v, episodes and episodes.lengths)


def _would_lose_gradient(given: Evolution) -> bool:
    """Return whether a kernel, which divides the change of v in a sub-step by Δ, would lose the gradient of some Δ."""
    delta = given.delta
    asked = delta.requires_grad and torch.is_grad_enabled() and addressing.are_readable(delta) and delta.numel() > 0
    return asked and bool(delta.min() < torch.finfo(delta.dtype).eps ** 0.5)


def _check(given: Evolution, *, timed: bool) -> None:
    """Check that the shapes match; otherwise a kernel would read out of bounds."""
    v, edges = given.v, given.edges
    if given.conductance.ndim != 3 or edges.receivers != edges.senders:
        raise UserError(
            "evolve expected conductance [batch, time, neurons] and edges among as many neurons, got "
            f"{list(given.conductance.shape)} and {edges.receivers} receivers, {edges.senders} senders"
        )
    batch, time, neurons = given.conductance.shape[0], given.conductance.shape[1], edges.receivers
    _check_tensor("v", v, (batch, neurons), v)
    _check_tensor("conductance", given.conductance, (batch, time, neurons), v)
    _check_tensor("current", given.current, (batch, time, neurons), v)
    _check_tensor("timespans", given.delta, (batch, time) if timed else (1, 1), v)
    _check_tensor("capacitance", given.capacitance, (neurons,), v)
    if given.reset is not None and given.first is not None:
        _check_tensor("episodes.reset", given.reset, (batch, time), v)
        _check_tensor("episodes.reset_state", given.first, (batch, neurons), v)
    _check_parameters(edges, given.parameters, v)


def _check_parameters(edges: Edges, parameters: SynapseParameters, like: Tensor) -> None:
    for name, values in parameters._asdict().items():
        _check_tensor(f"parameters.{name}", values, (len(edges),), like)


def _check_tensor(name: str, tensor: Tensor, shape: Sequence[int], like: Tensor) -> None:
    if tensor.shape != tuple(shape) or tensor.dtype != like.dtype or tensor.device != like.device:
        raise UserError(
            f"expected {name} to be {list(shape)} of {like.dtype} on {like.device}, "
            f"got {list(tensor.shape)} of {tensor.dtype} on {tensor.device}"
        )


def _choose_layout(backend: str, tensors: Sequence[Tensor], samples: int, edges: Edges) -> ModuleType | None:
    """Return the module whose kernels run, or None for the reference."""
    like = tensors[0]
    options = {"cpu": lambda: launch.refuses(like), "gpu": lambda: gpu.refuses(like)}
    name = choose(backend, tensors, like, options)
    return {"reference": None, "gpu": gpu}.get(name) if name != "cpu" else _choose_cheapest(edges, samples, like.dtype)


def _choose_cheapest(edges: Edges, samples: int, dtype: torch.dtype) -> ModuleType:
    return min((dense, sparse), key=lambda layout: layout.cost(edges, samples, dtype))
