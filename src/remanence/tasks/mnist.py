"""Sequential and permuted MNIST."""

import numpy as np
import torch

from remanence.data import load_prepared
from remanence.data.mnist_source import MNIST as SOURCE
from remanence.data.mnist_source import SIDE
from remanence.errors import UserError
from remanence.tasks.classification import Classification
from remanence.tasks.pictures import draw_image
from remanence.tasks.samples import Samples
from remanence.tasks.task import Split, check_split

HELD_OUT = 5_000


class MNIST(Classification):
    """Read a handwritten digit pixel by pixel, 784 steps, in order or in a fixed random order, then name it.

    55,000 images train, 5,000 validate (the last of the training images), 10,000 test; pixels from 0 to 1.
    ``remanence data mnist --from FOLDER`` prepares them.

    Args:
        permuted: whether the pixels come in a random order, the same for all images; default: row by row.
        train: the number of training images to use, the first ones; default: all.
        seed: decides that order.

    References:
        Le et al., "A simple way to initialize recurrent networks of rectified linear units", 2015, arXiv:1504.00941,
        section 4.2; LeCun et al., "Gradient-based learning applied to document recognition", 1998.
    """

    target_size = 10
    input_size = 1
    picture = (SIDE, SIDE)
    source = SOURCE

    def __init__(self, *, permuted: bool = False, train: int | None = None, seed: int = 0):
        if train is not None and train < 1:
            raise UserError(f"train must be at least 1 image, got {train}")
        self.train = train
        places = np.random.default_rng(seed).permutation(SIDE**2) if permuted else np.arange(SIDE**2)
        self.order = torch.from_numpy(places)

    def dataset(self, split: Split) -> Samples:
        """Pixels [samples, 784, 1] and digits [samples]."""
        store = load_prepared(SOURCE, "mnist")
        part = "test" if check_split(split) == "test" else "train"
        images, labels = (torch.from_numpy(store[f"{part}.{name}"]) for name in ("images", "labels"))
        held_out = min(HELD_OUT, len(images) // 10)
        used = len(images) - held_out if self.train is None else min(self.train, len(images) - held_out)
        rows = {"train": slice(0, used), "validation": slice(len(images) - held_out, None), "test": slice(None)}[split]
        return Samples(images[rows, :, None], labels[rows], scale=1 / 255, order=self.order)

    def examples(self, count: int) -> list[str]:
        """Images drawn in characters, and their digits."""
        store, order = load_prepared(SOURCE, "mnist"), self.order.numpy()
        pairs = zip(store["train.images"][:count], store["train.labels"][:count].tolist(), strict=True)
        return [f"{draw_image(image[order].reshape(SIDE, SIDE))}\n-> {digit}" for image, digit in pairs]
