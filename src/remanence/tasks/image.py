"""Sequential image classification of the Long Range Arena (Tay et al. 2020, section 2.2.4)."""

from typing import Literal

import torch

from remanence.data import load_prepared
from remanence.data.cifar_source import CIFAR10, LABELS, SIDE
from remanence.errors import UserError
from remanence.tasks.classification import Classification
from remanence.tasks.pictures import draw_image
from remanence.tasks.samples import Samples
from remanence.tasks.task import Split, check_split

SHADES = 256


class Image(Classification):
    """Name what a small grey photograph shows, read pixel by pixel (Long Range Arena: Image).

    CIFAR-10 in grey, row by row: 1,024 positions, 10 classes. 45,000 train, 5,000 validate (the last tenth of the
    training images, in the order of their files), 10,000 test. ``remanence data image --from cifar-10-python.tar.gz``
    prepares it.

    Args:
        pixels: ``"tokens"`` (default), each of the 256 shades a symbol of its own, as published; or ``"signal"``, one
            channel from 0 to 1.

    Raises:
        ValueError: an unknown kind of pixels.

    References:
        Tay et al., "Long Range Arena", 2020, arXiv:2011.04006, section 2.2.4; Krizhevsky, "Learning multiple layers of
        features from tiny images", 2009.
    """

    target_size = len(LABELS)
    picture = (SIDE, SIDE)
    source = CIFAR10

    def __init__(self, *, pixels: Literal["tokens", "signal"] = "tokens"):
        self.vocabulary, self.input_size = resolve_pixels(pixels)

    def dataset(self, split: Split) -> Samples:
        """Pixels [samples, 1024] or [samples, 1024, 1], and classes [samples]."""
        store = load_prepared(CIFAR10, "image")
        part = "test" if check_split(split) == "test" else "train"
        images, labels = (torch.from_numpy(store[f"{part}.{name}"]) for name in ("images", "labels"))
        held_out = len(images) // 10
        rows = {"train": slice(0, -held_out), "validation": slice(-held_out, None), "test": slice(None)}[split]
        if self.vocabulary:
            return Samples(images[rows], labels[rows])
        return Samples(images[rows, :, None], labels[rows], scale=1 / (SHADES - 1))

    def examples(self, count: int) -> list[str]:
        """Images drawn in characters, and their names."""
        store = load_prepared(CIFAR10, "image")
        pairs = zip(store["train.images"][:count], store["train.labels"][:count].tolist(), strict=True)
        return [f"{draw_image(image.reshape(SIDE, SIDE))}\n-> {LABELS[label]}" for image, label in pairs]


def resolve_pixels(pixels: str) -> tuple[list[str] | None, int | None]:
    """Return the vocabulary and the input size of an image task.

    Raises:
        ValueError: neither tokens nor a signal.
    """
    if pixels not in ("tokens", "signal"):
        raise UserError(f"pixels must be tokens or signal, got {pixels!r}")
    return ([str(shade) for shade in range(SHADES)], None) if pixels == "tokens" else (None, 1)
