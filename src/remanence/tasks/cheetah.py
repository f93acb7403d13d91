"""Half-cheetah kinematics (Hasani et al. 2020)."""

import numpy as np
import torch

from remanence.data import load_prepared
from remanence.data.cheetah_source import CHANNELS, CHEETAH
from remanence.tasks.regression import Regression
from remanence.tasks.samples import Samples
from remanence.tasks.task import Split, check_split

LENGTH, STRIDE = 32, 10
FILES = {"validation": range(5), "test": range(5, 15), "train": range(15, 25)}


class Cheetah(Regression):
    """Predict the next of a running half-cheetah's 17 observations (joint angles and speeds), at each of 32 steps.

    25 traces of 1,000 steps of a simulated half-cheetah under a trained controller, cut into sequences that start
    every 10 steps: files 15 to 24 train (970 sequences), 0 to 4 validate, 5 to 14 test.
    ``remanence data cheetah --from FOLDER`` prepares them. Published protocol: ``recipes/cheetah.yaml``.

    References:
        Hasani et al., "Liquid time-constant networks", 2020, arXiv:2006.04439, section 5.
    """

    input_size = CHANNELS
    target_size = CHANNELS
    stepwise = True
    source = CHEETAH

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The squared error of always predicting the mean observation of the training traces."""
        mean = self.dataset("train").targets.mean((0, 1))
        return float(self.loss(mean, self.dataset("test").targets))

    def dataset(self, split: Split) -> Samples:
        """Observations [samples, 32, 17], and those one step later, of the same shape."""
        store = load_prepared(CHEETAH, "cheetah")
        values, starts = store["values"], store["starts"]
        places = np.concatenate(
            [np.arange(starts[file], starts[file + 1] - LENGTH - 1, STRIDE) for file in FILES[check_split(split)]]
        )
        windows = torch.from_numpy(values[places[:, None] + np.arange(LENGTH + 1)])
        return Samples(windows[:, :-1], windows[:, 1:])

    def examples(self, count: int) -> list[str]:
        """The first observations of sequences, and what follows."""
        samples = self.dataset("train")
        return [
            "\n".join(" ".join(f"{value:6.2f}" for value in step) for step in samples.inputs[row, :4].tolist())
            + "\n-> "
            + " ".join(f"{value:.2f}" for value in samples.targets[row, 3].tolist())
            for row in range(count)
        ]
