"""The memories of a run."""

from pathlib import Path

import torch
from torch import Tensor, nn

from remanence.errors import RunError, UserError
from remanence.inspection.subject import ROWS, STEPS, Subject
from remanence.models import Transformer
from remanence.models.mixer import MemoryMixer
from remanence.registry import refuse_imports
from remanence.runs.folder import RunFolder
from remanence.runs.reading import Run, read_run
from remanence.training import Experiment, RunConfig
from remanence.training.recipe import validate
from remanence.training.run import load_weights


def subjects_of_run(folder: Path, *, allow_import: bool = False) -> list[Subject]:
    """Load the memory of a run with the weights of its best epoch; for a transformer, that of each block.

    Args:
        folder: the folder of the run.
        allow_import: whether its configuration may name task and layer as ``package.module:Class``, whose code is run
            then.

    Returns:
        One subject for each memory.

    Raises:
        ValueError: the folder is not a run, the run has no recurrent memory, or it names code to import.
        RunError: no weights yet, or damaged ones.
    """
    run = read_run(folder)
    if not allow_import:
        refuse_imports([run.task, run.layer], RunFolder(folder).config)
    config = validate(RunConfig, run.config, where=str(RunFolder(folder).config))
    try:
        experiment = Experiment(config)
    except UserError as error:
        raise UserError(f"{RunFolder(folder).config}: {error}") from error
    memories = find_memories(experiment.model)
    if not memories:
        raise UserError(f"{folder}: its mixer is {run.layer}, attention: there is no recurrent memory to inspect")
    load_best(experiment, folder)
    experiment.double().eval()
    driven = record_inputs(list(memories.values()), experiment)
    return [
        Subject.from_inputs(f"{folder.name} {place}".strip(), _describe_memory(run, place, memory), memory, x)
        for (place, memory), x in zip(memories.items(), driven, strict=True)
    ]


def find_memories(model: nn.Module) -> dict[str, nn.Module]:
    """Find recurrent memories by their place; in a bidirectional block, the forward one."""
    if not isinstance(model, Transformer):
        return {"": model.memory}  # type: ignore[dict-item]
    places = {}
    for number, block in enumerate(model.blocks, start=1):
        if isinstance(block.mixer, MemoryMixer):
            forwards, *backwards = block.mixer.memories
            places[f"block {number}{', forwards' if backwards else ''}"] = forwards
    return places


def load_best(experiment: Experiment, folder: Path) -> None:
    """Give the model its weights at the best validation.

    Raises:
        RunError: there are none, or they are damaged.
    """
    path = RunFolder(folder).best
    if not path.exists():
        raise RunError(f"{folder} has no weights yet: its first epoch has not finished, continue training it")
    load_weights(experiment, path)


@torch.no_grad()
def record_inputs(memories: list[nn.Module], experiment: Experiment) -> list[Tensor]:
    """Record the input of each memory for validation samples, [sequences, time, input], cut to the shortest."""
    samples = experiment.task.dataset("validation")
    needed = ROWS * -(-STEPS // samples.longest)
    batch = samples.batch(list(range(min(needed, len(samples)))))
    if batch.inputs.is_floating_point():
        batch = batch._replace(inputs=batch.inputs.double())
    if batch.timespans is not None:
        batch = batch._replace(timespans=batch.timespans.double())
    caught: dict[nn.Module, Tensor] = {}
    hooks = [
        memory.register_forward_pre_hook(lambda module, given: caught.__setitem__(module, given[0]))
        for memory in memories
    ]
    experiment.output(batch)
    for hook in hooks:
        hook.remove()
    shortest = STEPS if batch.mask is None else int(batch.mask.flatten(0, -2).sum(1).min())
    return [caught[memory][:, : max(shortest, 1)] for memory in memories]


def _describe_memory(run: Run, place: str, memory: nn.Module) -> str:
    where = f" of a transformer ({place})" if place else ""
    return (
        f"{run.layer} with {memory.hidden_size} units{where}, trained on {run.task} with seed {run.seed} ({run.state})"
    )
