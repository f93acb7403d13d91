"""Retention: what can be read from the state k steps after an input."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.retention_curve import RetentionCurve
from remanence.analysis.step import Step
from remanence.errors import UserError
from remanence.extras import require_extra

DELAYS = (1, 2, 4, 8, 16, 32, 64, 128)


@torch.no_grad()
def memory_capacity(
    system: Any,
    delays: Sequence[int] = tuple(range(1, 51)),
    *,
    steps: int = 2000,
    washout: int = 200,
    trials: int = 5,
    distractors: float = 0.0,
    state_noise: float = 0.0,
    ridge: float = 1e-8,
    seed: int = 0,
) -> RetentionCurve:
    """Measure Jaeger's memory capacity: how well a linear readout of h_t recovers the input u_{t-k}.

    The first input channel receives u, independent and uniform in [-1, 1]. For each delay, a ridge regression is fitted
    on the first half of the states and evaluated on the second half by its squared correlation with u. The area under
    the curve at k = 1, 2, 3 ... is the memory capacity, which is at most the size of the state.

    Args:
        system: a system that :func:`as_step` accepts.
        delays: delays k, in steps; default: 1 to 50.
        steps: number of steps of each trial, after the washout; default: 2000.
        washout: number of steps before the measured ones; default: 200.
        trials: number of trials with independent inputs; default: 5.
        distractors: amplitude of the other input channels, which receive uniform noise; default: 0.
        state_noise: standard deviation of noise added to the state after each step; default: 0.
        ridge: penalty on the weights of the standardised states, per sample; default: 1e-8.
        seed: seed of input and noise; default: 0.

    Returns:
        The squared correlation for each trial and delay; its area is the memory capacity.

    Raises:
        ValueError: the system has no input, or delays are negative, not ascending, or too long for washout and steps.

    References:
        Jaeger, Short term memory in echo state networks, GMD Report 152, 2001.

    Example:
        >>> leak = as_step(lambda x_t, h: 0.8 * h + x_t, state=torch.zeros(1, 1), input_size=1)
        >>> curve = memory_capacity(leak, range(1, 30))
        >>> round(float(curve.area.mean()), 1)  # of a linear unit: 0.8²
        0.6
    """
    with require_extra("analysis", "memory_capacity"):
        from sklearn.linear_model import Ridge

    step = as_step(system)
    _check_arguments(step, delays, washout + steps // 4)
    generator = torch.Generator().manual_seed(seed)
    shape = (trials, washout + steps, step.input_size)
    x = 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1
    x[..., 1:] *= distractors
    states = _run_driven(step, x, state_noise, generator, torch.clone)
    values, rows = [], np.arange(max(washout, max(delays)), washout + steps)
    learn, test = np.array_split(np.arange(len(rows)), 2)
    for u, h in zip(x[..., 0].numpy(), states, strict=True):
        targets = np.stack([u[rows - k] for k in delays], 1)
        features = _standardise(h[rows], learn)
        probe = Ridge(alpha=ridge * len(learn)).fit(features[learn], targets[learn])
        values.append(_compute_squared_correlation(probe.predict(features[test]).reshape(len(test), -1), targets[test]))
    chance = 1 / (len(test) - 1)  # the mean squared correlation of independent samples
    return RetentionCurve(torch.tensor(list(delays)), torch.from_numpy(np.stack(values)), chance, "squared correlation")


@torch.no_grad()
def retention(
    system: Any,
    symbols: Float[Tensor, "symbols input"] | None = None,
    delays: Sequence[int] = DELAYS,
    *,
    samples: int = 400,
    trials: int = 5,
    washout: int = 20,
    distractors: bool = False,
    noise: float = 0.1,
    state_noise: float = 0.0,
    seed: int = 0,
    read: Callable[[Tensor], Tensor] = torch.clone,
) -> RetentionCurve:
    """Measure how often a linear probe of the state identifies a symbol that was presented k steps earlier.

    Noise matters: without noise, a probe detects arbitrarily small differences, and even an almost forgotten symbol is
    identified perfectly.

    Args:
        system: a system that :func:`as_step` accepts.
        symbols: the input of each symbol, [symbols, input]; default: one-hot, one symbol per input channel.
        delays: delays k, in steps; default: powers of 2 up to 128.
        samples: number of sequences of each trial; the probe (logistic regression) is fitted on half of them; default:
            400.
        trials: number of independent trials; default: 5.
        washout: number of steps before the symbol, with the same noise and distractors as those after it; default: 20.
        distractors: whether random symbols follow, one per step; default: False, zeros follow.
        noise: standard deviation of noise added to every input; default: 0.1.
        state_noise: standard deviation of noise added to the state after each step; default: 0.
        seed: seed of symbols and noise; default: 0.
        read: a function of the flat states [batch, size] whose result the probe receives; default: the whole state.

    Returns:
        The accuracy of the probe for each trial and delay.

    Raises:
        ValueError: there are fewer than two symbols, or delays are negative or not ascending.

    Example:
        >>> hold = as_step(lambda x_t, h: h + x_t, state=torch.zeros(1, 2), input_size=2)
        >>> retention(hold, delays=[1, 100], noise=0.01).mean
        tensor([1., 1.], dtype=torch.float64)
    """
    step = as_step(system)
    _check_arguments(step, delays, None)
    symbols = torch.eye(step.input_size, dtype=torch.float64) if symbols is None else symbols.double().cpu()
    if len(symbols) < 2:
        raise UserError(f"retention needs at least two different symbols, got {len(symbols)}: pass more symbols")
    generator = torch.Generator().manual_seed(seed)
    total = trials * samples
    which = torch.randint(len(symbols), (total, washout + 1 + max(delays)), generator=generator)
    x = symbols[which] if distractors else torch.zeros(*which.shape, step.input_size, dtype=torch.float64)
    x[:, washout] = symbols[which[:, washout]]
    x += noise * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    states = _run_driven(step, x, state_noise, generator, read, [washout + k for k in delays])
    answers = which[:, washout].view(trials, samples).numpy()
    values = [
        [_measure_accuracy(h[:, index], answer) for index in range(len(delays))]
        for h, answer in zip(states.reshape(trials, samples, len(delays), -1), answers, strict=True)
    ]
    return RetentionCurve(torch.tensor(list(delays)), torch.tensor(values).double(), 1 / len(symbols), "accuracy")


def _run_driven(
    step: Step,
    x: Tensor,
    state_noise: float,
    generator: torch.Generator,
    read: Callable[[Tensor], Tensor],
    kept: Sequence[int] | None = None,
) -> np.ndarray:
    """Return the readings of the states after the ``kept`` steps (default: all), [batch, kept, size]."""
    h, states = step.initial_state(len(x)), []
    wanted = set(range(x.shape[1]) if kept is None else kept)
    for t, x_t in enumerate(x.to(h).unbind(1)):
        h = step(x_t, h)
        if state_noise:
            h = h + state_noise * torch.randn(h.shape, generator=generator, dtype=torch.float64).to(h)
        if t in wanted:
            states.append(read(h).double().cpu())
    return torch.stack(states, 1).numpy()


def _check_arguments(step: Step, delays: Sequence[int], longest: int | None) -> None:
    if step.input_size == 0:
        raise UserError("a system without input has nothing to remember: pass as_step an input_size above 0")
    ascending = all(before < after for before, after in pairwise(delays))
    if not len(delays) or delays[0] < 0 or not ascending:
        raise UserError(f"delays must be ascending and not negative, got {list(delays)}")
    if longest is not None and delays[-1] > longest:
        raise UserError(
            f"delays must be at most {longest} with these steps and washout, got {delays[-1]}: increase one of them"
        )


def _standardise(h: np.ndarray, learn: np.ndarray) -> np.ndarray:
    spread = h[learn].std(0)
    return (h - h[learn].mean(0)) / np.where(spread > 0, spread, 1)


def _compute_squared_correlation(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    found, expected = found - found.mean(0), expected - expected.mean(0)
    products = (found * expected).sum(0) ** 2
    squares = (found**2).sum(0) * (expected**2).sum(0)
    return np.where(squares > 0, products / np.where(squares > 0, squares, 1), 0)


def _measure_accuracy(h: np.ndarray, answer: np.ndarray) -> float:
    with require_extra("analysis", "retention"):
        from sklearn.linear_model import LogisticRegression

    learn, test = np.array_split(np.arange(len(h)), 2)
    features = _standardise(h, learn)
    probe = LogisticRegression(C=10.0, max_iter=500).fit(features[learn], answer[learn])
    return float(probe.score(features[test], answer[test]))
