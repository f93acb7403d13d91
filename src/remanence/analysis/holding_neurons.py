"""Holding: which neurons keep a value after it was set, and the net input that they receive meanwhile."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import get_axes
from remanence.errors import UserError
from remanence.extras import require_extra
from remanence.nn.fastlane import Fastlane
from remanence.nn.memory import Memory
from remanence.nn.persistent import PersistentLinear
from remanence.ops.firing.operation import fire

MOST = 0.5  # a neuron that holds for more than this fraction of the time is a holder
NAMED = 40  # maximum number of neurons whose names fit into a plot


@dataclass(frozen=True, eq=False)
class Holding:
    """The values and the net input of neurons over time, and when each neuron held its value.

    Attributes:
        values: n_t after each firing, [batch, time, neurons].
        net_input: the net input of each neuron when it fired, ``Σ_{i≠a} w_ai n_i + Σ_k u_ak x_k + b_a``, with the new
            values of neurons that had already fired in this step and the previous values of the others, [batch, time,
            neurons].
        held: whether the neuron held its value in this step, [batch, time, neurons].
        weights: w, [receivers, senders]; 0 without a connection.
        input_weights: u, [neurons, inputs].
        order: the indices of the neurons in the order of firing.
        outputs: the indices of the neurons whose values are the output.
    """

    values: Float[Tensor, "batch time neurons"]
    net_input: Float[Tensor, "batch time neurons"]
    held: Bool[Tensor, "batch time neurons"]
    weights: Float[Tensor, "neurons neurons"]
    input_weights: Float[Tensor, "neurons inputs"]
    order: Int[Tensor, " neurons"]
    outputs: Int[Tensor, " outputs"]

    @cached_property
    def share(self) -> Float[Tensor, " neurons"]:
        """The fraction of all steps of all sequences in which each neuron held, [neurons]."""
        return self.held.double().mean((0, 1))

    @property
    def holders(self) -> Int[Tensor, " holders"]:
        """The indices of the neurons that hold for more than half of the time."""
        return torch.nonzero(self.share > MOST)[:, 0]

    def plot(self, axes: Any = None, *, sample: int = 0) -> Any:
        """Plot the values of one sequence over time, normalised by each neuron's largest value, best holders on top.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.
            sample: index of the sequence in the batch; default: 0.

        Returns:
            The axes.
        """
        axes = get_axes(axes)
        ranked = self.share.argsort(descending=True, stable=True)
        values = self.values[sample].T[ranked].cpu()
        largest = self.values.abs().amax((0, 1))[ranked, None].cpu()
        shown = values / largest.where(largest > 0, 1)
        image = axes.imshow(shown.numpy(), aspect="auto", interpolation="nearest", cmap="RdBu", vmin=-1, vmax=1)
        axes.figure.colorbar(image, ax=axes, label="value, of the neuron's largest")
        count = len(self.holders)
        between = 0 < count < len(ranked)
        if between:
            axes.axhline(count - 0.5, color="black", linewidth=1)
        if len(ranked) <= NAMED:
            axes.set_yticks(range(len(ranked)), [str(int(neuron)) for neuron in ranked])
        else:
            axes.set_yticks([])
        title = f"{count} of {len(ranked)} neurons hold" + " (above the line)" * between
        axes.set(xlabel="time step", ylabel="neuron", title=title)
        axes.grid(visible=False)
        return axes

    def to_networkx(self) -> Any:
        """Convert to a ``networkx.DiGraph`` of the neurons 0, 1, ... and the inputs "x0", "x1", ...

        Edges go from sender to receiver and have a ``weight``. Neurons have the attributes ``place`` (position in the
        order of firing), ``sensory`` (whether it receives an input), ``output``, ``share`` and ``holds``.

        Returns:
            The graph.
        """
        with require_extra("analysis", "a graph of neurons"):
            from remanence.analysis.neuron_graph import build_graph

        return build_graph(self)

    def graph(self, axes: Any = None) -> Any:
        """Draw the graph of :meth:`to_networkx`; see :func:`remanence.analysis.neuron_graph.draw_graph`.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        with require_extra("analysis", "a picture"):
            from remanence.analysis.neuron_graph import draw_graph

        return draw_graph(self, get_axes(axes))


