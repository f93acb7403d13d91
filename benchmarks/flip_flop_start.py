"""How flip-flops start decides whether they learn: the loss on recall after noise, from three ways to start.

As in recall.py (32 pairs, noise 0.1, batches of 32, Adam at 3e-2, gradients clipped to norm 1). Writes
results/flip_flop_start.png.

- "open gates": b = -2, C up to 3 horizons;
- "closed gates": b = min(-5, -2 - log C), C up to 3 horizons;
- "closed gates, steep": as nn.CFF starts, b = min(-5, -2 - log min(C, horizon)), C up to 30 horizons, and a slope of -b
  on the weights of the gates, so that they learn the faster, the tighter a gate is closed.
"""

import math
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import rich.progress
import torch

from remanence import nn
from remanence.models import SequenceModel
from remanence.tasks import Recall

PAIRS, RATE, BATCH, SEEDS = 32, 3e-2, 32, (0, 1, 2)
UPDATES = {100: 200, 1000: 200, 10_000: 100}
STARTS = ("open gates", "closed gates", "closed gates, steep")
PICTURE = Path(__file__).parent / "results" / "flip_flop_start.png"


def layer_of(start: str, inputs: int, delay: int) -> nn.CFF:
    layer = nn.CFF(inputs, PAIRS, horizon=delay)
    if start == STARTS[-1]:
        return layer
    with torch.no_grad():
        layer.weight_ih *= layer.log_slope_input.exp().flatten()[:, None]
        layer.log_slope_input.zero_()
        tonic = layer.log_leak.exp() + (layer.log_capacitance + layer.log_conductance_input).exp() * opening(layer)
        layer.log_capacitance.uniform_(0, math.log(3 * delay))
        gates = -2 - layer.log_capacitance.flatten()
        layer.bias.copy_(gates.clamp(max=-5) if start == "closed gates" else torch.full_like(gates, -2.0))
        now = layer.log_leak.exp() + (layer.log_capacitance + layer.log_conductance_input).exp() * opening(layer)
        layer.log_conductance_mutual += (now / tonic).log()
        layer.log_conductance_self += (now / tonic).log()
    return layer


def opening(layer: nn.CFF) -> torch.Tensor:
    return torch.sigmoid(layer.bias).view(2, -1)


def losses(start: str, delay: int, seed: int) -> list[float]:
    task, rng = Recall(delay=delay, seed=seed), np.random.default_rng([seed, 3])
    torch.manual_seed(seed)
    memory = layer_of(start, task.input_size, delay)
    model = SequenceModel(memory, task.target_size, input_size=task.input_size, embedding=(), readout=())
    optimizer, found = torch.optim.Adam(model.parameters(), lr=RATE), []
    for _ in range(UPDATES[delay]):
        samples = task.draw(BATCH, rng)
        loss = task.loss(model(samples.inputs), samples.targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        found.append(float(loss))
    return found


def main() -> None:
    figure, all_axes = plt.subplots(1, len(UPDATES), figsize=(10, 3), sharey=True, layout="constrained")
    todo = [(axes, delay, start) for axes, delay in zip(all_axes, UPDATES, strict=True) for start in STARTS]
    for axes, delay, start in rich.progress.track(todo, description="Training"):
        seeds = SEEDS if delay < max(UPDATES) else SEEDS[:1]
        curves = np.array([losses(start, delay, seed) for seed in seeds])
        print(f"{start}, delay {delay}: loss of the last ten updates {curves[:, -10:].mean(1).round(3)}", flush=True)
        colour = f"C{STARTS.index(start)}"
        axes.plot(curves.T, color=colour, linewidth=0.6, alpha=0.5)
        axes.plot(curves.mean(0), color=colour, label=start)
        axes.axhline(math.log(4), color="0.6", linewidth=0.8, linestyle=":")
        axes.set(title=f"{delay:,} steps of noise", xlabel="update")
    all_axes[0].set_ylabel("cross-entropy; dotted: chance")
    all_axes[0].legend(frameon=False)
    figure.savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main()
