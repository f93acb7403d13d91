"""Flip-flops with synapses between pairs, run as one network of liquid neurons."""

import numpy as np
import torch
from torch import Tensor

from remanence.errors import UserError
from remanence.nn.flip_flop_step import Neuron
from remanence.nn.synapses import Synapses
from remanence.ops.episodes import Episodes
from remanence.ops.ltc import Edges, SynapseParameters, evolve
from remanence.wiring import Wiring

SHARE = 0.2
"""Initial total conductance of the synapses from other pairs, relative to a neuron's tonic conductance."""


class Lateral(Synapses):
    """Synapses between flip-flops: A_ij ≠ 0 is a synapse from q_j to q_i and one from q_j to r_i, with A_ij's sign.

    Neurons are numbered q of every pair first, then r of every pair.

    Args:
        wiring: A.

    Raises:
        ValueError: the diagonal of A is not zero.
    """

    def __init__(self, wiring: Wiring):
        pairs = wiring.neurons
        if np.diagonal(wiring.adjacency).any():
            raise UserError(
                "the diagonal of the wiring must be 0, since flip-flops have synapses to themselves anyway, got edges "
                f"from the pairs {np.flatnonzero(np.diagonal(wiring.adjacency))[:5].tolist()} to themselves"
            )
        super().__init__(np.concatenate([wiring.adjacency, wiring.adjacency]))
        q = np.arange(pairs)
        r = q + pairs
        # Mutual synapses to q and r, self-synapses of q and r, then those from other pairs.
        between = [self._fixed[name].array for name in ("receiver", "sender")]
        receiver, sender = np.concatenate([q, r, q, r, between[0]]), np.concatenate([r, q, q, r, between[1]])
        order = np.argsort(receiver * 2 * pairs + sender)
        for name, places in (("order", order), ("all_receiver", receiver[order]), ("all_sender", sender[order])):
            self.fix(name, places)
        self._network: Edges | None = None

    order: Tensor
    all_receiver: Tensor
    all_sender: Tensor

    def reset_for(self, tonic: Tensor) -> None:
        """Reinitialise the parameters so that these synapses are weak relative to ``tonic``, [2, pairs]."""
        self.reset_parameters()
        receiver = self._fixed["receiver"].array
        many = torch.from_numpy(np.bincount(receiver)[receiver]).to(self.receiver.device)
        share = SHARE * tonic.flatten()[self.receiver] / many
        with torch.no_grad():
            self.log_weight += share.log()

    @property
    def network(self) -> Edges:
        """All synapses, within and between pairs, sorted by receiver."""
        if self._network is None or self._network.receiver is not self.all_receiver:  # moved to another device since
            self._network = Edges(self.all_receiver, self.all_sender, self.receivers, self.receivers, ordered=True)
        return self._network

    def evolve(
        self,
        state: tuple[Tensor, Tensor],
        neurons: tuple[Neuron, Neuron],
        capacitance: Tensor,
        outside: tuple[Tensor, Tensor],
        sub_steps: int,
        timespans: Tensor | None,
        episodes: Episodes | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Compute q over time, [batch, time, pairs], and the last (q, r).

        Args:
            state: (q, r), [batch, pairs] each.
            neurons: rates (conductances divided by C) and currents of q and r.
            capacitance: C, [2, pairs].
            outside: rates and currents of the inputs, [batch, time, 2 pairs].
            sub_steps: number of sub-steps K in a time step.
            timespans: duration of each step, [batch, time]; None: 1.
            episodes: as for :func:`remanence.ops.ltc.evolve`, except that ``reset_state`` is (q, r).
        """
        both = Neuron(*(torch.cat(fields) for fields in zip(*neurons, strict=True)))
        rate, current = outside
        between = self.synapse_parameters
        of_pairs = SynapseParameters(
            weight=torch.cat([both.mutual, both.onto_itself, between.weight / capacitance.flatten()[self.receiver]]),
            slope=torch.cat([both.mutual_slope, both.onto_itself_slope, between.slope]),
            threshold=torch.cat(
                [
                    -both.mutual_offset / both.mutual_slope,
                    -both.onto_itself_offset / both.onto_itself_slope,
                    between.threshold,
                ]
            ),
            potential=torch.cat(
                [both.mutual_current / both.mutual, both.onto_itself_current / both.onto_itself, between.potential]
            ),
        )
        if episodes:
            episodes = episodes._replace(reset_state=(torch.cat(episodes.reset_state, -1),))
        over_time, last = evolve(
            torch.cat(state, -1),
            rate + both.leak,
            current + both.leak_current,
            torch.ones_like(both.leak),
            self.network,
            SynapseParameters(*(values[self.order] for values in of_pairs)),
            sub_steps=sub_steps,
            timespans=timespans,
            episodes=episodes,
        )
        q, r = last.chunk(2, -1)
        return over_time[..., : over_time.shape[-1] // 2], (q, r)
