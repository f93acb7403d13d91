"""The linear associator, which stores pairs of vectors as a sum of outer products."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError


class LinearAssociator(nn.Module):
    """Linear associative memory, ``y = W x``, which learns by Hebb's rule.

    Storing a key x with a value y adds their outer product, ``W <- W + y xᵀ / ‖x‖²``. Recall with a stored key x_k
    gives::

        W x_k = y_k + Σ_{j≠k} y_j (x_j · x_k) / ‖x_j‖²

    Recall is exact for orthogonal keys; for others, the sum is an error called crosstalk. If no values are given, each
    key is associated with itself.

    Args:
        input_size: number of channels of a key.
        output_size: number of channels of a value; default: ``input_size``.

    Attributes:
        weight: W [output_size, input_size], initially zero; a buffer, not trained by gradients.

    Raises:
        ValueError: a size is not a positive integer.

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
        """Store further associations.

        Args:
            keys: the keys, [items, input_size], none of them zero.
            values: the value that each key shall recall, [items, output_size]; default: the keys.

        Raises:
            ValueError: shapes do not match, or a key is zero.
        """
        values = keys if values is None else values
        self._check(keys, values)
        squares = keys.square().sum(1, keepdim=True)
        if bool((squares == 0).any()):
            raise UserError(f"expected keys that are not zero, got zeros in key {int(squares[:, 0].argmin())}")
        self.weight += values.T @ (keys / squares)

    def forward(self, keys: Float[Tensor, "... input"]) -> Float[Tensor, "... output"]:
        """Recall: compute W x.

        Args:
            keys: the keys x, [..., input_size].

        Returns:
            The recalled values, [..., output_size].
        """
        return nn.functional.linear(keys, self.weight)

    def crosstalk(
        self, keys: Float[Tensor, "items input"], values: Float[Tensor, "items output"] | None = None
    ) -> Float[Tensor, "items output"]:
        """Compute the crosstalk, the error of recall due to keys that are not orthogonal.

        Args:
            keys: stored keys, [items, input_size].
            values: the values that they were stored with, [items, output_size]; default: the keys.

        Returns:
            Recalled minus stored values, [items, output_size].

        Raises:
            ValueError: shapes do not match.
        """
        values = keys if values is None else values
        self._check(keys, values)
        return self(keys) - values

    @torch.no_grad()
    def drift(self, keys: Float[Tensor, "items input"], duration: float) -> None:
        """Apply Hebbian learning with the memory's own answers as values, in the limit of small steps.

        If all keys are equally frequent and y = W x, every row w of W obeys ``dw/dt = C w``, where ``C = <x xᵀ>`` is
        the correlation matrix of the keys. Thus ``Wᵀ(t) = exp(C t) Wᵀ(0)``: rows grow and turn towards the principal
        direction of the keys.

        Args:
            keys: the keys, [items, input_size].
            duration: time t.
        """
        correlation = keys.T @ keys / len(keys)
        self.weight.copy_(self.weight @ torch.linalg.matrix_exp(duration * correlation))

    def _check(self, keys: Tensor, values: Tensor) -> None:
        expected = [len(keys), self.input_size], [len(keys), self.output_size]
        given = list(keys.shape), list(values.shape)
        if given != expected:
            raise UserError(f"LinearAssociator expected keys and values of shapes {expected}, got {given}")

    def extra_repr(self) -> str:
        """Return the sizes that ``print(memory)`` shows."""
        return f"input_size={self.input_size}, output_size={self.output_size}"
