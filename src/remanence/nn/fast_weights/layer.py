"""Fast weights as an associative memory of the recent past (Ba et al. 2016)."""

import math
import warnings
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from remanence._kernels.addressing import are_readable
from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes, select_last
from remanence.ops.fast_weights import operation as evolution
from remanence.ops.fast_weights import reference
from remanence.ops.fast_weights.reference import NONLINEARITIES, Rule


class FastWeightsGrowthWarning(RuntimeWarning):
    """The norm of the fast weight matrix exceeds what bounded activations can produce."""


def default_fast_learning_rate(hidden_size: int) -> float:
    """Return η = min(2 / hidden_size, 0.5), with which a state is read at the magnitude at which it was written.

    After layer norm, half of the ReLUs are active and ‖h‖² is about hidden_size / 2, so a stored state is read as
    ``η h hᵀ h ≈ h``. With a constant η of 0.5 it would be hidden_size / 4 times as large: ``A h`` would dominate
    ``W h + C x``, and with some seeds the layer learns to use the memory late or never
    (``recipes/fast-learning-rate.yaml``).

    Args:
        hidden_size: number of units.

    Returns:
        η.
    """
    return min(0.5, 2 / hidden_size)


class FastWeights(Memory):
    """Recurrent network with a fast weight matrix A, in which it stores its hidden states and from which it reads.

    ::

        h⁰_{t+1}     = f(LN(W h_t + C x_{t+1} + b))
        h^{s+1}_{t+1} = f(LN(W h_t + C x_{t+1} + b + A_t h^s_{t+1}))      s = 0 ... S-1
        A_{t+1}      = λ A_t + η h_{t+1} h_{t+1}ᵀ,   A_0 = 0

    A is read before the new h is written to it. A need not be formed: ``A_t h = η Σ_τ λ^{t-τ} h_τ (h_τ · h)`` is
    attention to past hidden states, which is cheaper for short sequences. Both forms are exact. On CPUs, a kernel
    carries A through time (``benchmarks/fast_weights.py``) and keeps at most √time copies of A for the backward pass;
    on GPUs, a scan does and keeps all of them.

    Args:
        input_size: number of input channels.
        hidden_size: number of units.
        inner_steps: number of times S that A is read within one time step; default: 1.
        decay: λ, the factor by which A decays in one time step, at least 0; default: 0.95.
        fast_learning_rate: η, how strongly a hidden state is written, at least 0; default: 2 / hidden_size, at most 0.5
            (:func:`default_fast_learning_rate`). Ba et al. used 0.5 throughout.
        layer_norm: whether to normalise over the units before f, in every inner step; default: True.
        nonlinearity: f, ``"relu"`` (default) or ``"tanh"``.
        form: ``"matrix"`` computes with A [batch, hidden, hidden], ``"attention"`` with the past hidden states; both
            are plain loops. ``"auto"`` (default) chooses the kernel on CPUs, except that it chooses attention for
            sequences of at most ``hidden_size / 6`` steps (``hidden_size / 2`` without a kernel). The kernel supports
            only a symmetric initial A, and no gradient to it; otherwise a plain loop runs. On GPUs, ``"auto"`` chooses
            the scan if all copies of A have at most 2^28 numbers.
        trainable_rates: whether λ (as a logit) and η (as a logarithm) are trained, from the given values; default:
            False.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    State:
        (h [batch, hidden_size], A [batch, hidden_size, hidden_size]), initially zero. A already contains the last h.

    Raises:
        ValueError: a size is not a positive integer, a rate is negative, or a rate cannot be trained (λ outside (0, 1)
            or η = 0).

    Warns:
        FastWeightsGrowthWarning: ‖A‖ is not finite, or more than ten times what units within ±1 could produce; the
            message names the step. Not checked under ``torch.compile``.

    References:
        Ba, Hinton, Mnih, Leibo, Ionescu, "Using fast weights to attend to the recent past", 2016, arXiv:1610.06258.

    Example:
        >>> y, (h, A) = FastWeights(3, 8, decay=0.9)(torch.randn(2, 5, 3))
        >>> y.shape, A.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8, 8]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        inner_steps: int = 1,
        decay: float = 0.95,
        fast_learning_rate: float | None = None,
        layer_norm: bool = True,
        nonlinearity: Literal["relu", "tanh"] = "relu",
        form: Literal["auto", "matrix", "attention"] = "auto",
        trainable_rates: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        self.inner_steps = positive_integer("inner_steps", inner_steps)
        if nonlinearity not in NONLINEARITIES:
            raise UserError(f"nonlinearity must be 'relu' or 'tanh', got {nonlinearity!r}")
        if form not in ("auto", "matrix", "attention"):
            raise UserError(f"form must be 'auto', 'matrix' or 'attention', got {form!r}")
        if fast_learning_rate is None:
            fast_learning_rate = default_fast_learning_rate(self.hidden_size)
        if not (decay >= 0 and fast_learning_rate >= 0):
            raise UserError(f"decay and fast_learning_rate must be at least 0, got {decay} and {fast_learning_rate}")
        if trainable_rates and not (0 < decay < 1 and fast_learning_rate > 0):
            raise UserError(
                "trainable_rates needs decay strictly between 0 and 1 and fast_learning_rate above 0, "
                f"got {decay} and {fast_learning_rate}"
            )
        self.nonlinearity: Literal["relu", "tanh"] = nonlinearity
        self.form = form
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))  # C
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))  # W
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.norm = nn.LayerNorm(hidden_size) if layer_norm else nn.Identity()
        self._decay, self._fast_learning_rate = float(decay), float(fast_learning_rate)
        self.trainable_rates = trainable_rates
        if trainable_rates:
            self.decay_logit = nn.Parameter(torch.tensor(math.log(decay / (1 - decay))))
            self.log_fast_learning_rate = nn.Parameter(torch.tensor(math.log(fast_learning_rate)))
        self._warned_of_growth = False
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise all parameters: W is 0.05 times the identity, C and b are uniform in ±1/√hidden_size."""
        nn.init.uniform_(self.weight_ih, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        nn.init.uniform_(self.bias, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        with torch.no_grad():
            self.weight_hh.copy_(0.05 * torch.eye(self.hidden_size))

    @property
    def decay(self) -> float | Tensor:
        """λ: a number, or a tensor if it is trained."""
        return torch.sigmoid(self.decay_logit) if self.trainable_rates else self._decay

    @property
    def fast_learning_rate(self) -> float | Tensor:
        """η: a number, or a tensor if it is trained."""
        return self.log_fast_learning_rate.exp() if self.trainable_rates else self._fast_learning_rate

    def initial_state(self, batch_size: int) -> State:
        """Return (h, A), both zero."""
        return self._zeros(batch_size, self.hidden_size), self._zeros(batch_size, self.hidden_size, self.hidden_size)

    def inner_loop(
        self,
        x_t: Float[Tensor, "batch input"],
        state: tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden hidden"]],
        steps: int | None = None,
    ) -> Float[Tensor, "batch iterates hidden"]:
        """Compute the iterates h⁰ ... h^S of the inner loop in one time step.

        Args:
            x_t: the input of the step, [batch, input_size].
            state: (h, A) before the step.
            steps: number of inner steps S; default: that of the layer.

        Returns:
            The iterates, [batch, S + 1, hidden_size].
        """
        h, A = state
        drive = nn.functional.linear(x_t, self.weight_ih, self.bias)
        count = self.inner_steps if steps is None else steps
        return torch.stack(reference.iterate(self._rule(), drive, h, reference.make_read(A), count), 1)

    def write(
        self, A: Float[Tensor, "batch hidden hidden"], h: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch hidden hidden"]:
        """Store a hidden state: compute λ A + η h hᵀ.

        Args:
            A: the fast weights before, [batch, hidden_size, hidden_size].
            h: the hidden state, [batch, hidden_size].

        Returns:
            The fast weights after.
        """
        return reference.write(self._rule(), A, h)

    def growth(
        self, h: Float[Tensor, "batch time hidden"], A: Float[Tensor, "batch hidden hidden"] | None = None
    ) -> Float[Tensor, "batch time"]:
        """Compute ‖A_t‖ (Frobenius norm) after each step.

        Args:
            h: the output of the layer, [batch, time, hidden_size].
            A: the fast weights before the first step, [batch, hidden_size, hidden_size]; default: zero.

        Returns:
            The norms, [batch, time].
        """
        norms = []
        fast = self.initial_state(h.shape[0])[1] if A is None else A
        for h_t in h.unbind(1):
            fast = self.write(fast, h_t)
            norms.append(torch.linalg.matrix_norm(fast))
        return torch.stack(norms, 1)

    def _rule(self) -> Rule:
        like = {"dtype": self.bias.dtype, "device": self.bias.device}
        λ, η = (torch.as_tensor(rate, **like) for rate in (self.decay, self.fast_learning_rate))
        norm = self.norm
        gain, shift, eps = (norm.weight, norm.bias, norm.eps) if isinstance(norm, nn.LayerNorm) else (None, None, 0.0)
        return Rule(self.weight_hh, gain, shift, λ, η, self.inner_steps, self.nonlinearity, eps)

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        dtype = self.bias.dtype  # under autocast, products have another dtype
        h, A = (each.to(dtype) for each in state)
        drive = nn.functional.linear(x, self.weight_ih, self.bias).to(dtype)
        if torch.compiler.is_exporting():  # of any length, to which the attention form would be unrolled
            y, h, last = evolution.scan_steps(self._rule(), drive, h, A, episodes)
        elif episodes:
            y, h, last = self._carry_episodes(drive, h, A, episodes)
        else:
            y, last = self._carry(drive, h, A)
            h = y[:, -1].clone()
        if not self._warned_of_growth and are_readable(last):
            self._watch_growth(y, A, last)
        return y, (h, last)

    def _carry(self, drive: Tensor, h: Tensor, A: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the hidden states of all time steps and the last A, in the cheapest form."""
        auto, time = self.form == "auto", drive.shape[1]
        if auto and evolution.can_scan_on_gpu(self._rule(), drive, h, A):
            y, _, last = evolution.scan_steps(self._rule(), drive, h, A)
            return y, last
        attends = self.form == "attention" or (auto and time <= self.hidden_size // 6)
        rule = self._rule()
        fused = auto and not attends and evolution.can_run(rule, drive, h, A)
        if attends or (auto and not fused and time <= self.hidden_size // 2):
            return self._attend(rule, drive, h, A)
        return (evolution.evolve if fused else reference.run)(rule, drive, h, A)

    def _carry_episodes(self, drive: Tensor, h: Tensor, A: Tensor, episodes: Episodes) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the hidden states of all time steps, the last h and the last A."""
        rule = self._rule()
        if self.form != "auto" or not evolution.can_run(rule, drive, h, A, episodes):
            return evolution.scan_steps(rule, drive, h, A, episodes)
        y, last = evolution.evolve(rule, drive, h, A, episodes)
        return y, select_last(y, y[:, -1].clone(), h, episodes.lengths), last

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        drive = nn.functional.linear(x_t, self.weight_ih, self.bias)
        y, A = reference.run(self._rule(), drive[:, None], *state)
        return y[:, 0], (y[:, 0].clone(), A)

    def _attend(self, rule: Rule, drive: Tensor, h: Tensor, A: Tensor) -> tuple[Tensor, Tensor]:
        """Run the attention form, which keeps hidden states instead of A and takes O(time · hidden) per step."""
        time = drive.shape[1]
        powers = rule.decay ** torch.arange(time + 1, dtype=A.dtype, device=A.device)
        # Reading an A that is zero and needs no gradient is unnecessary.
        started = not are_readable(A) or A.requires_grad or bool(A.any())
        outputs: list[Tensor] = []

        def read(v: Tensor) -> Tensor:
            """Compute A_t v without forming A_t."""
            t = len(outputs)
            past = powers[t] * torch.bmm(A, v[..., None])[..., 0] if started else torch.zeros_like(v)
            if t == 0:
                return past
            H = torch.stack(outputs, 1)
            similarity = torch.bmm(H, v[..., None]) * (rule.rate * powers[:t].flip(0))[:, None]
            return past + torch.bmm(H.mT, similarity)[..., 0]

        for drive_t in drive.unbind(1):
            h = reference.iterate(rule, drive_t, h, read, self.inner_steps)[-1]
            outputs.append(h)
        H = torch.stack(outputs, 1)
        strength = rule.rate * powers[:-1].flip(0)[:, None]
        return H, powers[-1] * A + (strength * H).mT @ H

    @torch.no_grad()
    def _watch_growth(self, y: Tensor, A_before: Tensor, A: Tensor) -> None:
        λ, η = float(self.decay), float(self.fast_learning_rate)
        # Units within ±1 have ‖h‖² ≤ hidden_size, so ‖A‖ stays below the geometric sum.
        limit = 10 * η * self.hidden_size * (1 / (1 - λ) if λ < 1 else 100)
        if y.shape[0] == 0 or η == 0 or torch.linalg.matrix_norm(A).max() <= limit:
            return
        self._warned_of_growth = True
        norms = self.growth(y, A_before).nan_to_num(math.inf).amax(0)
        first = int((norms > limit).nonzero()[0]) if bool((norms > limit).any()) else len(norms) - 1
        warnings.warn(
            f"fast weights grow without bound: ‖A‖ passed {limit:.3g} at step {first} and is {norms[-1]:.3g} at the "
            f"last step ({len(norms) - 1}). Use layer_norm=True, a smaller decay (now {λ:.3g}) or fast_learning_rate "
            f"(now {η:.3g}), or fewer inner_steps (now {self.inner_steps}).",
            FastWeightsGrowthWarning,
            stacklevel=2,
        )
