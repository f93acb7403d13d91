"""Pathfinder of the Long Range Arena (Tay et al. 2020, section 2.2.5)."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from remanence.checks import check_range
from remanence.data import Source, Store, Writer, load_or_make, load_prepared
from remanence.data.pathfinder_source import FOLDERS, build_source
from remanence.errors import UserError
from remanence.extras import require_extra
from remanence.tasks.classification import Classification
from remanence.tasks.image import SHADES, resolve_pixels
from remanence.tasks.pictures import draw_image
from remanence.tasks.samples import Batch, Samples
from remanence.tasks.task import SPLITS, Split, check_split

if TYPE_CHECKING:
    from remanence.tasks.scenes import Painter

BLOCK = 500  # images drawn at a time
AHEAD = 4 * (os.cpu_count() or 1)  # blocks under way, so that no thread waits
SIZES = (32, 64, 128)


class Pathfinder(Classification):
    """Say whether two discs lie on the same dashed curve, read pixel by pixel (Long Range Arena: Pathfinder, Path-X).

    Each image has two long dashed curves that start side by side, shorter distractors, and two discs: at the two ends
    of one curve, or at an end of each. The images are drawn here, by the rules and with the parameters of the released
    ones, half of them of each kind: 160,000 train, 20,000 validate, 20,000 test. That takes about one minute at
    32 x 32 pixels and ten at 128 x 128 on one core, once; they are kept on disk (0.2 to 3.3 GB). Two things differ from
    the published generator: of the two long curves one grows after the other, not in turns, for most attempts end at a
    border; and a curve always keeps clear of the other one's last dash.

    Args:
        size: pixels of a side: 32 (default), 64, or 128, which is Path-X.
        contour_length: dashes of the long curves: 14 (default), 9 or 6, "hard" to "easy".
        pixels: ``"tokens"`` (default), each of the 256 shades a symbol of its own, as published; or ``"signal"``, one
            channel from 0 to 1.
        released: read the images that the authors released (``remanence data pathfinder --set
            task.options.released=true --from lra_release.gz``), 80, 10 and 10% of them in a random order decided by
            ``seed`` (the published order is TensorFlow's); default: False.
        train, validation, test: how many images each split has when they are drawn.
        seed: decides every image, or the order of the released ones.

    Raises:
        ValueError: a size, a length or a number that does not exist.

    References:
        Tay et al., "Long Range Arena", 2020, arXiv:2011.04006, section 2.2.5; Linsley et al., "Learning long-range
        spatial dependencies with horizontal gated recurrent units", 2018, arXiv:1805.08315.
    """

    target_size = 2

    def __init__(
        self,
        *,
        size: int = 32,
        contour_length: int = 14,
        pixels: Literal["tokens", "signal"] = "tokens",
        released: bool = False,
        train: int = 160_000,
        validation: int = 20_000,
        test: int = 20_000,
        seed: int = 0,
    ):
        if size not in SIZES or contour_length not in FOLDERS:
            raise UserError(
                f"size must be one of {SIZES} and contour_length one of {tuple(FOLDERS)}, got {size} and "
                f"{contour_length}"
            )
        self.vocabulary, self.input_size = resolve_pixels(pixels)
        self.size, self.contour_length, self.seed = size, contour_length, seed
        self.picture = (size, size)
        self.sizes: dict[Split, int] = {"train": train, "validation": validation, "test": test}
        check_range(1, **self.sizes)
        self.source = build_source(size, contour_length) if released else None

    def dataset(self, split: Split) -> Samples:
        """Pixels [samples, size * size] or [samples, size * size, 1], and whether one curve joins the discs."""
        if self.source is not None:
            return self._load_released(self.source, check_split(split))
        store = self._load_or_make(check_split(split))
        return self._build_samples(torch.from_numpy(store["images"]), torch.from_numpy(store["labels"]))

    def examples(self, count: int) -> list[str]:
        """Images drawn in characters, and whether one curve joins the discs."""
        batch = self.first(count)
        shades = batch.inputs if self.vocabulary else batch.inputs[..., 0] * (SHADES - 1)
        pairs = zip(shades.round().numpy(), batch.targets.tolist(), strict=True)
        answers = ("two curves", "one curve")
        return [f"{draw_image(image.reshape(self.size, self.size))}\n-> {answers[label]}" for image, label in pairs]

    def first(self, count: int) -> Batch:
        """Return the first training samples, drawing no more than needed."""
        if self.source is not None:
            return super().first(count)
        images, labels = self._paint_block(self._build_painter(), "train", 0)
        samples = self._build_samples(torch.from_numpy(images.reshape(len(images), -1)), torch.from_numpy(labels))
        return samples.batch(range(min(count, len(samples))))

    def _build_samples(self, images: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor | None = None) -> Samples:
        if self.vocabulary:
            return Samples(images, labels, rows=rows)
        return Samples(images[..., None], labels, scale=1 / (SHADES - 1), rows=rows)

    def _load_released(self, source: Source, split: Split) -> Samples:
        store = load_prepared(source, "pathfinder")
        images, labels = torch.from_numpy(store["images"]), torch.from_numpy(store["labels"])
        order, tenth = np.random.default_rng(self.seed).permutation(len(labels)), len(labels) // 10
        parts = {"train": order[: -2 * tenth], "validation": order[-2 * tenth : -tenth], "test": order[-tenth:]}
        return self._build_samples(images, labels, torch.from_numpy(parts[split]))

    def _load_or_make(self, split: Split) -> Store:
        name = f"pathfinder-1-{self.size}-{self.contour_length}-seed{self.seed}-{split}-{self.sizes[split]}"
        return load_or_make(name, lambda writer: self._make(split, writer))

    def _make(self, split: Split, writer: Writer) -> None:
        painter, size = self._build_painter(), self.sizes[split]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            starts, waiting = iter(range(0, size, BLOCK)), deque()
            while True:
                while len(waiting) < AHEAD and (start := next(starts, None)) is not None:
                    waiting.append(pool.submit(self._paint_block, painter, split, start))
                if not waiting:
                    return
                images, labels = waiting.popleft().result()
                writer.append("images", images.reshape(len(images), -1))
                writer.append("labels", labels)
                writer.progress(writer.count("labels"), size)

    def _build_painter(self) -> "Painter":
        with require_extra("train", "the task pathfinder"):
            from remanence.tasks.dashes import DRAWINGS
        from remanence.tasks.scenes import Painter  # Numba compiles for seconds

        return Painter(DRAWINGS[self.size], self.contour_length)

    def _paint_block(self, painter: "Painter", split: Split, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw images and labels from ``start`` on; their random numbers depend only on the index."""
        rng = np.random.default_rng([self.seed, SPLITS.index(split), start])
        return painter.paint(rng, min(BLOCK, self.sizes[split] - start))
