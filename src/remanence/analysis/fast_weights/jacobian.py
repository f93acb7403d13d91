"""The Jacobian of the joint system (h, A), derived by hand, and its eigenvalues."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from remanence.analysis.fast_weights.path import Path
from remanence.nn.fast_weights import FastWeights


def compute_blocks(
    layer: FastWeights, path: Path
) -> tuple[Float[Tensor, "batch time hidden hidden"], Float[Tensor, "batch time hidden hidden"]]:
    """Compute how the new hidden state h' depends on the previous state, at every point of a path.

    With the derivative ``D_s`` of f(LN(·)) at the inner step s, both results are accumulated along the inner loop::

        G_0 = D_0 W      G_s = D_s (W + A G_{s-1})
        M_0 = 0          M_s = D_s (η ((h' · h^{s-1}) I + h' h^{s-1}ᵀ) + A M_{s-1})

    Returns:
        ``G = ∂h'/∂h``, and ``M = η ∂h'/∂A · K``, where ``K v = v h'ᵀ + h' vᵀ`` is the change of h' h'ᵀ when h' changes
        by v.
    """
    count = layer.inner_steps
    D = _compute_slopes(layer, path.drives[:, :, : count + 1])
    new, η = path.iterates[:, :, count], float(layer.fast_learning_rate)
    identity = torch.eye(layer.hidden_size, dtype=new.dtype, device=new.device)
    W = layer.weight_hh.detach()
    G = D[:, :, 0] @ W
    M = torch.zeros_like(G)
    for s in range(1, count + 1):
        h = path.iterates[:, :, s - 1]
        changed = (new * h).sum(-1)[..., None, None] * identity + new[..., :, None] * h[..., None, :]
        G = D[:, :, s] @ (W + path.A @ G)
        M = D[:, :, s] @ (η * changed + path.A @ M)
    return G, M


def compute_eigenvalues(layer: FastWeights, path: Path) -> Complex[Tensor, "batch time values"]:
    """Compute the 2 N eigenvalues of the joint Jacobian that are not always λ, the largest modulus first.

    Since ``A' = λ A + η h' h'ᵀ`` depends on the past only through λ A and h', the Jacobian J [N + N², N + N²] is λ on A
    plus a matrix of rank N, and the matrix determinant lemma gives::

        det(z I - J) = (z - λ)^{N² - N} det(z² I - z (λ I + G + M) + λ G)

    The roots of the last factor, a matrix polynomial, are the eigenvalues of its companion matrix. For N = 100, this
    matrix is 200 x 200, whereas J has 10,100 rows.
    """
    G, M = compute_blocks(layer, path)
    identity = torch.eye(layer.hidden_size, dtype=G.dtype, device=G.device).expand_as(G)
    λ = float(layer.decay)
    upper = torch.cat([λ * identity + G + M, -λ * G], -1)
    lower = torch.cat([identity, torch.zeros_like(G)], -1)
    found = torch.linalg.eigvals(torch.cat([upper, lower], -2))
    return found.gather(-1, found.abs().argsort(-1, descending=True))


def compute_deviation(layer: FastWeights, drives: Float[Tensor, "*points hidden"]) -> Float[Tensor, "*points"]:
    """Compute the standard deviation σ by which layer norm divides; 1 without layer norm."""
    if not isinstance(layer.norm, nn.LayerNorm):
        return drives.new_ones(drives.shape[:-1])
    return (drives.var(-1, correction=0) + layer.norm.eps).sqrt()


def _compute_slopes(layer: FastWeights, drives: Tensor) -> Tensor:
    """Compute D = ∂f(LN(z))/∂z, with ∂LN/∂z = ``diag(gain) (I - 1 1ᵀ/N - ẑ ẑᵀ/N) / σ`` and ẑ = (z - mean) / σ."""
    active = layer.norm(drives)
    slope = 1 - active.tanh().square() if layer.nonlinearity == "tanh" else (active > 0).to(active)
    if not isinstance(layer.norm, nn.LayerNorm):
        return torch.diag_embed(slope)
    σ, N = compute_deviation(layer, drives)[..., None], drives.shape[-1]
    z = (drives - drives.mean(-1, keepdim=True)) / σ
    centred = torch.eye(N, dtype=z.dtype, device=z.device) - 1 / N - z[..., :, None] * z[..., None, :] / N
    return (slope * layer.norm.weight.detach() / σ)[..., :, None] * centred
