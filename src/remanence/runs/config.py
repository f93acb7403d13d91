"""The configuration of a run: typed, validated, and stored completely with its result."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from remanence import __version__
from remanence.errors import UserError
from remanence.runs.renamed import update_section

LRSchedule: TypeAlias = Literal["none", "rsqrt", "cosine"]

Size = Annotated[int, Field(gt=0, le=10_000_000)]
Sizes = Annotated[tuple[Size, ...], Field(max_length=1000)]
Count = Annotated[int, Field(gt=0, le=1_000_000_000)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    """A section of the configuration; a field that does not exist is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskConfig(Strict):
    """Which test of memory."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data


class LayerConfig(Strict):
    """Which memory, and how large."""

    name: str
    hidden_size: Size = 50
    options: dict[str, Any] = {}


class TransformerConfig(Strict):
    """The blocks of a transformer (:class:`remanence.models.Transformer`), as wide as the layer's hidden size."""

    layers: Annotated[int, Field(gt=0, le=1000)] = 2
    heads: Size = 1
    mlp: Size | None = None
    max_length: Size = 1024
    causal: bool = False
    pooling: Literal["cls", "mean", "last"] = "cls"
    positions: Literal["learned", "sinusoidal", "none"] = "learned"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class ModelConfig(Strict):
    """What stands around the memory.

    Attributes:
        embedding: sizes of the layers before it.
        readout: sizes of the layers after it.
        transformer: blocks, with the layer (a memory or attention) as their mixer; it then takes the place of
            ``embedding``. Default: the memory alone.
        initial: parameters that start at a constant, by name, such as ``{memory.bias: 0.0}``.
    """

    embedding: Sizes = (50, 100)
    readout: Sizes = (100,)
    transformer: TransformerConfig | None = None
    initial: dict[str, float] = {}


class TrainingConfig(Strict):
    """How it is trained: Adam, gradients clipped by their norm.

    Attributes:
        batch_size: samples a step.
        epochs: the maximum number of epochs; each ends with a validation and a checkpoint.
        steps_per_epoch: optimiser steps in an epoch; default: one pass over the training data.
        learning_rate: the learning rate of Adam; the largest one, if it changes.
        warmup: steps in which the rate rises evenly to ``learning_rate``.
        lr_schedule: how the learning rate decreases after the warm-up: ``"none"``; ``"rsqrt"``, as 1 / √step;
            ``"cosine"``, by half a wave to 0 at the end of training (:func:`remanence.training.schedule.lr_factor`).
        betas: the betas of Adam.
        weight_decay: the weight decay of Adam (decoupled).
        clip: largest norm of the gradient; 0 leaves it alone.
        patience: the number of epochs without a better validation metric after which training stops; default: never.
        stop_at_metric: stop as soon as the validation metric is at or below this; default: never.
        evaluation_samples: the number of samples to validate and test on, drawn once for all runs; default: all.
        frozen: parameters that are not trained, by name, such as ``[memory.bias]``.
        snapshot_every: the number of epochs after which the weights are saved (also before training), in
            ``checkpoints/epoch-N.ckpt``; default: only the best and the last weights are saved.
        threads: CPU threads; the same number gives the same result.
        precision: as Lightning names it: ``"32-true"``; ``"bf16-mixed"``, products of matrices in bfloat16; or
            ``"64-true"``.
    """

    batch_size: Size = 128
    epochs: Count = 20
    steps_per_epoch: Count | None = None
    learning_rate: PositiveFloat = 1e-3
    warmup: NonNegativeInt = 0
    lr_schedule: LRSchedule = "none"
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(ge=0)] = 5.0
    patience: PositiveInt | None = None
    stop_at_metric: Annotated[float, Field(ge=0)] | None = None
    evaluation_samples: PositiveInt | None = None
    frozen: tuple[str, ...] = ()
    snapshot_every: PositiveInt | None = None
    threads: Annotated[int, Field(gt=0, le=1024)] = 1
    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, data: Any) -> Any:
        return update_section("training", data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _check_warmup(self) -> "TrainingConfig":
        if self.lr_schedule == "rsqrt" and not self.warmup:
            raise UserError("lr_schedule rsqrt starts at the end of the warm-up: set training.warmup, such as 1000")
        return self


def collect_versions() -> dict[str, str]:
    """Collect the versions that a result depends on."""
    return {"remanence": __version__, "torch": version("torch"), "python": platform.python_version()}


class RunConfig(Strict):
    """All that is needed to repeat a run."""

    task: TaskConfig
    layer: LayerConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    seed: Annotated[int, Field(ge=0)] = 0
    versions: dict[str, str] = Field(default_factory=collect_versions)
