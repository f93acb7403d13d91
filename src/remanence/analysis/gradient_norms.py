"""Gradient flow: how much of a loss's gradient reaches earlier states."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import BLUE, GREEN, GREY, ORANGE, get_axes
from remanence.analysis.step import Step
from remanence.nn.elman import Elman


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """Norms of the gradient over time, and upper bounds.

    Attributes:
        norms: ‖∂L/∂h_t‖ for t = 0 (the state before the first step) to T, [batch, time + 1].
        jacobian_bound: ``b_t = d_t + ‖J_{t+1}‖ b_{t+1}``, [batch, time + 1], where J is the Jacobian of the step, ‖·‖
            its largest singular value, and d_t the norm of the gradient that h_t receives directly from L, not through
            later states. If L depends only on the last state, this is ‖∂L/∂h_T‖ Π ‖J_k‖. None if not requested.
        weight_bound: the same with ‖W‖ ‖diag σ'‖ instead of ‖J‖, as in the theory of vanishing gradients; None unless
            the network is ``h = σ(W h + V x + b)``.
    """

    norms: Float[Tensor, "batch states"]
    jacobian_bound: Float[Tensor, "batch states"] | None
    weight_bound: Float[Tensor, "batch states"] | None

    def horizon(self, share: float = 0.01) -> Float[Tensor, " batch"]:
        """Count the steps, backwards in time, until the gradient falls below a fraction of its value at the last state.

        Meant for a loss at the end of the sequence.

        Args:
            share: the fraction of the norm at the last state with a gradient; default: 0.01.

        Returns:
            The number of steps, [batch]; infinite if the norm does not fall below the fraction.
        """
        return self._find_first(lambda ratio: ratio < share)

    def explodes(self, factor: float = 100.0) -> Float[Tensor, " batch"]:
        """Count the steps, backwards in time, until the gradient exceeds a multiple of its value at the last state.

        Args:
            factor: the multiple; default: 100. A gradient that is not finite exceeds it.

        Returns:
            The number of steps, [batch]; infinite if the norm does not exceed the multiple.
        """
        return self._find_first(lambda ratio: ~(ratio <= factor))

    def _find_first(self, is_past: Callable[[Tensor], Tensor]) -> Tensor:
        steps = []
        for backwards in self.norms.flip(1):
            arrived = torch.nonzero(backwards)[:, 0]
            from_there = backwards[arrived[0] :] if len(arrived) else backwards[:0]
            found = torch.nonzero(is_past(from_there / from_there[:1]))[:, 0]
            steps.append(float(found[0]) if len(found) else torch.inf)
        return torch.tensor(steps, dtype=self.norms.dtype)

    def plot(self, axes: Any = None) -> Any:
        """Plot norm and bounds over time (geometric means over the batch), with a dotted line at the 1% horizon.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        axes = get_axes(axes)
        for values, name, colour, style in (
            (self.norms, r"$\|\partial L/\partial h_t\|$", BLUE, "-"),
            (self.jacobian_bound, r"bound $\prod\|J_k\|$", GREEN, "--"),
            (self.weight_bound, r"bound $\prod\|W\|\,\|\mathrm{diag}\,\sigma'\|$", ORANGE, "-."),
        ):
            if values is not None:
                mean = values.double().log().mean(0).exp().cpu()
                axes.semilogy(mean.where(mean > 0, torch.nan), style, color=colour, label=name)
        horizon = self.horizon().median()
        if horizon.isfinite():
            last = int(torch.nonzero(self.norms[0])[-1])
            axes.axvline(last - float(horizon), color=GREY, linestyle=":", label=f"1% after {int(horizon)} steps")
        axes.set(xlabel="time step t", ylabel="norm", title="Gradient flow")
        axes.legend(edgecolor="none")
        return axes


