"""Closed-form continuous-time networks."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal, no_type_check

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remanence._kernels.addressing import is_transformed
from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops import chain
from remanence.ops.chain import Stage
from remanence.ops.episodes import Episodes
from remanence.ops.recurrence import is_compiled, run_step

ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "lecun_tanh": (torch.tanh, 0.666, 1.7159),
    "tanh": (torch.tanh, 1.0, 1.0),
    "relu": (F.relu, 1.0, 1.0),
    "silu": (F.silu, 1.0, 1.0),
    "gelu": (F.gelu, 1.0, 1.0),
}
"""f, α and β of the backbone's activation β f(α a)."""

HEADS = {"default": 4, "no_gate": 4, "pure": 1}


class CfC(Memory):
    """Closed-form continuous-time network: an explicit formula for the state after a timespan, without a solver.

    A fully connected backbone maps input and state to features, z = backbone([x; h]), and heads map these to the state
    after a timespan Δ::

        default:  h <- (1 - s) tanh(F z) + s tanh(G z),   s = σ(Δ A z + B z)
        no_gate:  h <- tanh(F z) + s tanh(G z)
        pure:     h <- a - a exp(-Δ (|w| + |F z|)) F z

    (each head has a bias). With ``mixed_memory``, an LSTM cell with the same input comes first: the backbone receives
    its output in place of h, and its cell state, which does not depend on timespans, is part of the layer's state.

    The part of the backbone that depends only on x is computed for all time steps at once, all heads are one matrix
    product, and the gradient of each matrix is one product over all time steps (:mod:`remanence.ops.chain`).

    Args:
        input_size: number of input channels.
        hidden_size: number of units.
        mode: ``"default"``, ``"no_gate"`` or ``"pure"``, as above.
        mixed_memory: whether an LSTM cell comes first; default: False.
        backbone_units: number of units in each layer of the backbone; default: 128.
        backbone_layers: number of layers of the backbone; with 0, the heads receive [x; h]; default: 1.
        backbone_dropout: probability of dropping a unit after every layer of the backbone except the first, as in the
            authors' code; default: 0.
        activation: activation of the backbone: ``"lecun_tanh"`` (default, 1.7159 tanh(0.666 a)), ``"tanh"``,
            ``"relu"``, ``"silu"`` or ``"gelu"``.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        backbone.{0, 1, ...} (the columns of x before those of h), heads (the rows of F, G, A, B in this order); with
        mixed memory also cell_ih and cell_hh (the rows of cell input, input gate, forget gate, output gate); with
        ``mode="pure"`` also time_constant (w) and amplitude (a), [hidden_size].

    State:
        h [batch, hidden_size], initially zero; with mixed memory (h, c), both [batch, hidden_size].

    Raises:
        ValueError: a size, ``mode``, ``activation`` or ``backbone_dropout`` is invalid.

    References:
        Hasani et al. 2022, Closed-form continuous-time neural networks; mixed memory: Lechner and Hasani 2020, Learning
        long-term dependencies in irregularly-sampled time series.

    Example:
        >>> layer = CfC(3, 8)
        >>> y, h = layer(torch.randn(2, 5, 3), timespans=torch.rand(2, 5))
        >>> y.shape, torch.equal(y[:, -1], h)
        (torch.Size([2, 5, 8]), True)
    """

    continuous_time = True

    steps_in_graph = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        mode: Literal["default", "no_gate", "pure"] = "default",
        mixed_memory: bool = False,
        backbone_units: int = 128,
        backbone_layers: int = 1,
        backbone_dropout: float = 0.0,
        activation: Literal["lecun_tanh", "tanh", "relu", "silu", "gelu"] = "lecun_tanh",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        if mode not in HEADS:
            raise UserError(f"mode must be one of {', '.join(HEADS)}, got {mode!r}")
        if activation not in ACTIVATIONS:
            raise UserError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        layers = positive_integer("backbone_layers", backbone_layers) if backbone_layers else 0
        if not 0 <= backbone_dropout < 1 or (backbone_dropout and layers < 2):
            raise UserError(
                "backbone_dropout must be from 0 to below 1, and 0 if backbone_layers is below 2 (there is no dropout "
                f"after the first layer), got {backbone_dropout} with {layers} layers"
            )
        self.mode, self.activation, self.backbone_dropout = mode, activation, backbone_dropout
        sizes = [input_size + hidden_size, *[positive_integer("backbone_units", backbone_units)] * layers]
        self.backbone = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.heads = nn.Linear(sizes[-1], HEADS[mode] * hidden_size)
        if mode == "pure":
            self.time_constant = nn.Parameter(torch.empty(hidden_size))  # w
            self.amplitude = nn.Parameter(torch.empty(hidden_size))  # a
        self.cell_ih = nn.Linear(input_size, 4 * hidden_size) if mixed_memory else None
        self.cell_hh = nn.Linear(hidden_size, 4 * hidden_size, bias=False) if mixed_memory else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise all parameters: Glorot-uniform matrices; amplitudes of 1."""
        for layer in self.backbone:
            layer.reset_parameters()  # type: ignore[operator]
            nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
        self.heads.reset_parameters()
        for head in self.heads.weight.split(self.hidden_size):
            nn.init.xavier_uniform_(head)
        if self.mode == "pure":
            nn.init.uniform_(self.time_constant, 0, 1)
            nn.init.ones_(self.amplitude)
        if self.cell_ih is not None and self.cell_hh is not None:
            nn.init.xavier_uniform_(self.cell_ih.weight)
            nn.init.uniform_(self.cell_ih.bias, -0.1, 0.1)
            nn.init.orthogonal_(self.cell_hh.weight)

    @classmethod
    def from_ncps(cls, module: nn.Module) -> "CfC":
        """Convert an ``ncps.torch.CfC`` with its weights.

        Args:
            module: the module of ncps.

        Returns:
            A layer with the same weights, in the same mode (training or evaluation).

        Raises:
            ValueError: the module has a wiring or a projection, which this layer does not support.
        """
        cell: Any = module.rnn_cell
        if not hasattr(cell, "ff1"):
            raise UserError("CfC is fully connected: a CfC of ncps with a wiring cannot be converted")
        if isinstance(module.fc, nn.Linear):
            raise UserError(
                "CfC has no projection, but this ncps CfC has: convert one with proj_size=None and apply its fc to the "
                "output"
            )
        parts = list(cell.backbone or [])
        linear = [part for part in parts if isinstance(part, nn.Linear)]
        result = cls(
            cell.input_size,
            cell.hidden_size,
            mode=cell.mode,
            mixed_memory=module.use_mixed,  # type: ignore[arg-type]
            backbone_units=linear[0].out_features if linear else 128,
            backbone_layers=len(linear),
            backbone_dropout=max([part.p for part in parts if isinstance(part, nn.Dropout)], default=0.0),
            activation=_NCPS_ACTIVATIONS[type(parts[1]).__name__] if parts else "lecun_tanh",
        ).to(cell.ff1.weight)
        heads = [cell.ff1] if cell.mode == "pure" else [cell.ff1, cell.ff2, cell.time_a, cell.time_b]
        with torch.no_grad():
            for ours, theirs in zip(result.backbone, linear, strict=True):
                ours.load_state_dict(theirs.state_dict())
            result.heads.weight.copy_(torch.cat([head.weight for head in heads]))
            result.heads.bias.copy_(torch.cat([head.bias for head in heads]))
            if cell.mode == "pure":
                result.time_constant.copy_(cell.w_tau[0])
                result.amplitude.copy_(cell.A[0])
            if result.cell_ih is not None and result.cell_hh is not None:
                result.cell_ih.load_state_dict(module.lstm.input_map.state_dict())  # type: ignore[union-attr]
                result.cell_hh.load_state_dict(module.lstm.recurrent_map.state_dict())  # type: ignore[union-attr]
        return result.train(module.training)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h, or (h, c) with mixed memory."""
        h = self._zeros(batch_size, self.hidden_size)
        return h if self.cell_hh is None else (h, torch.zeros_like(h))

    def _run(
        self, x: Tensor, state: State, timespans: Tensor | None = None, *, episodes: Episodes | None = None
    ) -> tuple[Tensor, State]:
        h, c = (state, None) if self.cell_hh is None else state
        times = None if timespans is None else timespans.t()[..., None].to(h.dtype)
        stages = self._make_stages(x.transpose(0, 1), times)
        if episodes or is_transformed() or is_compiled(x, h, *self.parameters(), shortest=16):
            (y, *_), final = run_step(*chain.as_step(stages, h, c), episodes=episodes)
            return y, final[0] if c is None else final
        states, h, c = chain.run(stages, h, c)
        return states.transpose(0, 1), h if c is None else (h, c)

    def _advance(self, x_t: Tensor, state: State, timespans: Tensor | None = None) -> tuple[Tensor, State]:
        y, state = self._run(x_t[:, None], state, None if timespans is None else timespans[:, None])
        return y[:, 0], state

    def _make_stages(self, x: Tensor, times: Tensor | None) -> list[Stage]:
        """Build the stages of one step; everything that depends only on x [time, batch, input_size] is precomputed."""
        stages = []
        if self.cell_ih is not None and self.cell_hh is not None:
            cell, into, forget, out = self.cell_ih(x).to(self.cell_hh.weight.dtype).chunk(4, -1)
            drive = torch.cat([cell, into, forget + 1, out], -1)  # forget gates start open
            stages.append(Stage(self.cell_hh.weight, drive, self.hidden_size, lstm_cell))
        f, inner, outer = ACTIVATIONS[self.activation]
        scale = 1.0
        for index, layer in enumerate(self.backbone):
            # β f(α a): α scales the matrix before f and β the matrix after it, once for all time steps.
            weight, bias = inner * scale * layer.weight, inner * layer.bias  # type: ignore[operator]
            if index and self.training and self.backbone_dropout:
                kept = F.dropout(weight.new_ones(*x.shape[:2], len(bias)), self.backbone_dropout)
                stages.append(Stage(weight, bias, len(bias), partial(apply_dropout, f), (kept,)))
            else:
                stages.append(self._make_stage(weight, bias, x if index == 0 else None, len(bias), f))
            scale = outer
        weight, bias = scale * self.heads.weight, self.heads.bias
        return [*stages, self._make_head(weight, bias, None if self.backbone else x, times)]

    def _make_head(self, weight: Tensor, bias: Tensor, x: Tensor | None, times: Tensor | None) -> Stage:
        if self.mode == "pure":
            extra = (-self.time_constant.abs(), self.amplitude)
            stage = self._make_stage(weight, bias, x, self.hidden_size, apply_pure_head)
            return stage._replace(extra=extra if times is None else (*extra, times))
        function = apply_gated_head if self.mode == "default" else apply_ungated_head
        F_, G, *time = weight.split(self.hidden_size)
        f, g, *shift = bias.split(self.hidden_size)
        if times is None:  # with a timespan of 1, A and B reduce to one head, A + B
            time, shift = [time[0] + time[1]], [shift[0] + shift[1]]
        weight, bias = torch.cat([F_, G, *(w / 2 for w in time)]), torch.cat([f, g, *(b / 2 for b in shift)])
        stage = self._make_stage(weight, bias, x, self.hidden_size, function)
        return stage if times is None else stage._replace(extra=(times,))

    def _make_stage(self, weight: Tensor, bias: Tensor, x: Tensor | None, size: int, f: Callable[..., Any]) -> Stage:
        """Build a stage whose input is [x; h] (or, without x, only the output of the previous stage)."""
        if x is None:
            return Stage(weight, bias, size, f)
        ours, recurrent = weight.split([self.input_size, self.hidden_size], 1)
        return Stage(recurrent, F.linear(x, ours, bias).to(weight.dtype), size, f)

    def extra_repr(self) -> str:
        """Return the sizes and the mode that ``print(layer)`` shows."""
        return f"{super().extra_repr()}, mode={self.mode!r}, activation={self.activation!r}"


