"""Recall of one of ten digits by its place, after 200 blanks: one run of each memory, and of attention.

All are the mixer of the same causal transformer: 2 blocks of width 32, MLPs of 64, learnt positions, the output at the
last position read. Adam at 3e-3, batches of 64 out of 20,000 strings, gradients clipped to norm 1, 90 s of processor
time each on one thread, less if at most 1% of 1,000 validation strings are answered wrongly.
"""

import argparse
import time
from pathlib import Path

import torch

from remanence.models import Transformer
from remanence.tasks import IndexedRecall

MIXERS, SECONDS, EVERY, SUCCESS = ("cff", "lstm", "gru", "urnn", "eunn", "full"), 90, 50, 0.01
RESULT = Path(__file__).parent / "results" / "indexed_recall.md"


def model_of(mixer: str, task: IndexedRecall) -> Transformer:
    length = task.length + task.blanks + 1
    return Transformer(
        task.target_size,
        vocabulary_size=len(task.vocabulary),
        mixer=mixer,
        mixer_options={"horizon": length} if mixer == "cff" else {},
        layers=2,
        width=32,
        heads=1,
        mlp=64,
        max_length=length,
        causal=True,
        pooling="last",
    )


@torch.no_grad()
def error_of(model: Transformer, task: IndexedRecall, split: str) -> float:
    samples = task.dataset(split)
    batches = zip(samples.inputs.split(250), samples.targets.split(250), strict=True)
    errors = [float(task.measure(model(x), target)) for x, target in batches]
    return sum(errors) / len(errors)


def run(mixer: str, task: IndexedRecall) -> str:
    """A line of the table."""
    torch.manual_seed(0)
    model, samples = model_of(mixer, task), task.dataset("train")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    start, step, solved = time.process_time(), 0, False
    while time.process_time() - start < SECONDS and not solved:
        chosen, step = torch.randint(len(samples), (64,)), step + 1
        loss = task.loss(model(samples.inputs[chosen]), samples.targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        solved = step % EVERY == 0 and error_of(model, task, "validation") <= SUCCESS
    seconds, size = time.process_time() - start, sum(parameter.numel() for parameter in model.parameters())
    return f"| `{mixer}` | {size:,} | {step:,} | {seconds:.0f} | {error_of(model, task, 'test'):.3f} |"


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # vanishing gradients end as denormal numbers, which are up to ten times slower
    task = IndexedRecall()
    head = f"# {__doc__.strip()}\n\nChance is {task.chance}; who knows which digits came, but not where, errs on 0.72."
    lines = [head, "", "| mixer | parameters | steps | s | test error |", "| --- | --- | --- | --- | --- |"]
    for mixer in MIXERS:
        lines.append(run(mixer, task))
        print(lines[-1], flush=True)
    lines += ["", f"One seed, torch {torch.__version__}. Written by `python benchmarks/indexed_recall.py`.", ""]
    RESULT.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
