"""One block of a transformer."""

from torch import Tensor, nn


class Block(nn.Module):
    """``x + mixer(norm(x))``, then ``x + MLP(norm(x))`` (pre-norm: Xiong et al. 2020, figure 1b).

    Args:
        mixer: maps x [batch, time, width] and a mask [batch, time] to what is added to x; a memory takes resets too.
        width: channels.
        mlp: number of hidden units of the MLP, which have a GELU.
        dropout: after the mixer and after both layers of the MLP.
    """

    def __init__(self, mixer: nn.Module, width: int, mlp: int, dropout: float):
        super().__init__()
        self.mixer_norm, self.mixer, self.dropout = nn.LayerNorm(width), mixer, nn.Dropout(dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp), nn.GELU(), nn.Dropout(dropout), nn.Linear(mlp, width), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None, reset: Tensor | None = None) -> Tensor:
        """Apply the block to x [batch, time, width]; ``mask`` and ``reset`` [batch, time] are passed to the mixer."""
        given = (mask,) if reset is None else (mask, reset)  # attention knows no resets
        x = x + self.dropout(self.mixer(self.mixer_norm(x), *given))
        return x + self.mlp(self.mlp_norm(x))
