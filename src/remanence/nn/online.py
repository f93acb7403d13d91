"""Learning from an endless stream, piece by piece, with gradients that reach back to its beginning."""

from typing import TypeAlias

from torch import Tensor

from remanence.errors import UserError
from remanence.nn.memory import Memory
from remanence.nn.pointwise_form import PointwiseForm
from remanence.ops.episodes import Episodes
from remanence.ops.scan.online_scan import OnlineState, scan_online

State: TypeAlias = tuple[tuple[Tensor, ...], Tensor, Tensor]


class Online(Memory):
    """Runs a layer on a stream piece by piece, with gradients that reach back to the beginning of the stream.

    The returned state has no graph. Instead it contains the derivatives of the layer's state (real-time recurrent
    learning), so that the gradients of the parameters in each piece are those of backpropagation through the whole
    stream, in memory that does not grow with the stream. Truncated backpropagation, which detaches the state between
    pieces, misses the effect of earlier pieces. See :func:`remanence.scan_online`.

    The parameters are those of ``layer``. If they change between pieces, the derivatives of earlier pieces are still
    those at the earlier values; the gradients are then exact in the limit of small learning rates.

    Args:
        layer: a layer whose step is pointwise over units: a :class:`PersistentLinear`, a :class:`CFF` without a wiring
            and with ``input_synapse="gate"``, or a memory of your own with a ``pointwise_form``.

    State:
        (the states of the layer, their derivatives with respect to the parameters [batch, states, params, hidden_size],
        and with respect to the input weights [batch, states, inputs, hidden_size, input_size]); the derivatives are 0
        at first.

    Raises:
        ValueError: the step of the layer is not pointwise over units.

    Example:
        >>> from remanence import nn
        >>> layer = Online(nn.PersistentLinear(3, 8))
        >>> optimizer, state = torch.optim.SGD(layer.parameters(), 0.01), None
        >>> for piece in torch.randn(2, 40, 3).split(10, 1):
        ...     y, state = layer(piece, state)
        ...     optimizer.zero_grad()
        ...     y.square().mean().backward()
        ...     optimizer.step()
        >>> y.shape
        torch.Size([2, 10, 8])
    """

    in_low_precision = False
    steps_in_graph = False

    def __init__(self, layer: Memory):
        super().__init__(layer.input_size, layer.hidden_size, layer.output_size)
        self.layer = layer
        self.continuous_time = layer.continuous_time  # pyright: ignore[reportAttributeAccessIssue]
        self._form()

    def _form(self) -> PointwiseForm:
        form = self.layer.pointwise_form()
        if form is None:
            raise UserError(
                "Online expected a layer whose step is pointwise over units, such as PersistentLinear or a CFF without "
                f"a wiring and with input_synapse='gate', got {self.layer}"
            )
        return form

    def initial_state(self, batch_size: int) -> State:
        """Return the initial state of the layer, and derivatives of 0."""
        first = self.layer.initial_state(batch_size)
        leaves = (first,) if isinstance(first, Tensor) else tuple(first)
        _, weight, params = self._form()
        of_params = self._zeros(batch_size, len(leaves), *params.shape)
        of_weight = self._zeros(
            batch_size, len(leaves), len(weight) // self.hidden_size, self.hidden_size, self.input_size
        )
        return leaves, of_params, of_weight

    def _run(
        self, x: Tensor, state: State, timespans: Tensor | None = None, *, episodes: Episodes | None = None
    ) -> tuple[Tensor, State]:
        if episodes is not None and episodes.lengths is not None:
            return self._loop(x, state, episodes, timespans)
        step, weight, params = self._form()
        spans = () if timespans is None else (timespans[..., None].expand(*x.shape[:2], self.hidden_size),)
        anew = (
            {} if episodes is None else {"reset": episodes.reset, "reset_state": episodes.reset_state[: len(state[0])]}
        )
        (y, *_), after = scan_online(step, x, weight, OnlineState(*state), params, more=spans, **anew)
        return y, (after.state, after.of_params, after.of_weight)

    def _advance(self, x_t: Tensor, state: State, timespans: Tensor | None = None) -> tuple[Tensor, State]:
        y, after = self._run(x_t[:, None], state, None if timespans is None else timespans[:, None])
        return y[:, 0], after