_NCPS_ACTIVATIONS: dict[str, Any] = {  # by the class names of ncps and torch.nn
    "LeCun": "lecun_tanh",
    "Tanh": "tanh",
    "ReLU": "relu",
    "SiLU": "silu",
    "GELU": "gelu",
}


@no_type_check  # a type-checking wrapper would make scan trace the step again in every call
def apply_dropout(f: Callable[[Tensor], Tensor], a: Tensor, kept: Tensor) -> Tensor:
    """Apply f, and zero the units where ``kept`` is 0."""
    return f(a) * kept


@no_type_check
def lstm_cell(a: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Compute one step of an LSTM; the rows of a are cell input, input gate, forget gate and output gate."""
    into, forget, out = torch.sigmoid(a.narrow(-2, 1, 3)).unbind(-2)
    c = torch.addcmul(c * forget, torch.tanh(a.select(-2, 0)), into)
    return torch.tanh(c) * out, c


@no_type_check
def apply_gated_head(a: Tensor, *timespan: Tensor) -> Tensor:
    """Compute the head of mode "default"; the gate's a arrives halved: σ(a) = (1 + tanh(a/2)) / 2 needs only a tanh."""
    start, end, gate = _split_heads(a, *timespan)
    return torch.lerp(torch.lerp(start, end, 0.5), end, gate)


@no_type_check
def apply_ungated_head(a: Tensor, *timespan: Tensor) -> Tensor:
    """Compute the head of mode "no_gate"; the gate's a arrives halved."""
    start, end, gate = _split_heads(a, *timespan)
    return torch.addcmul(torch.add(start, end, alpha=0.5), end, gate, value=0.5)


@no_type_check
def _split_heads(a: Tensor, *timespan: Tensor) -> tuple[Tensor, ...]:
    if not timespan:
        return torch.tanh(a).unbind(-2)
    start, end, rate, shift = a.unbind(-2)
    return torch.tanh(start), torch.tanh(end), torch.tanh(torch.addcmul(shift, rate, timespan[0]))


@no_type_check
def apply_pure_head(a: Tensor, least: Tensor, amplitude: Tensor, *timespan: Tensor) -> Tensor:
    """Compute the head of mode "pure"; ``least`` is -abs(w)."""
    rate = least - a.abs()
    decay = torch.exp(timespan[0] * rate if timespan else rate)
    return torch.addcmul(amplitude, amplitude * decay, a, value=-1)
