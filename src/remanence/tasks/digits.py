"""Handwritten digits, read pixel by pixel."""

import numpy as np
import torch

from remanence.extras import require_extra
from remanence.tasks.classification import Classification
from remanence.tasks.pictures import draw_image
from remanence.tasks.samples import Samples
from remanence.tasks.task import Split, check_split


class Digits(Classification):
    """Read a handwritten digit one pixel at a time, 64 steps, then name it.

    The 1,797 images of 8 x 8 pixels that come with scikit-learn (real scans, the test part of the UCI set "Optical
    recognition of handwritten digits"), row by row, scaled to 0 ... 1; 1,197 train, 200 validate, 400 test, every
    digit equally often.

    Args:
        seed: decides which image is in which split.

    References:
        Alpaydin & Kaynak, 1998, https://archive.ics.uci.edu/dataset/80.

    Example:
        >>> pixels, digit = Digits().dataset("test")[0]
        >>> pixels.shape
        torch.Size([64, 1])
    """

    input_size = 1
    target_size = 10
    picture = (8, 8)

    def __init__(self, *, seed: int = 0):
        self.seed = seed

    def dataset(self, split: Split) -> Samples:
        """Pixels [samples, 64, 1] between 0 and 1, and digits [samples]."""
        with require_extra("train", "the task digits"):
            from sklearn.datasets import load_digits

        images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
        chosen, test = self._divide(np.arange(len(labels)), labels, 400)
        train, validation = self._divide(chosen, labels, 200)
        rows = {"train": train, "validation": validation, "test": test}[check_split(split)]
        pixels = torch.from_numpy(images[rows] / 16).float()
        return Samples(pixels[..., None], torch.from_numpy(labels[rows]).long())

    def _divide(self, rows: np.ndarray, labels: np.ndarray, held_out: int) -> tuple[np.ndarray, np.ndarray]:
        with require_extra("train", "the task digits"):
            from sklearn.model_selection import train_test_split

        kept, held = train_test_split(rows, test_size=held_out, random_state=self.seed, stratify=labels[rows])
        return np.asarray(kept), np.asarray(held)

    def examples(self, count: int) -> list[str]:
        """Images drawn in characters, and their digits."""
        samples = self.dataset("train")
        images = (samples.inputs[:count].view(-1, 8, 8) * 255).numpy()
        digits = samples.targets[:count].tolist()
        return [f"{draw_image(image)}\n-> {digit}" for image, digit in zip(images, digits, strict=True)]
