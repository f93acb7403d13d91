"""One time step of a memory as a module with plain tensors, for streaming and export."""

from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from remanence._torch import pytree
from remanence.nn.memory import Memory


class Streaming(nn.Module):
    """One time step of a memory with its state as plain tensors: ``streaming(x_t, *state) -> (y_t, *state)``.

    :meth:`Memory.step` takes and returns the state nested as the layer nests it; this module takes and returns its
    tensors one by one, as ``torch.export`` and C++ require. ``torch._inductor.aoti_compile_and_package(program)``
    compiles the exported program for C++. The module shares the parameters of the layer, which can still be trained.

    Args:
        layer: a memory.

    Example:
        Export a trained layer to a file that does not need this package, here for one stream (a batch of 1). To allow
        any batch size, pass an example batch of 2 or more and
        ``dynamic_shapes=streaming.dynamic_shapes(torch.export.Dim("batch"))``.

        >>> import io
        >>> from torch.export import export, load, save
        >>> from remanence.nn import CFF
        >>> streaming = Streaming(CFF(3, 8).eval())
        >>> with torch.no_grad():
        ...     program = export(streaming, (torch.randn(1, 3), *streaming.initial_state(1)))
        >>> file = io.BytesIO()
        >>> save(program, file)
        >>> _ = file.seek(0)
        >>> step = load(file).module()
        >>> y, q, r = step(torch.randn(1, 3), *streaming.initial_state(1))
        >>> y.shape
        torch.Size([1, 8])
    """

    def __init__(self, layer: Memory):
        super().__init__()
        self.layer = layer
        _, self._nesting = pytree.tree_flatten(layer.initial_state(1))

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """Return the tensors of the state before the first step.

        Args:
            batch_size: number of streams in the batch.

        Returns:
            The tensors, batch first.
        """
        return tuple(leaf.detach() for leaf in pytree.tree_leaves(self.layer.initial_state(batch_size)))

    def dynamic_shapes(self, batch: Any) -> tuple[Any, ...]:
        """Return the ``dynamic_shapes`` for ``torch.export`` that keep the batch (the first dimension) dynamic.

        Args:
            batch: a ``torch.export.Dim``.

        Returns:
            The value of the argument ``dynamic_shapes`` of ``torch.export.export``.
        """
        return {0: batch}, tuple({0: batch} for _ in range(self._nesting.num_leaves))

    def forward(
        self, x_t: Float[Tensor, "batch input"], *state: Shaped[Tensor, "batch ..."]
    ) -> tuple[Shaped[Tensor, "batch ..."], ...]:
        """Advance by one time step.

        Args:
            x_t: the input of this step, [batch, input_size].
            state: the tensors that the previous call returned after the output; initially :meth:`initial_state`.

        Returns:
            The output [batch, output_size], then the tensors of the state.
        """
        y_t, after = self.layer.step(x_t, pytree.tree_unflatten(state, self._nesting))
        return (y_t, *pytree.tree_leaves(after))
