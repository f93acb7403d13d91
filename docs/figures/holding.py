"""A Fastlane that holds the signs of three channels: the values of its neurons, and who hears whom."""

import torch
from _figure import panels, save

from remanence import analysis, tasks
from remanence.nn import Fastlane

UPDATES = 1200


def train() -> tuple[Fastlane, torch.Tensor]:
    """A network that learnt the flip-flop task, and validation inputs of that."""
    task = tasks.create("flipflop")
    layer = Fastlane(3, 24, nonlinearity="tanh", max_norm=0.9)
    readout = torch.nn.Linear(24, 3)
    optimiser = torch.optim.Adam([*layer.parameters(), *readout.parameters()], lr=0.005)
    samples = task.dataset("train")
    for update in range(UPDATES):
        batch = samples.batch(torch.randint(len(samples), (64,)).tolist())
        loss = task.loss(readout(layer(batch.inputs)[0]), batch.targets)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 5.0)
        optimiser.step()
        if update % 300 == 299:
            print(f"update {update + 1}: squared error {loss.item():.4f}")
    return layer.double(), task.dataset("validation").batch(list(range(32))).inputs.double()


def main() -> None:
    found = analysis.holding(*train())
    print(f"{len(found.holders)} of {len(found.share)} neurons hold for more than half of the time")
    figure, (values, graph) = panels(2, 5.0)
    found.plot(values)
    found.graph(graph)
    save(figure, "holding")


if __name__ == "__main__":
    main()
