"""The linear associator: pairs of vectors stored as a sum of outer products."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError


class LinearAssociator(nn.Module):
    """Linear associative memory, ``y = W x``, which learns by Hebb's rule.

    Storing adds the outer product of value and key, ``W <- W + y xᵀ / ‖x‖²``. Recall of one of the keys x_k gives::

        W x_k = y_k + Σ_{j≠k} y_j (x_j · x_k) / ‖x_j‖²

    exact for orthogonal keys; for others the sum is the crosstalk. Without values the keys are associated with
    themselves.

    Args:
        input_size: channels of a key.
        output_size: channels of a value; default: ``input_size``.

    Attributes:
        weight: W [output_size, input_size], zero at first; a buffer, not trained by gradients.

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        Anderson 1972, Mathematical Biosciences 14; Kohonen 1972, IEEE Transactions on Computers 21.

    Example:
        >>> memory = LinearAssociator(4, 2)
        >>> keys, values = torch.eye(4)[:3], torch.tensor([[1.0, 2], [3, 4], [5, 6]])
        >>> memory.store(keys, values)
        >>> memory(keys[1:2])
        tensor([[3., 4.]])
    """

    weight: Tensor

    def __init__(self, input_size: int, output_size: int | None = None):
        super().__init__()
        self.input_size = positive_integer("input_size", input_size)
        self.output_size = positive_integer("output_size", input_size if output_size is None else output_size)
        self.register_buffer("weight", torch.zeros(self.output_size, self.input_size))

    @torch.no_grad()
    def store(self, keys: Float[Tensor, "items input"], values: Float[Tensor, "items output"] | None = None) -> None:
        """Add associations.

        Args:
            keys: none of them zero.
            values: what each is to recall; default: the keys.

        Raises:
            ValueError: shapes that do not fit, or a key of length zero.
        """
        values = keys if values is None else values
        self._check(keys, values)
        squares = keys.square().sum(1, keepdim=True)
        if bool((squares == 0).any()):
            raise UserError(f"a key of zeros cannot recall anything: key {int(squares[:, 0].argmin())}")
        self.weight += values.T @ (keys / squares)

    def forward(self, keys: Float[Tensor, "... input"]) -> Float[Tensor, "... output"]:
        """Recall: W x."""
        return nn.functional.linear(keys, self.weight)

    def crosstalk(
        self, keys: Float[Tensor, "items input"], values: Float[Tensor, "items output"] | None = None
    ) -> Float[Tensor, "items output"]:
        """Compute the error of recall, which the other associations add where keys are not orthogonal.

        Args:
            keys: stored ones.
            values: what they were stored with; default: the keys.
        """
        values = keys if values is None else values
        self._check(keys, values)
        return self(keys) - values

    @torch.no_grad()
    def drift(self, keys: Float[Tensor, "items input"], duration: float) -> None:
        """Apply Hebbian learning from the memory's own answers, in the limit of small steps.

        With y = W x for keys that come equally often, the mean change of every row w of W is ``dw/dt = C w``, C the
        correlation matrix ``<x xᵀ>`` of the keys; so ``Wᵀ(t) = exp(C t) Wᵀ(0)``: rows turn towards the direction in
        which the keys vary most, and grow.

        Args:
            keys: what comes in.
            duration: t.
        """
        correlation = keys.T @ keys / len(keys)
        self.weight.copy_(self.weight @ torch.linalg.matrix_exp(duration * correlation))

    def _check(self, keys: Tensor, values: Tensor) -> None:
        expected = [len(keys), self.input_size], [len(keys), self.output_size]
        given = list(keys.shape), list(values.shape)
        if given != expected:
            raise UserError(f"expected keys and values of shapes {expected}, got {given}")

    def extra_repr(self) -> str:
        """Return the sizes that ``print(memory)`` shows."""
        return f"input_size={self.input_size}, output_size={self.output_size}"