@torch.no_grad()
def holding(
    layer: Memory,
    x: Float[Tensor, "batch time input"],
    h: Float[Tensor, "batch neurons"] | None = None,
    *,
    tolerance: float = 0.01,
    away: float = 0.1,
) -> Holding:
    """Find which neurons hold a value, and their net input meanwhile.

    Let R_a be the range of neuron a: the difference between its highest and its lowest value in all sequences, 0
    included. The neuron holds at step t if it keeps its value and this value is not its resting value 0::

        |n_t - n_{t-1}| ≤ tolerance R_a    and    |n_t| > away R_a

    It is called a holder if it holds in more than half of all steps. A neuron whose value is the same for all inputs,
    such as one saturated by its bias, holds as well; its values distinguish it from one that remembers.

    Args:
        layer: a :class:`~remanence.nn.PersistentLinear` or :class:`~remanence.nn.Fastlane`; with several ticks, each
            firing counts as a step.
        x: the input, [batch, time, input].
        h: the initial values, [batch, neurons]; default: zeros.
        tolerance: the largest change per step of a value that is held, as a fraction of the range; default: 0.01.
        away: the smallest distance from 0 of a value that is held, as a fraction of the range; default: 0.1.

    Returns:
        The values and the net input of every neuron over time, and when it held.

    Raises:
        ValueError: the layer is of another type, the input has a wrong shape, or a fraction is not between 0 and 1.

    Example:
        >>> layer = PersistentLinear(1, 1)
        >>> _ = layer.load_state_dict({"weight_ih": torch.ones(1, 1), "bias": torch.zeros(1)})
        >>> found = holding(layer, torch.tensor([[[1.0], [0.0], [0.0], [0.0]]]))  # set once, then left alone
        >>> found.values.flatten().tolist(), found.net_input.flatten().tolist(), found.share.tolist()
        ([1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.75])
    """
    if not isinstance(layer, PersistentLinear | Fastlane):
        raise UserError(f"holding is defined for PersistentLinear and Fastlane, got {type(layer).__name__}")
    for name, value in (("tolerance", tolerance), ("away", away)):
        if not 0 <= value <= 1:
            raise UserError(f"{name} must be a fraction of the range, between 0 and 1, got {value}")
    start = as_step(layer).start(x, h)
    run = _run_persistent(layer, x, start) if isinstance(layer, PersistentLinear) else _run_fastlane(layer, x, start)
    values, net_input, *graph = run
    seen = torch.cat([start[:, None], values], 1)
    extent = seen.amax((0, 1)).clamp_min(0) - seen.amin((0, 1)).clamp_max(0)
    held = (seen.diff(dim=1).abs() <= tolerance * extent) & (values.abs() > away * extent)
    return Holding(values, net_input, held, *graph)


def _run_persistent(layer: PersistentLinear, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    """Return the first fields of :class:`Holding` except ``held``, for a :class:`PersistentLinear`."""
    everyone = torch.arange(layer.hidden_size, device=x.device)
    net_input = F.linear(x, layer.weight_ih, layer.bias)
    none = x.new_zeros(len(everyone), len(everyone))
    return layer(x, h)[0], net_input, none, layer.weight_ih.detach(), everyone, everyone


def _run_fastlane(layer: Fastlane, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    """Return the fields of :class:`Holding` except ``held``, for a :class:`Fastlane`."""
    w, u = layer.weights(), layer.input_weights()
    drive = F.linear(x.repeat_interleave(layer.ticks, 1), u, layer.bias)
    values, _ = fire(replace(layer.schedule, ticks=1), drive.permute(2, 1, 0).contiguous(), h.T.contiguous(), w)
    values = values.permute(2, 1, 0)
    before = torch.cat([h[:, None], values[:, :-1]], 1)
    new = layer.schedule.fed_forward.to(x.device)
    net_input = drive + values @ torch.where(new, w, 0).T + before @ torch.where(new, 0, w).T
    return values, net_input, w.detach(), u.detach(), layer.order, layer.outputs
