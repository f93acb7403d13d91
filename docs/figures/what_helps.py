"""Gradient flow and retention of memories as they start, untrained: one figure, all remedies."""

import math

import torch
from _figure import COLOURS, panels, save

from remanence import analysis, nn

CHANNELS, UNITS, STEPS, DELAYS = 4, 16, 200, (1, 2, 5, 10, 20, 50, 100, 200)


def lstm(chrono: bool) -> nn.LSTM:
    """Gates as PyTorch starts them, or by the chrono rule: biases of the forget gate log u, u up to the horizon."""
    layer = nn.LSTM(CHANNELS, UNITS)
    if chrono:
        with torch.no_grad():
            layer.rnn.bias_ih_l0.zero_()
            layer.rnn.bias_hh_l0.zero_()
            bias = torch.empty(UNITS).uniform_(1, STEPS - 1).log()
            layer.rnn.bias_hh_l0[:UNITS], layer.rnn.bias_hh_l0[UNITS : 2 * UNITS] = -bias, bias
    return layer


MEMORIES = {
    "tanh network": lambda: nn.Elman(CHANNELS, UNITS, nonlinearity="tanh"),
    "LSTM": lambda: lstm(chrono=False),
    "LSTM, chrono": lambda: lstm(chrono=True),
    "EUNN": lambda: nn.EUNN(CHANNELS, UNITS // 2),
    "persistent": lambda: nn.PersistentLinear(CHANNELS, UNITS, nonlinearity="identity"),
    "flip-flops": lambda: nn.CFF(CHANNELS, UNITS, horizon=STEPS),
    "fast weights": lambda: nn.FastWeights(CHANNELS, UNITS, decay=0.95),
}
LOOKS = [*((colour, "-") for colour in COLOURS.values()), ("#56b4e9", "-"), ("#5a6169", "-")]
LOOKS[4] = (LOOKS[4][0], "--")  # lies on another one


def gradients(layer: nn.Memory) -> torch.Tensor:
    """‖∂L/∂state_t‖ over that at the end, for a random direction of the output's part of the last state."""
    torch.manual_seed(2)
    x, direction = 0.1 * torch.randn(4, STEPS, CHANNELS).double(), torch.randn(UNITS).double()
    found = analysis.gradient_flow(layer.double(), x, lambda y, states: (states[:, -1, :UNITS] * direction).sum())
    relative = found.norms / found.norms[:, -1:]
    return relative.log().mean(0).exp().flip(0)


def symbol_read(layer: nn.Memory, washout: int = 0) -> analysis.RetentionCurve:
    options = {"samples": 200, "trials": 3, "noise": 0.05}
    return analysis.retention(layer, delays=DELAYS, washout=washout, **options)


def main() -> None:
    figure, (flow, kept) = panels(2, 4.2)
    for (name, make), (colour, style) in zip(MEMORIES.items(), LOOKS, strict=True):
        torch.manual_seed(0)
        layer = make()
        curve = symbol_read(layer)
        back = gradients(layer)
        flow.semilogy(back, style, color=colour, label=name)
        kept.plot(curve.delays, curve.mean, style, marker=".", color=colour, label=name)
        half = "never" if math.isinf(curve.half_life) else f"{curve.half_life:.0f}"
        left = {k: f"{float(back[k]):.1e}" for k in (10, 50, 200) if k <= STEPS}
        print(f"{name:13} gradient left {left}, symbol read {[round(v, 2) for v in curve.mean.tolist()]}, half {half}")
    torch.manual_seed(0)
    later = symbol_read(MEMORIES["fast weights"](), washout=5)
    kept.plot(later.delays, later.mean, ":", marker=".", color="#5a6169", label="fast weights,\nsymbol in step 6")
    print(f"fast weights, symbol after 5 steps of silence: {[round(v, 2) for v in later.mean.tolist()]}")
    flow.set(
        xlabel="steps back in time", ylabel="gradient, relative to the end", title="Gradient flow", ylim=(1e-10, 30)
    )
    kept.axhline(curve.chance, color="#5a6169", linestyle=":", linewidth=1)
    kept.set(
        xscale="log", xlabel="delay, steps", ylabel="accuracy of a linear probe", title="Retention", ylim=(0, 1.03)
    )
    kept.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, "what_helps")


if __name__ == "__main__":
    main()
