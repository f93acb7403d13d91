"""An LSTM learns to hold a number over 24 steps of noise. Which inputs write its state then, and what is read of it?

Channel 0 shows the number at the first step only, channel 1 is noise at all later ones; a head reads the last output.
"""

import argparse

import torch
from torch import Tensor, nn

from remanence import analysis

STEPS, UNITS = 25, 16


def sample(count: int) -> tuple[Tensor, Tensor]:
    x = torch.zeros(count, STEPS, 2)
    x[:, 0, 0] = 2 * torch.rand(count) - 1
    x[:, 1:, 1] = 0.3 * torch.randn(count, STEPS - 1)
    return x, x[:, 0, 0]


def train(iterations: int) -> tuple[nn.LSTM, nn.Linear, float]:
    """The memory, the head, and the mean squared error of the last batch."""
    torch.manual_seed(0)
    lstm, head = nn.LSTM(2, UNITS, batch_first=True), nn.Linear(UNITS, 1)
    with torch.no_grad():
        lstm.get_parameter("bias_ih_l0")[UNITS : 2 * UNITS] = (
            3  # forget gates open: else it learns nothing in this time
        )
    optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], lr=1e-2)
    error = torch.tensor(torch.nan)
    for _ in range(iterations):
        x, target = sample(64)
        error = (head(lstm(x)[0][:, -1])[:, 0] - target).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    return lstm.double(), head.double(), error.item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=700)
    parser.add_argument("--figure", help="draw a picture to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lstm, head, error = train(options.iterations)
    step, x = analysis.as_step(lstm).read_by(head), sample(16)[0].double()
    written = analysis.controllability(step, x)
    seen = step.run(x[:, :1])[1][:, -1]  # the state once the number is in it
    read = analysis.observability(step, x[:, 1:], seen)
    number, noise = written.energy.sum(-1).mean(0).tolist()
    print(f"mean squared error {error:.2g}")
    print(f"energy written into the last state by the number's channel {number:.3g}, by the noise's {noise:.3g}")
    singular_values = analysis.hankel_modes(step, x, at=STEPS // 2).singular_values.mean(0)
    print("Hankel singular values at half time:", *(f"{value:.2g}" for value in singular_values[:4].tolist()))
    if options.figure:
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(2, 3, figsize=(13, 6.5), layout="constrained")
        written.plot(axes[0])
        read.plot(axes[1])
        figure.savefig(options.figure, dpi=100)
