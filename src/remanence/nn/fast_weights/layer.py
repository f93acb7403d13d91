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
    """The fast weight matrix has left the range that bounded activations can give it."""


def default_fast_learning_rate(hidden_size: int) -> float:
    """Return η = 2 / hidden_size, at most 0.5: what is read from A is then as large as what was written.

    After layer norm half of the ReLUs are active and ‖h‖² is about hidden_size / 2, so that a stored state comes back
    as ``η h hᵀ h ≈ h``. With a constant η of 0.5 it comes back hidden_size / 4 times as large: ``A h`` swamps
    ``W h + C x``, and some seeds learn to use the memory late or never (``recipes/fast-learning-rate.yaml``).

    Args:
        hidden_size: units.
    """
    return min(0.5, 2 / hidden_size)


class FastWeights(Memory):
    """Recurrent network with a fast weight matrix A that stores, and is read by, its own hidden states.

    ::

        h⁰_{t+1}     = f(LN(W h_t + C x_{t+1} + b))
        h^{s+1}_{t+1} = f(LN(W h_t + C x_{t+1} + b + A_t h^s_{t+1}))      s = 0 ... S-1
        A_{t+1}      = λ A_t + η h_{t+1} h_{t+1}ᵀ,   A_0 = 0

    A is read before the new h is written into it. It need not be formed: ``A_t h = η Σ_τ λ^{t-τ} h_τ (h_τ · h)`` is
    attention to the past hidden states, the cheaper form while the sequence is short. Both are exact. On CPUs a kernel
    carries A through time (``benchmarks/fast_weights.py``), and keeps no more than √time of them for the way back. On
    GPUs a scan does, and keeps all of them.

    Args:
        input_size: channels of the input.
        hidden_size: units.
        inner_steps: S, how often A is read within one time step.
        decay: λ, what is left of A after one step; at least 0.
        fast_learning_rate: η, how strongly a hidden state is written; at least 0. Default: 2 / hidden_size, 0.5 at most
            (:func:`default_fast_learning_rate`); Ba et al. used 0.5 throughout.
        layer_norm: normalise over the units before f, in every inner step.
        nonlinearity: f, ``"relu"`` or ``"tanh"``.
        form: ``"matrix"`` keeps A [batch, hidden, hidden]; ``"attention"`` keeps the past hidden states; both are plain
            loops. ``"auto"`` takes the kernel on CPUs, but attention for sequences of at most ``hidden_size / 6`` steps
            (``hidden_size / 2`` where there is no kernel). The kernel takes A as the layer writes it, symmetric, and
            has no gradient to the first A: with one that is not symmetric, or wants a gradient, it is a plain loop. On
            GPUs it takes the scan if all A have 2^28 numbers at most.
        trainable_rates: learn λ (through a logit) and η (through a logarithm) too; they then start at the given values.
        device: of the parameters; default: PyTorch's.
        dtype: likewise.

    State:
        (h [batch, hidden_size], A [batch, hidden_size, hidden_size]), the last h already written into A.

    Raises:
        ValueError: a size below 1, a negative rate, or a rate that cannot be trained (λ outside (0, 1), η = 0).

    Warns:
        FastWeightsGrowthWarning: ‖A‖ is no longer finite or ten times beyond what units within ±1 could write;
            says at which step. Not checked under ``torch.compile``.

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
        """Draw W, C and b anew: W is 0.05 times the identity, the others uniform from ±1/√hidden_size."""
        nn.init.uniform_(self.weight_ih, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        nn.init.uniform_(self.bias, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        with torch.no_grad():
            self.weight_hh.copy_(0.05 * torch.eye(self.hidden_size))

    @property
    def decay(self) -> float | Tensor:
        """λ; a tensor with a gradient if it is trained."""
        return torch.sigmoid(self.decay_logit) if self.trainable_rates else self._decay

    @property
    def fast_learning_rate(self) -> float | Tensor:
        """η; a tensor with a gradient if it is trained."""
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
            x_t: the input of the step.
            state: (h, A) before it.
            steps: S; default: that of the layer. More of them show where the loop leads.
        """
        h, A = state
        drive = nn.functional.linear(x_t, self.weight_ih, self.bias)
        count = self.inner_steps if steps is None else steps
        return torch.stack(reference.iterate(self._rule(), drive, h, reference.make_read(A), count), 1)

    def write(
        self, A: Float[Tensor, "batch hidden hidden"], h: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch hidden hidden"]:
        """Store a hidden state: λ A + η h hᵀ.

        Args:
            A: the fast weights before.
            h: the hidden state.
        """
        return reference.write(self._rule(), A, h)

    def growth(
        self, h: Float[Tensor, "batch time hidden"], A: Float[Tensor, "batch hidden hidden"] | None = None
    ) -> Float[Tensor, "batch time"]:
        """Compute ‖A_t‖ (Frobenius norm) after each step.

        Args:
            h: the layer's output.
            A: the fast weights before the first step; default: zero.
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
        dtype = self.bias.dtype  # under autocast products come in another
        h, A = (each.to(dtype) for each in state)
        drive = nn.functional.linear(x, self.weight_ih, self.bias).to(dtype)
        if episodes:
            y, h, last = self._carry_episodes(drive, h, A, episodes)
        else:
            y, last = self._carry(drive, h, A)
            h = y[:, -1].clone()
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
        """Run the attention form, which keeps hidden states instead of A, O(time · hidden) per step."""
        time = drive.shape[1]
        powers = rule.decay ** torch.arange(time + 1, dtype=A.dtype, device=A.device)
        # Reading an A that is still zero and needs no gradient would be work for nothing.
        started = not are_readable(A) or A.requires_grad or bool(A.any())
        outputs: list[Tensor] = []

        def read(v: Tensor) -> Tensor:
            """A_t v, without A_t."""
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
        if self._warned_of_growth or not are_readable(A):
            return
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
