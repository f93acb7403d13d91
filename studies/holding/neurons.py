"""What each neuron does while its network must hold, measured over training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from remanence import tasks
from remanence.analysis import holding
from remanence.errors import UserError
from remanence.models import SequenceModel
from remanence.report import Run
from remanence.training import Experiment, RunConfig
from remanence.training.run import load_weights
from studies.holding.phases import Phases, find_phases

PROBED = 256  # sequences at most
AWAY = 1e-3  # of its spread: nearer to 0, a neuron counts as at 0
EXPLAINED = 0.5  # of a value's variance, from where on a neuron is said to hold what is to be remembered


@dataclass(frozen=True, eq=False)
class Neurons:
    """The neurons of one network at one moment of its training; every array is [neurons].

    Attributes:
        step: optimiser steps so far.
        explained: R², the share of a neuron's variance over the held steps of all sequences that is linear in what is
            to be remembered.
        net_hold: root mean square of Σ w·input + b over the steps that only hold and at which the neuron is away from 0
            (at 0, ReLU holds whatever is negative), in units of the neuron's spread; NaN if there are none.
        net_write: the same over the steps that bring something, at 0 or not.
        kept: median of |n_t - n_{t-1}| over the steps of ``net_hold``, in the same units.
        bias: b.
    """

    step: int
    explained: np.ndarray
    net_hold: np.ndarray
    net_write: np.ndarray
    kept: np.ndarray
    bias: np.ndarray

    @property
    def holds(self) -> np.ndarray:
        """Whether the neuron's value is mostly what is to be remembered."""
        return self.explained >= EXPLAINED


@torch.no_grad()
def trace_training(run: Run) -> list[Neurons]:
    """Measure the neurons of a run at each snapshot of its weights.

    Raises:
        ValueError: the run has no snapshots of its weights.
        RunError: some of them are damaged.
    """
    experiment = Experiment(RunConfig.model_validate(run.config))
    samples = experiment.task.dataset("validation")
    batch = samples.batch(range(min(PROBED, len(samples))))
    found = []
    for epoch, path in find_snapshots(run.folder):
        load_weights(experiment, path)
        assert isinstance(experiment.model, SequenceModel)
        step = 0 if epoch == 0 else int(run.curve["step"][epoch - 1])
        found.append(measure_neurons(experiment.model, experiment.task, batch, step))
    return found


def find_snapshots(folder: Path) -> list[tuple[int, Path]]:
    """Find the epochs and files of the snapshots.

    Raises:
        ValueError: there are none.
    """
    files = {int(path.stem.removeprefix("epoch-")): path for path in (folder / "checkpoints").glob("epoch-*.ckpt")}
    if not files:
        raise UserError(f"{folder} has no snapshots of its weights: set training.snapshot_every")
    return sorted(files.items())


def measure_neurons(model: SequenceModel, task: tasks.Task, batch: tasks.Batch, step: int) -> Neurons:
    """Measure the neurons of ``model`` on a batch."""
    found = holding(model.memory, model.encoder(batch.inputs))
    phase = find_phases(task, batch)
    spread = found.values[phase.hold].std(0).clamp_min(1e-6)
    net_input = found.net_input / spread
    change = torch.diff(found.values, dim=1, prepend=torch.zeros_like(found.values[:, :1])) / spread
    away = phase.hold[..., None] & (found.values.abs() > AWAY * spread)
    return Neurons(
        step,
        explained=compute_explained(found.values, phase).numpy(),
        net_hold=compute_root_mean_square(net_input, away),
        net_write=compute_root_mean_square(net_input, phase.write[..., None].expand_as(away)),
        kept=change.abs().where(away, torch.nan).flatten(0, 1).nanmedian(0).values.numpy(),
        bias=model.memory.bias.detach().numpy().copy(),  # type: ignore[operator]
    )


def compute_root_mean_square(
    values: Float[Tensor, "batch time neurons"], steps: Bool[Tensor, "batch time neurons"]
) -> np.ndarray:
    """Compute the root mean square over some steps of each neuron, [neurons]; NaN without steps."""
    return values.square().where(steps, torch.nan).nanmean((0, 1)).sqrt().numpy()


def compute_explained(values: Float[Tensor, "batch time neurons"], phase: Phases) -> Float[Tensor, " neurons"]:
    """Compute R² of a linear regression of each neuron on what is to be remembered; 0 for constant neurons."""
    y = values[phase.hold].double()
    known = phase.remembered[phase.hold].double()
    design = torch.cat([known, torch.ones_like(known[:, :1])], 1)
    fitted = design @ torch.linalg.lstsq(design, y, driver="gelsd").solution
    total = (y - y.mean(0)).square().sum(0)
    alive = total > 1e-9 * y.square().sum(0).clamp_min(1e-9)
    return torch.where(alive, 1 - (y - fitted).square().sum(0) / total.where(alive, 1), 0)
