"""Adapters that run each kind of recurrent module for one step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from remanence._torch import pytree
from remanence.analysis.step import Step, get_leaves
from remanence.errors import UserError
from remanence.nn.memory import Memory, State

Call = Callable[[Tensor, State], tuple[Tensor, State]]


def as_step(system: Any, *, input_size: int | None = None, state: State = None, sequence: bool = True) -> Step:
    """Convert a recurrent module, or a function, to a :class:`Step`.

    Args:
        system: a :class:`remanence.nn.Memory`; ``torch.nn.RNN``, ``LSTM``, ``GRU`` or their cells; a layer or a cell of
            ncps; any other module with ``forward(x, state) -> (y, state)``; a function ``f(x_t, state) -> state``; or a
            step (returned unchanged).
        input_size: number of input channels; default: the module's attribute ``input_size``; 0 for a function.
        state: the initial state, nested as the module nests it, for a batch of one. Required for functions; default for
            a module: its own initial state (of other modules, zeros like the state that a call without a state
            returns).
        sequence: whether other modules accept x [batch, time, input], as layers do (default: True), or [batch, input],
            as cells do.

    Returns:
        The system as a function on flat states.

    Raises:
        ValueError: the module is bidirectional or has active dropout, or its input size or state size is unknown.

    Example:
        >>> step = as_step(nn.LSTM(3, 8, num_layers=2))
        >>> step.size, step(torch.randn(5, 3), step.initial_state(5)).shape
        (32, torch.Size([5, 32]))
        >>> logistic = as_step(lambda x_t, h: 4 * h * (1 - h), state=torch.tensor([[0.2]]))
        >>> logistic(logistic.silence(), torch.tensor([[0.5]]))
        tensor([[1.]])
    """
    if isinstance(system, Step):
        return system
    if not isinstance(system, nn.Module):
        if state is None:
            raise UserError("a function needs state: pass the initial state, a batch of one")
        return _make_step(
            lambda x_t, before: _duplicate_state(system(x_t, before)), state, 0 if input_size is None else input_size
        )
    _refuse_dropout(system)
    channels = _find_input_size(system) if input_size is None else input_size
    call, initial = _resolve_module(system, channels, state, sequence)
    return _make_step(call, initial if state is None else state, channels)


def _make_step(call: Call, initial: State, input_size: int) -> Step:
    get_leaves(initial)
    return Step(call, pytree.tree_map(lambda leaf: leaf.detach()[:1], initial), input_size)


def _duplicate_state(state: State) -> tuple[Tensor, State]:
    """Return the state also as the output."""
    return get_leaves(state)[0], state


def _resolve_module(module: nn.Module, input_size: int, state: State, sequence: bool) -> tuple[Call, State]:
    if isinstance(module, Memory):
        return module.step, module.initial_state(1)
    if isinstance(module, nn.RNNBase):
        return _wrap_torch_layer(module)
    if isinstance(module, nn.RNNCellBase):
        return _wrap_torch_cell(module)
    if type(module).__module__.startswith("ncps."):
        return _wrap_ncps(module)
    call = _wrap_sequence(module) if sequence else module
    if state is None:
        initial = getattr(module, "initial_state", None)
        state = initial(1) if initial else _find_initial_state(call, module, input_size)
    return call, state


def _wrap_torch_layer(layer: nn.RNNBase) -> tuple[Call, State]:
    if layer.bidirectional:
        raise UserError(
            "a bidirectional layer has no single time step, since it runs both ways through time: pass a layer with "
            "bidirectional=False"
        )
    time = 1 if layer.batch_first else 0

    def call(x_t: Tensor, state: State) -> tuple[Tensor, State]:
        inner = pytree.tree_map(lambda leaf: leaf.transpose(0, 1).contiguous(), state)
        y, after = layer(x_t.unsqueeze(time), inner)
        return y.squeeze(time), pytree.tree_map(lambda leaf: leaf.transpose(0, 1), after)

    h = _make_zeros(layer, layer.num_layers, layer.proj_size or layer.hidden_size)
    c = _make_zeros(layer, layer.num_layers, layer.hidden_size)
    return call, (h, c) if isinstance(layer, nn.LSTM) else h


def _wrap_torch_cell(cell: nn.RNNCellBase) -> tuple[Call, State]:
    h = _make_zeros(cell, cell.hidden_size)
    return lambda x_t, state: _duplicate_state(cell(x_t, state)), (h, h) if isinstance(cell, nn.LSTMCell) else h


def _wrap_ncps(module: Any) -> tuple[Call, State]:
    if hasattr(module, "rnn_cell"):
        time = 1 if module.batch_first else 0

        def call(x_t: Tensor, state: State) -> tuple[Tensor, State]:
            y, after = module(x_t.unsqueeze(time), state)
            return (y.squeeze(time) if module.return_sequences else y), after

        h = _make_zeros(module, module.state_size)
        return call, (h, h) if module.use_mixed else h
    size = getattr(module, "state_size", None) or module.hidden_size
    return lambda x_t, state: module(x_t, state, 1.0), _make_zeros(module, size)


def _wrap_sequence(module: nn.Module) -> Call:
    def call(x_t: Tensor, state: State) -> tuple[Tensor, State]:
        y, after = module(x_t[:, None], state)
        return y[:, 0], after

    return call


@torch.no_grad()
def _find_initial_state(call: Call, module: nn.Module, input_size: int) -> State:
    """Return zeros of the shape of the state that the module creates when called without one."""
    _, state = call(_make_zeros(module, input_size), None)
    return pytree.tree_map(torch.zeros_like, state)


def _make_zeros(module: nn.Module, *shape: int) -> Tensor:
    parameter = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
    return parameter.new_zeros(1, *shape)


def _find_input_size(module: Any) -> int:
    size = getattr(module, "input_size", getattr(module, "sensory_size", None))
    if not isinstance(size, int):
        raise UserError(f"{type(module).__name__} has no attribute input_size: pass input_size to as_step")
    return size


def _refuse_dropout(module: nn.Module) -> None:
    for part in module.modules():
        rate = part.p if isinstance(part, nn.modules.dropout._DropoutNd) else getattr(part, "dropout", 0.0)
        if part.training and isinstance(rate, float) and rate > 0:
            raise UserError(f"expected a deterministic module, got active {type(part).__name__}: call .eval() first")
