"""The base class of the layers with a delta rule."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.nn.matrix_memory.decay_gate import DecayGate
from remanence.nn.matrix_memory.matrix_memory import Drive, MatrixMemory, apply_episodes, apply_gate, normalize
from remanence.ops.delta_rule.operation import evolve
from remanence.ops.episodes import Episodes


class DeltaRuleMemory(MatrixMemory):
    """A matrix for each head that decays, is corrected by the delta rule, and is read; the readings are normalised."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int | None,
        key_size: int | None,
        conv_size: int | None,
        num_householder: int = 1,
        allow_negative_eigenvalues: bool,
        forget_gate: bool = False,
        output_gate: bool,
    ):
        super().__init__(
            input_size,
            hidden_size,
            num_heads=num_heads,
            key_size=key_size,
            conv_size=conv_size,
            writes=num_householder,
            decay_gate=DecayGate if forget_gate else None,
            output_gate=output_gate,
        )
        self.beta_max = 2.0 if allow_negative_eigenvalues else 1.0
        self.norm = nn.RMSNorm(self.value_size, eps=1e-5)

    def reset_parameters(self) -> None:
        """Draw every parameter anew; the gains of the norm start at 1."""
        super().reset_parameters()
        self.norm.reset_parameters()

    def _recur(self, drive: Drive, S: Tensor, episodes: Episodes | None) -> tuple[Tensor, Tensor]:
        q, k, v = self._activate(drive.q, drive.k, drive.v)
        beta, log_decay, reset = apply_episodes(episodes, self.beta_max * torch.sigmoid(drive.beta), drive.log_decay)
        y, S = evolve(q, k, v, beta, S, log_decay, reset)
        return apply_gate(self.norm(y), drive.gate), S

    def _activate(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return normalize(F.silu(q)), normalize(F.silu(k)), F.silu(v)
