"""The gradient of a tanh network, step by step back in time, below what bounds it."""

import torch
from _figure import COLOURS, panels, save

from remanence import analysis, nn

UNITS, STEPS = 32, 60


def network(norm: float) -> nn.Elman:
    """A tanh network whose recurrent matrix is orthogonal, times a factor: its norm."""
    layer = nn.Elman(3, UNITS, nonlinearity="tanh").double()
    torch.nn.init.orthogonal_(layer.weight_hh)
    with torch.no_grad():
        layer.weight_hh *= norm
    return layer


def flow(norm: float, x: torch.Tensor) -> analysis.GradientFlow:
    torch.manual_seed(1)
    return analysis.gradient_flow(network(norm), x, last)


def last(y: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    return states[:, -1].sum()


def main() -> None:
    x = 0.3 * torch.randn(4, STEPS, 3).double()
    figure, (one, many) = panels(2)
    torch.manual_seed(1)
    drawn = nn.Elman(3, UNITS, nonlinearity="tanh").double()
    norm = float(torch.linalg.matrix_norm(drawn.weight_hh.detach(), 2))
    analysis.gradient_flow(drawn, x, last).plot(one)
    one.set_title(f"As PyTorch draws W: ‖W‖ = {norm:.2f}")
    for norm, colour in zip((0.5, 0.9, 1.1, 1.5), COLOURS.values(), strict=False):
        found = flow(norm, x)
        many.semilogy(found.norms.log().mean(0).exp(), color=colour, label=f"‖W‖ = {norm}")
        many.semilogy(found.norms[0, -1] * norm ** torch.arange(STEPS, -1, -1.0), ":", color=colour, linewidth=1)
        print(f"norm {norm}: 1% after {found.horizon().tolist()} steps, 100 times after {found.explodes().tolist()}")
    many.set(
        xlabel="time step t", ylabel="norm", title="W orthogonal times ‖W‖; dotted: a linear network", ylim=(1e-9, 1e9)
    )
    many.legend()
    save(figure, "vanishing_gradients")


if __name__ == "__main__":
    main()
