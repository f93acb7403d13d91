"""A network without layers, whose neurons fire in a given order."""

import math
import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from remanence._kernels.addressing import are_readable
from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.fastlane.connections import resolve_neurons, resolve_sensory, resolve_wiring
from remanence.nn.fastlane.effective_map import FastlaneOverflowWarning, compute_effective_map, describe_overflow
from remanence.nn.memory import Memory
from remanence.nn.persistent import NONLINEARITIES, Nonlinearity, check_nonlinearity
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes
from remanence.ops.firing.firing_schedule import Schedule
from remanence.ops.firing.operation import fire
from remanence.wiring import Adjacency, Wiring, firing_order
from remanence.wiring.order import Neurons, OrderName

DENSE_FROM = 0.35
"""The density of edges from which it is faster to treat missing edges as edges of weight 0."""


class Fastlane(Memory):
    """A network without layers: neurons fire one after the other, each connected to any others except itself.

    Within a time step, in the order of firing::

        n_a <- f((1 - leak) n_a + Σ_{i≠a} w_ai n_i + Σ_k u_ak x_k + b_a)

    so neurons that fire earlier already have their new value, and those that fire later still have the previous one.
    Values persist: a neuron without input keeps its value (indefinitely with ReLU and no leak).

    A ReLU network can grow without bound; :meth:`spectral_radius` tells when, and ``leak``, ``max_norm`` and
    ``initial_edges`` limit the growth. Values that overflow cause a :class:`FastlaneOverflowWarning`.

    Args:
        input_size: number of input channels.
        hidden_size: number of neurons N.
        wiring: the connections (:mod:`remanence.wiring`), or a matrix or graph that :meth:`Wiring.of` accepts, without
            edges from a neuron to itself; signs are ignored. The wiring may also define which neurons receive the
            inputs, and layers, the last of which is the output. Default: a random wiring of the given ``density``.
        density: the probability of each edge, if no wiring is given; default: 1, all edges.
        order: the order of firing: ``"index"`` (default), ``"random"``, ``"topology"`` (few edges lead to a neuron
            that fired earlier), or a list of all neurons; see :func:`remanence.wiring.firing_order`.
            :func:`remanence.nn.fastlane.learn_order` learns an order from data.
        inputs: the neurons that receive the inputs; default: all, or those that the wiring defines.
        outputs: the neurons whose values are the output; default: all, or the last layer of the wiring.
        ticks: number of times that each neuron fires in a time step, with the same input; default: 1.
        nonlinearity: f: ``"relu"`` (default), ``"leaky_relu"``, ``"tanh"``, ``"sigmoid"``, ``"softplus"``,
            ``"identity"``, or any pointwise function of PyTorch.
        leak: the fraction of its value that a neuron loses in each firing, from 0 (default) to 1.
        max_norm: the upper bound of Σ_i |w_ai| for every neuron a; larger weights are scaled down in use. Below
            ``leak`` the network is stable: with ReLU, tanh or identity, a state within ± (the largest drive) /
            (leak - max_norm) stays within this range. Default: None, no bound.
        initial_edges: the number of edges into each neuron whose initial weight is not 0 (sparse initialisation,
            Martens 2010, section 5); default: None, all.
        seed: the seed of ``density`` and of the random order; default: 0.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih (u) [hidden_size, input_size], weight_hh (w) [hidden_size, hidden_size] (its diagonal is not used) and
        bias (b) [hidden_size]. If edges are missing, weight_ih or weight_hh is a vector with one entry for each edge
        that exists, sorted by receiver, then by sender.

    State:
        n [batch, hidden_size], initially zero.

    Raises:
        ValueError: an argument is out of range, or arguments contradict each other.

    Example:
        >>> layer = Fastlane(3, 20, density=0.2, order="topology", inputs=[0, 1, 2], outputs=[18, 19])
        >>> y, n = layer(torch.randn(2, 5, 3))
        >>> y.shape, n.shape
        (torch.Size([2, 5, 2]), torch.Size([2, 20]))
    """

    order: Tensor
    outputs: Tensor
    sensory: Tensor

    steps_in_graph = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        wiring: Wiring | Adjacency | None = None,
        density: float = 1.0,
        order: OrderName | Neurons = "index",
        inputs: Neurons | None = None,
        outputs: Neurons | None = None,
        ticks: int = 1,
        nonlinearity: Nonlinearity = "relu",
        leak: float = 0.0,
        max_norm: float | None = None,
        initial_edges: int | None = None,
        seed: int = 0,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        graph = resolve_wiring(wiring, density, positive_integer("hidden_size", hidden_size), seed)
        read = graph.outputs if outputs is None else resolve_neurons("outputs", outputs, hidden_size)
        super().__init__(input_size, hidden_size, len(read))
        if not 0 <= leak <= 1:
            raise UserError(f"leak must be between 0 and 1, got {leak}")
        if max_norm is not None and not max_norm > 0:
            raise UserError(f"max_norm must be above 0 or None, got {max_norm}")
        if initial_edges is not None:
            positive_integer("initial_edges", initial_edges)
        self.nonlinearity = check_nonlinearity(nonlinearity)
        self.ticks = positive_integer("ticks", ticks)
        self.leak, self.max_norm, self.initial_edges = float(leak), max_norm, initial_edges
        self.fix_wiring(graph, follows=True)
        self.fix("order", firing_order(graph, order, seed), saved=True, follows=True)
        self.fix("outputs", read, saved=True, follows=True)
        receives = resolve_sensory(graph, inputs, input_size)
        self.fix("sensory", receives, saved=True, follows=True)
        is_complete = len(graph.edges) == hidden_size * (hidden_size - 1)
        self.weight_ih = nn.Parameter(torch.empty(receives.shape if receives.all() else (int(receives.sum()),)))
        self.weight_hh = nn.Parameter(torch.empty((hidden_size, hidden_size) if is_complete else (len(graph.edges),)))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self._warned_of_overflow = False
        self.schedule = self._build_schedule()
        self.register_load_state_dict_post_hook(_rebuild_schedule)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise weight_ih and bias uniformly in ±1/√hidden_size, weight_hh in ±1/hidden_size.

        With ±1/√hidden_size for all, as in ``torch.nn.RNN``, the values of a dense ReLU network of 256 neurons would
        grow by a factor of 1.5 per step.
        """
        bound = 1 / math.sqrt(self.hidden_size)
        with torch.no_grad():
            self.weight_ih.uniform_(-bound, bound)
            self.bias.uniform_(-bound, bound)
            self.weight_hh.uniform_(-(bound**2), bound**2)
            if self.weight_hh.ndim == 2:
                self.weight_hh.fill_diagonal_(0)
            if self.initial_edges is not None:
                self.weight_hh.mul_(self._draw_edges(self.initial_edges))

    def fire_in(self, order: Neurons) -> None:
        """Change the order of firing.

        Args:
            order: a permutation of all neurons; the first one fires first.

        Raises:
            ValueError: a neuron is missing or listed twice.
        """
        new = firing_order(self.schedule.wiring, order)
        self.fix("order", new, saved=True, follows=True)
        self.schedule = self._build_schedule()

    def weights(self) -> Float[Tensor, "hidden hidden"]:
        """Return w as it is used: [receivers, senders], 0 without an edge, scaled to ``max_norm``."""
        return self.schedule.matrix(self._bound_weights())

    def input_weights(self) -> Float[Tensor, "hidden input"]:
        """Return u, 0 where a neuron does not receive an input."""
        if self.weight_ih.ndim == 2:
            return self.weight_ih
        return self.weight_ih.new_zeros(self.sensory.shape).masked_scatter(self.sensory, self.weight_ih)

    @torch.no_grad()
    def effective_map(self, slopes: Float[Tensor, " hidden"] | None = None) -> Float[Tensor, "hidden hidden"]:
        """Compute the Jacobian J of one time step, by which a small change δ of the state becomes J δ.

        Args:
            slopes: f' of each neuron, [hidden_size]: with ReLU, 1 for an active neuron and 0 for a silent one;
                default: 1.

        Returns:
            J, [hidden_size, hidden_size].
        """
        rank = torch.from_numpy(self.schedule.rank).to(self.bias.device)
        return compute_effective_map(self.weights(), rank, 1 - self.leak, self.ticks, slopes)

    def spectral_radius(self, slopes: Float[Tensor, " hidden"] | None = None) -> float:
        """Compute the asymptotic factor by which a small change of the state grows per time step.

        Above 1, values grow exponentially while these neurons are active; below 1, they are forgotten. With a leak of 0
        and only excitatory weights, it is 1 if the graph has no cycle and above 1 if it has one.

        Args:
            slopes: f' of each neuron, [hidden_size]; default: 1.

        Returns:
            The spectral radius of :meth:`effective_map`; NaN if a weight is NaN.
        """
        J = self.effective_map(slopes)
        return float(torch.linalg.eigvals(J).abs().max()) if J.isfinite().all() else math.nan

    @property
    def _reads_all(self) -> bool:
        return np.array_equal(self._fixed["outputs"].array, np.arange(self.hidden_size))

    def _build_schedule(self) -> Schedule:
        """Build the schedule of firing from the wiring and the order."""
        f = self.nonlinearity
        function = f if callable(f) else NONLINEARITIES[f]
        return Schedule(self.wiring, self._fixed["order"].array, function, self.ticks, 1 - self.leak)

    def _run(self, x: Tensor, state: Tensor, *, episodes: Episodes | None = None) -> tuple[Tensor, Tensor]:
        # Neurons first, the batch last, so that a neuron computes with contiguous values of the batch.
        batch, time, _ = x.shape
        inputs = x.transpose(0, 1).reshape(time * batch, -1)
        drive = torch.addmm(self.bias[:, None], self.input_weights(), inputs.T).unflatten(1, (time, batch))
        weight = self._bound_weights()
        if episodes:
            episodes = episodes._replace(reset_state=tuple(s.T for s in episodes.reset_state))
        if weight.ndim == 1 and len(weight) > DENSE_FROM * self.hidden_size**2:
            weight = self.schedule.matrix(weight)
        values, final = fire(self.schedule, drive, state.T, weight, episodes=episodes)
        self._watch_overflow(values.detach())
        read = values if self._reads_all else values.index_select(0, self.outputs)
        return read.flatten(1).T.contiguous().unflatten(0, (time, batch)).transpose(0, 1), final.T

    def _advance(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self._run(x_t[:, None], state)
        return y[:, 0], state

    def _watch_overflow(self, values: Tensor) -> None:
        if self._warned_of_overflow or not are_readable(values) or (found := describe_overflow(values)) is None:
            return
        self._warned_of_overflow = True
        warnings.warn(
            f"{self}: {found}. With all neurons active, values grow by {self.spectral_radius():.3g} in a step: use a "
            f"leak (now {self.leak:g}), a max_norm below it (now {self.max_norm}) or initial_edges (now "
            f"{self.initial_edges}), or clip gradients.",
            FastlaneOverflowWarning,
            stacklevel=4,
        )

    def _bound_weights(self) -> Tensor:
        """Return weight_hh scaled to ``max_norm``."""
        weight = self.weight_hh
        if self.max_norm is None:
            return weight
        norm = self.schedule.matrix(weight).abs().sum(1)
        scale = self.max_norm / norm.clamp(min=self.max_norm)
        if weight.ndim == 2:
            return weight * scale[:, None]
        return weight * scale[torch.from_numpy(self.schedule.edges[:, 0]).to(weight.device)]

    def _draw_edges(self, count: int) -> Tensor:
        """Draw ``count`` edges into each neuron: 1 for these and 0 for the others, in the layout of weight_hh."""
        receives = self.wiring.adjacency != 0
        exists = torch.from_numpy(receives)
        chance = torch.rand(receives.shape, device="cpu").masked_fill(~exists, -1)
        chosen = torch.zeros_like(chance).scatter(1, chance.topk(min(count, len(receives)), 1).indices, 1)
        return (chosen if self.weight_hh.ndim == 2 else chosen[exists]).to(self.weight_hh)

    def extra_repr(self) -> str:
        """Return the sizes that ``print(layer)`` shows."""
        more = f"edges={len(self.schedule.edges)}, ticks={self.ticks}, nonlinearity={self.nonlinearity}"
        return f"{super().extra_repr()}, {more}"


def _rebuild_schedule(layer: Fastlane, incompatible: Any) -> None:
    layer.schedule = layer._build_schedule()
