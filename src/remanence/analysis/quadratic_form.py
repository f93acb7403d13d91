"""Quadratic Lyapunov functions from the linearisation at a stable fixed point."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import get_axes
from remanence.analysis.lyapunov_check import LyapunovCheck, check_lyapunov_function
from remanence.errors import UserError
from remanence.extras import require_extra

ROUNDS = 50  # maximum number of rounds, each of which samples a smaller level set
BEYOND = 1.5  # a plot shows V up to this multiple of the level


@dataclass(frozen=True, eq=False)
class QuadraticLyapunov:
    """The function ``V(h) = (h - x̄)ᵀ P (h - x̄)``, which decreases along all trajectories near x̄.

    Attributes:
        P: the solution of ``Aᵀ P A - P + Q = 0``, [size, size].
        point: the fixed point x̄, [size].
        level: an upper estimate of the largest c such that V decreases everywhere in ``V < c``.
        check: the sampled states, up to 1.5 times the level.
        verdict: the conclusion, in words.
    """

    P: Float[Tensor, "size size"]
    point: Float[Tensor, " size"]
    level: float
    check: LyapunovCheck
    verdict: str

    def __call__(self, h: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
        """Evaluate V.

        Args:
            h: flat states, [batch, size].

        Returns:
            V, [batch].
        """
        return _evaluate(self.P, h - self.point)

    @property
    def half_axes(self) -> Float[Tensor, " size"]:
        """The half-axes of the ellipsoid ``V = level``, descending."""
        return (self.level / torch.linalg.eigvalsh(self.P)).sqrt()

    def plot(self, axes: Any = None) -> Any:
        """Plot the change of V in a step over V, including states above the level.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        axes = self.check.plot(get_axes(axes))
        axes.set(title=f"Quadratic V falls below {self.level:.3g}")
        return axes


@torch.no_grad()
def quadratic_lyapunov(
    system: Any,
    point: Float[Tensor, " size"],
    x: Float[Tensor, " input"] | None = None,
    *,
    Q: Float[Tensor, "size size"] | None = None,
    reach: float = 10.0,
    samples: int = 10_000,
) -> QuadraticLyapunov:
    """Solve the Lyapunov equation at a fixed point, and estimate by sampling how far from it V decreases.

    Near the point, V is guaranteed to decrease: ``V(F(h)) - V(h) = -(h - x̄)ᵀ Q (h - x̄)`` to second order. Farther away,
    states with ``V < c`` are sampled, and c is reduced to the smallest V that does not decrease, until all decrease.

    Args:
        system: a system that :func:`as_step` accepts, preferably in float64.
        point: the fixed point x̄, [size], for example from :func:`fixed_points`.
        x: the constant input, [input]; default: zeros.
        Q: a symmetric positive definite matrix, [size, size]; default: the identity.
        reach: the largest distance from the point that is sampled; default: 10.
        samples: number of states in each round; default: 10,000.

    Returns:
        P, and an estimate of the level below which V decreases.

    Raises:
        ValueError: the point is not an equilibrium, its linearisation is not stable, or Q is not symmetric and positive
            definite.

    References:
        Khalil, Nonlinear Systems, 2002, sections 4.3 and 8.2 (level sets as estimates of the region of attraction).

    Example:
        >>> step = as_step(lambda x_t, h: 0.5 * h + h**3, state=torch.zeros(1, 1, dtype=torch.float64))
        >>> found = quadratic_lyapunov(step, torch.zeros(1).double())
        >>> round(float(found.half_axes), 2)  # from the saddle at √½ on the state does not come back
        0.71
    """
    step = as_step(system)
    x = step.silence()[0] if x is None else x
    A = step.jacobian(x[None], point[None])[0]
    P = _solve_lyapunov_equation(A, torch.eye(len(A), dtype=A.dtype, device=A.device) if Q is None else Q)
    root = torch.linalg.inv(torch.linalg.cholesky(P)).T  # V(x̄ + root u) = ‖u‖²
    generator = torch.Generator().manual_seed(0)

    def check(level: float) -> LyapunovCheck:
        drawn = torch.randn(samples, len(P), generator=generator, dtype=torch.float64)
        lengths = (level * torch.rand(samples, 1, generator=generator, dtype=torch.float64)).sqrt()
        directions = (drawn / drawn.norm(dim=1, keepdim=True)).to(P)
        states = point + lengths.to(P) * directions @ root.T
        return check_lyapunov_function(step, lambda h: _evaluate(P, h - point), states, point=point, x=x)

    first = level = reach**2 * float(torch.linalg.eigvalsh(P)[0])
    for _ in range(ROUNDS):
        seen = check(level)
        if seen.strict:
            break
        level = seen.level
    return QuadraticLyapunov(
        P, point, level, check(min(BEYOND * level, first)), _describe_verdict(level, first, samples)
    )


def _solve_lyapunov_equation(A: Tensor, Q: Tensor) -> Tensor:
    with require_extra("analysis", "a quadratic Lyapunov function"):
        from scipy.linalg import solve_discrete_lyapunov

    if Q.shape != A.shape or not torch.equal(Q, Q.T) or not bool(torch.linalg.eigvalsh(Q)[0] > 0):
        raise UserError(f"expected Q symmetric and positive definite, {list(A.shape)}, got {list(Q.shape)}")
    radius = float(torch.linalg.eigvals(A).abs().max())
    if not radius < 1:
        raise UserError(
            f"the linearisation is not stable there: its largest |λ| is {radius:.6g}; pass a stable "
            "fixed point, since no quadratic V decreases around this one"
        )
    P = torch.from_numpy(solve_discrete_lyapunov(A.T.cpu().numpy(), Q.cpu().numpy())).to(A)
    return (P + P.T) / 2


def _evaluate(P: Tensor, away: Tensor) -> Tensor:
    return ((away @ P) * away).sum(-1)


def _describe_verdict(level: float, first: float, samples: int) -> str:
    if level == first:
        return (
            f"V falls at all {samples:,} states sampled in V < {level:.4g}, as far as was looked: evidence, not proof"
        )
    return f"V falls at all {samples:,} states sampled in V < {level:.4g}, not everywhere beyond: evidence, not proof"