def gradient_flow(
    system: Any,
    x: Float[Tensor, "batch time input"],
    loss: Callable[[Tensor, Tensor], Tensor],
    h: Float[Tensor, "batch size"] | None = None,
    *,
    bound: bool = True,
) -> GradientFlow:
    """Compute the norm of a loss's gradient with respect to every state of a sequence.

    Args:
        system: a system that :func:`as_step` accepts.
        x: the input, [batch, time, input].
        loss: a function ``loss(y, states)`` of the outputs [batch, time, ...] and the flat states after each step
            [batch, time, size]. If a step computes its output beside the new state and not from it (as in
            ``torch.nn.LSTM``, whose output is a copy of h), only a loss of the states has a gradient at the last state.
        h: the flat state before the first step, [batch, size]; default: the initial state.
        bound: whether to compute ``jacobian_bound``; default: True. For large states, its Jacobians cost far more than
            the gradient itself.

    Returns:
        The norm of the gradient at every state, and its upper bounds.

    References:
        Bengio, Simard, Frasconi 1994; Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, section 2.

    Example:
        >>> layer = torch.nn.RNN(3, 8, batch_first=True)
        >>> flow = gradient_flow(layer, torch.randn(2, 50, 3), lambda y, states: states[:, -1].square().sum())
        >>> bool((flow.norms <= 1.001 * flow.jacobian_bound).all())
        True
    """
    step = as_step(system)
    before, after, direct = _run_with_gradients(step, x, loss, step.start(x, h))
    norms = [direct[-1].norm(dim=-1)]
    g = direct[-1]
    # From the last step to the first: the direct gradient, plus the gradient through the step.
    for earlier, later, own in zip(before[::-1], after[::-1], direct[-2::-1], strict=True):
        (through,) = torch.autograd.grad(later, earlier, g, materialize_grads=True)
        g = own + through
        norms.append(g.norm(dim=-1))
    stretch = _compute_jacobian_norms(step, x, torch.stack([state.detach() for state in before], 1)) if bound else None
    weights = _compute_weight_factors(system, torch.stack([state.detach() for state in after], 1))
    own = [d.norm(dim=-1) for d in direct]
    bounds = (None if factors is None else _accumulate_bounds(own, factors) for factors in (stretch, weights))
    return GradientFlow(torch.stack(norms[::-1], 1), *bounds)


def _compute_jacobian_norms(step: Step, x: Tensor, states: Tensor) -> Tensor:
    """Compute ‖J‖ of every step."""
    jacobians = step.jacobian(x.flatten(0, 1), states.flatten(0, 1))
    return torch.linalg.matrix_norm(jacobians, 2).unflatten(0, x.shape[:2])


def _run_with_gradients(
    step: Step, x: Tensor, loss: Callable[[Tensor, Tensor], Tensor], h: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return the states before every step (detached), the states after it, and the direct gradient of every state.

    If a step computes its output beside the new state, the output's gradient belongs to the state before the step.
    """
    before, after, outputs = [], [], []
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for x_t in x.detach().unbind(1):
            h = h.detach().requires_grad_()
            y_t, state = step.advance(x_t, h)
            before.append(h)
            after.append(state)
            outputs.append(y_t)
            h = state
        last = h.detach().requires_grad_()
        ends = [*before[1:], last]
        value = loss(torch.stack(outputs, 1), torch.stack(ends, 1)).sum()
        direct = torch.autograd.grad(value, [*before, last], retain_graph=True, materialize_grads=True)
    return before, after, list(direct)


def _accumulate_bounds(direct: list[Tensor], factors: Tensor) -> Tensor:
    bounds = [direct[-1]]
    for own, factor in zip(direct[-2::-1], factors.unbind(1)[::-1], strict=True):
        bounds.append(own + factor * bounds[-1])
    return torch.stack(bounds[::-1], 1)


def _compute_weight_factors(system: Any, states: Tensor) -> Tensor | None:
    """Compute ‖W‖ ‖diag σ'‖ of every step, with σ' from the state after it: 1 - h² for tanh, 1 or 0 for ReLU."""
    weight: Any
    if isinstance(system, Elman | nn.RNNCell):
        weight = system.weight_hh
    elif isinstance(system, nn.RNN) and system.num_layers == 1:
        weight = system.weight_hh_l0
    else:
        return None
    slope = 1 - states.square() if system.nonlinearity == "tanh" else (states > 0).to(states.dtype)
    return torch.linalg.matrix_norm(weight.detach(), 2) * slope.amax(-1)
