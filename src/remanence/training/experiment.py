"""A task, a model and an optimiser as a LightningModule."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from remanence import tasks
from remanence.data import load_prepared
from remanence.errors import DivergenceError, RunError, UserError, is_out_of_memory
from remanence.models import SequenceModel, Transformer
from remanence.models.mixer import is_attention
from remanence.models.sequence import get_encoder_size
from remanence.nn import create
from remanence.runs.config import RunConfig, TransformerConfig
from remanence.tasks import AnyLength, Batch
from remanence.tasks.task import IGNORED
from remanence.training.schedule import lr_factor

EVALUATION_BATCH = 1000
EVALUATION_POSITIONS = 1 << 18  # in a batch: long sequences are evaluated fewer at a time
LARGE = 4096  # units of a layer from which on its parameters may not fit into the memory
COPIES = 4  # parameters, their gradients, two moments of Adam
Samples: TypeAlias = tasks.Samples | tasks.Sequences | tasks.Windows | tasks.Drawn
HUGE = 1e6  # no parameter of a working network is that large


class Experiment(lightning.LightningModule):
    """Trains one model on one task.

    Args:
        config: the run.

    Raises:
        ValueError: the task or the layer refuses its options, or the task's data are not prepared.
        RunError: the model does not fit into the memory.
    """

    def __init__(self, config: RunConfig):
        super().__init__()
        self.config = config
        self.task = tasks.create(config.task.name, **config.task.options)
        if self.task.source is not None:
            load_prepared(self.task.source, config.task.name)
        with explain_out_of_memory(config):
            check_size(config, self.task)
            self.model = build_model(config, self.task)
        initialize_parameters(self.model, config)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Compute the loss of one batch.

        Raises:
            DivergenceError: it is not finite.
        """
        loss = self.task.loss(self.output(batch), batch.targets)
        if not torch.isfinite(loss):
            raise DivergenceError(self._diagnose(loss.item()))
        self.log("train_loss", loss, batch_size=count_answers(batch.targets), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Log loss and metric of one batch."""
        self._evaluate(batch, "validation")

    def test_step(self, batch: Batch, index: int) -> None:
        """Log loss and metric of one batch."""
        self._evaluate(batch, "test")

    def configure_optimizers(self) -> Any:
        """Create AdamW and a learning rate schedule that is updated at every step."""
        training, total = self.config.training, int(self.trainer.estimated_stepping_batches)
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        adam = torch.optim.AdamW(
            trained, lr=training.learning_rate, betas=training.betas, weight_decay=training.weight_decay
        )
        rate = partial(lr_factor, warmup=training.warmup, lr_schedule=training.lr_schedule, total=total)
        schedule = torch.optim.lr_scheduler.LambdaLR(adam, rate)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def loader(self, split: tasks.Split) -> DataLoader[Any]:
        """Return the batches of a split; the order of training depends only on the seed and the epoch.

        Args:
            split: which one.
        """
        samples = self.task.dataset(split)
        if split != "train":
            return self.load_for_evaluation(samples)
        order = DistributedSampler(samples, num_replicas=1, rank=0, shuffle=True, seed=self.config.seed)
        return DataLoader(
            Batched(samples), batch_size=self.config.training.batch_size, sampler=order, collate_fn=pass_batch
        )

    def load_for_evaluation(self, samples: Samples) -> DataLoader[Any]:
        """Return the batches on which a model is evaluated.

        Args:
            samples: of a split, or of one length.
        """
        size = max(self.config.training.batch_size, EVALUATION_POSITIONS // samples.longest)
        return DataLoader(
            Batched(samples),
            batch_size=min(EVALUATION_BATCH, size),
            sampler=self._choose_evaluation_samples(len(samples)),
            collate_fn=pass_batch,
        )

    def output(self, batch: Batch) -> Tensor:
        """Apply the model to the inputs of a batch.

        Args:
            batch: the batch of the task.
        """
        # A model whose inputs are never padded, timed or reset need not know of masks, timespans and resets.
        extras = {"mask": batch.mask, "timespans": batch.timespans, "reset": batch.reset}
        given = {name: part for name, part in extras.items() if part is not None}
        output = self.model(batch.inputs, **given)
        # Losses are taken in full precision, whatever the products of matrices were computed in.
        return output if output.dtype == torch.float64 else output.float()

    def _choose_evaluation_samples(self, count: int) -> list[int] | None:
        """Choose the samples to validate and test on; None: all."""
        wanted = self.config.training.evaluation_samples
        if wanted is None or wanted >= count:
            return None
        # Drawn, for the samples of a split may come class by class; the same for every run.
        return np.sort(np.random.default_rng(0).permutation(count)[:wanted]).tolist()

    def _evaluate(self, batch: Batch, split: str) -> None:
        output, target = self.output(batch), batch.targets
        values = {f"{split}_loss": self.task.loss(output, target), f"{split}_metric": self.task.measure(output, target)}
        self.log_dict(values, batch_size=count_answers(target), on_step=False, on_epoch=True)

    def _diagnose(self, loss: float) -> str:
        training, step = self.config.training, self.global_step + 1
        start = f"the loss is {loss} at step {step} (epoch {self.current_epoch + 1})"
        largest = max(float(parameter.detach().abs().max()) for parameter in self.parameters())
        if not largest < HUGE:
            cause = f"the updates were too large (the largest parameter is {largest:.1e})"
        else:
            cause = f"the state of {self.config.layer.name} grew from step to step until it overflowed"
        clip = (
            f"clip harder (training.clip, now {training.clip:g})" if training.clip else "clip gradients (training.clip)"
        )
        return f"{start}; likely {cause}. Lower training.learning_rate (now {training.learning_rate:g}) or {clip}."


@contextmanager
def explain_out_of_memory(config: RunConfig) -> Iterator[None]:
    """Convert an out-of-memory error to one that says what was too large."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RunError) or not is_out_of_memory(error):
            raise
        raise RunError(
            f"out of memory: {config.layer.name} with {config.layer.hidden_size:,} units on {config.task.name}, in "
            f"batches of {config.training.batch_size:,}; use fewer units or a smaller training.batch_size"
        ) from error


class Batched(Dataset[Batch]):
    """A dataset that returns whole batches at once instead of sample by sample."""

    def __init__(self, samples: Samples):
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Batch:
        return self.samples.batch([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        return self.samples.batch(indices)


def count_answers(target: Tensor) -> int:
    """Count the numbers or classes that a batch asks for, which is the weight of its mean in the overall mean."""
    return target.numel() if target.is_floating_point() else int((target != IGNORED).sum())


def pass_batch(batch: Any) -> Any:
    """Pass on what is already a batch (the collate function)."""
    return batch


def build_model(config: RunConfig, task: tasks.Task) -> nn.Module:
    """Build the model that ``config`` describes, for the inputs and targets of ``task``.

    Raises:
        ValueError: a model that would see the future, or a task of timed steps and a layer without a notion of time.
    """
    ends: dict[str, Any] = {
        "vocabulary_size": len(task.vocabulary) if task.vocabulary else None,
        "input_size": task.input_size,
        "readout": config.model.readout,
        "pairs": task.paired,
    }
    if config.model.transformer is not None:
        return Transformer(
            task.target_size, **ends, **build_transformer_options(config, config.model.transformer, task)
        )
    memory = create(
        config.layer.name,
        input_size=get_encoder_size(config.model.embedding, task.input_size),
        hidden_size=config.layer.hidden_size,
        **config.layer.options,
    )
    if task.timed and not memory.continuous_time:
        raise UserError(
            f"{config.layer.name} is not a continuous-time layer, but the steps of {config.task.name} have timespans: "
            "--set task.options.elapsed=channel passes them as an input channel"
        )
    pooling = "none" if task.stepwise else "last"
    return SequenceModel(memory, task.target_size, embedding=config.model.embedding, pooling=pooling, **ends)


def check_size(config: RunConfig, task: tasks.Task) -> None:
    """Refuse a model that does not fit into the memory of this machine, before allocating it.

    Raises:
        MemoryError: its parameters, with gradients and the two moments of Adam, are larger.
    """
    blocks = config.model.transformer
    sizes = [config.layer.hidden_size, *config.model.embedding, *config.model.readout]
    if blocks is not None:
        sizes += [64 * blocks.layers, blocks.mlp or 0, blocks.max_length]
    if max(sizes) < LARGE or not hasattr(os, "sysconf"):
        return
    try:
        with torch.random.fork_rng([]), torch.device("meta"):  # sizes, no values, and the same seed afterwards
            model = build_model(config, task)
    except (RuntimeError, NotImplementedError, TypeError):  # a user's layer that cannot be built on meta
        return
    needed = COPIES * sum(each.numel() * each.element_size() for each in model.parameters())
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise MemoryError(f"{needed:,} bytes of {there:,}")


def initialize_parameters(model: nn.Module, config: RunConfig) -> None:
    """Set the parameters that start at a constant, and freeze those that are not trained.

    Raises:
        ValueError: there is no such parameter.
    """
    named = dict(model.named_parameters())
    for field, names in {"model.initial": config.model.initial, "training.frozen": config.training.frozen}.items():
        for name in names:
            if name not in named:
                raise UserError(
                    f"{field}: {name!r} is not a parameter of this model, whose parameters are {', '.join(named)}"
                )
    with torch.no_grad():
        for name, value in config.model.initial.items():
            named[name].fill_(value)
    for name in config.training.frozen:
        named[name].requires_grad_(False)


def build_transformer_options(config: RunConfig, blocks: TransformerConfig, task: tasks.Task) -> dict[str, Any]:
    """Build the arguments of the transformer from the configuration, checked against the task."""
    layer = config.layer
    if task.timed:
        raise UserError(
            "a transformer does not accept timespans: --set task.options.elapsed=channel passes them as a channel"
        )
    if task.episodic and is_attention(layer.name):
        raise UserError(
            f"{layer.name} is attention, which has no state that could be reset where an episode of "
            f"{config.task.name} begins: --set task.options.boundaries=token lets it read the boundaries instead"
        )
    longest = task.dataset_at(task.lengths[-1]).longest if isinstance(task, AnyLength) and task.lengths else 0
    if longest > blocks.max_length:
        raise UserError(
            f"{config.task.name} is tested on up to {longest:,} steps, the transformer takes {blocks.max_length:,}: "
            f'--set model.transformer.max_length={longest}, or shorter ones with --set "task.options.lengths=[...]"'
        )
    options = blocks.model_dump()
    if task.stepwise:
        if not blocks.causal:
            raise UserError(
                f"{config.task.name} predicts what comes next at each position, which a bidirectional model "
                "would see: --set model.transformer.causal=true"
            )
        options["pooling"] = "none"
    return {**options, "mixer": layer.name, "width": layer.hidden_size, "mixer_options": layer.options}
