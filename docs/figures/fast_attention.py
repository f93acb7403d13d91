"""What fast weights attend to once they have learned associative retrieval, and what their inner loop does.

Trains as recipes/demo.yaml does (three pairs, 100 units, Adam at 3e-3, batches of 128; half a minute on one core),
writes fast_attention.png and fast_dynamics.png, and prints which readings of the last step the answer needs.
"""

import torch
from _figure import panels, save
from torch.nn.functional import cross_entropy, one_hot
from torch.nn.utils import clip_grad_norm_

from remanence import analysis, nn
from remanence.analysis.fast_weights.path import trace_path
from remanence.models import SequenceModel
from remanence.tasks import Retrieval

UPDATES, BATCH, RATE, PAIRS, SHOWN = 1200, 128, 3e-3, 3, 2
TEST, FOLLOWED = 5000, 50


def train(task: Retrieval) -> SequenceModel:
    memory, symbols = nn.FastWeights(100, 100), len(task.vocabulary)
    model = SequenceModel(memory, task.target_size, vocabulary_size=symbols, embedding=(100,))
    optimizer, data = torch.optim.Adam(model.parameters(), lr=RATE), task.dataset("train")
    for rows in torch.randperm(len(data))[torch.arange(UPDATES * BATCH) % len(data)].split(BATCH):
        loss = cross_entropy(model(data.inputs[rows]), data.targets[rows])
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    return model.eval()


def share(weights: torch.Tensor, where: torch.Tensor) -> float:
    """Of all weights of the last step, the mean of those at the positions [batch, time] that are true."""
    last = weights[:, -1] / weights[:, -1].sum(1, keepdim=True)
    return 100 * float(last[where].mean())


def error_without(model: SequenceModel, memory: nn.FastWeights, found, z, where, targets) -> float:
    """Error rate once the last step leaves out what it reads at these positions; z is what f(LN(·)) is made of."""
    left_out = torch.einsum("bu,bui->bi", found.weights[:, -1] * where, found.states)
    h = torch.relu(memory.norm(z - left_out))
    return 100 * float((model.readout(h).argmax(1) != targets).double().mean())


@torch.no_grad()
def main() -> None:
    task = Retrieval(pairs=PAIRS, test=TEST)
    with torch.enable_grad():
        model = train(task)
    data, memory = task.dataset("test"), model.memory
    tokens, embedded = data.inputs, model.encoder(data.inputs)
    found, z = analysis.fast_attention(memory, embedded), trace_path(memory, embedded).drives[:, -1, -1]
    letters = one_hot((tokens[:, : 2 * PAIRS : 2] == tokens[:, -1:]).int().argmax(1) * 2, 2 * PAIRS + 3).bool()
    digits = letters.roll(1, 1)
    first = torch.arange(2 * PAIRS + 3) < 2 * PAIRS
    even = torch.arange(2 * PAIRS + 3) % 2 == 0
    none = torch.zeros_like(letters)
    for name, where in (
        ("nothing", none), ("the letter asked for", letters), ("its digit", digits), ("both", letters | digits),
        ("the other letters", first & even & ~letters), ("the other digits", first & ~even & ~digits),
        ("the question marks", none | ~first),
    ):  # fmt: skip
        attended = share(found.weights, where) if where.any() else 0.0
        error = error_without(model, memory, found, z, where, data.targets)
        print(f"without {name}: error {error:.1f}%, share of attention a position {attended:.1f}%")
    figure, axes = panels(SHOWN, 4.0)
    for row, plane in enumerate(axes):
        symbols = [task.vocabulary[token] for token in tokens[row].tolist()]
        found.plot(plane, symbols=symbols, row=row)
        plane.set_title(f"{''.join(symbols)} → {int(data.targets[row])}")
    save(figure, "fast_attention")
    figure, axes = panels(2)
    analysis.fast_weights_dynamics(memory.double(), embedded[:FOLLOWED].double()).plot(axes)
    save(figure, "fast_dynamics")


if __name__ == "__main__":
    main()
