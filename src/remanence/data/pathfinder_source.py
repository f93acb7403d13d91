"""Pathfinder images as the Long Range Arena released them."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from remanence.data.archive import Member, iter_members
from remanence.data.npy import MAGIC, read_npy
from remanence.data.source import Progress, Source, make_ambiguity_error, make_missing_error
from remanence.data.store import Writer
from remanence.errors import UserError
from remanence.extras import require_extra

IMAGES = 200_000  # of each size and length of curves
FOLDERS = {6: "curv_baseline", 9: "curv_contour_length_9", 14: "curv_contour_length_14"}
SIZED = re.compile(r"/pathfinder(\d+)(?:/|$)")  # the folder that says how large the images are
COLUMNS = 4  # of the metadata that are read: folder, file, number, label
LARGEST = 1 << 20  # bytes of an image
LARGEST_TABLE = 1 << 26  # bytes of metadata


def build_source(size: int, contour_length: int) -> Source:
    """Create the source of the released images of one size and contour length."""
    folder = FOLDERS[contour_length]

    def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
        tree, labels = read_labels(source, path, folder, size)
        for member in iter_members(path):
            root, place = split_path(member.name, folder)
            if root == tree and place in labels:
                pixels = read_image(member, size)
                if pixels is None:  # a few are released empty, and left out by the released code too
                    del labels[place]
                    continue
                writer.append("images", pixels[None])
                writer.append("labels", np.array([labels.pop(place)], np.uint8))
                progress(writer.count("labels"), IMAGES)
        if labels:
            raise make_missing_error(
                source, path, f"{len(labels):,} images of its metadata, such as {next(iter(labels))}"
            )

    return Source(
        name=f"pathfinder{size}-{contour_length}",
        title=f"the released Pathfinder images of {size} x {size} pixels",
        publisher="https://github.com/google-research/long-range-arena",
        wanted=f"lra_release.gz, or its folder pathfinder{size}",
        read=read,
        settings=f"--set task.options.released=true --set task.options.size={size} "
        f"--set task.options.contour_length={contour_length}",
    )


def read_labels(source: Source, path: Path, folder: str, size: int) -> tuple[str, dict[str, int]]:
    """Find where ``folder`` with images of that size is, and read the label of each image by its path inside."""
    trees: dict[str, dict[str, int]] = {}
    for member in iter_members(path):
        root, place = split_path(member.name, folder)
        other = SIZED.search(root)
        if not place.startswith("metadata/") or not place.endswith(".npy") or (other and int(other[1]) != size):
            continue
        labels = trees.setdefault(root, {})
        for number, row in enumerate(read_metadata(member), start=1):
            if len(row) < COLUMNS or row[3] not in ("0", "1"):
                raise UserError(f"{path}: {member.name}, row {number}: expected folder, file, number and label")
            labels[f"{row[0]}/{row[1]}"] = int(row[3])
    if not trees:
        raise make_missing_error(source, path, f"pathfinder{size}/{folder}/metadata")
    if len(trees) > 1:
        raise make_ambiguity_error(path, folder, *trees)
    (root, labels) = trees.popitem()
    if len(labels) != IMAGES:
        raise UserError(
            f"{path}: the metadata of {folder} should name {IMAGES:,} images, they name {len(labels):,}: "
            f"get all of {source.wanted} from {source.publisher}"
        )
    return root, labels


def split_path(name: str, folder: str) -> tuple[str, str]:
    """Split a path into the parts before and below ``folder``; the second is empty for paths outside of it."""
    before, found, below = f"/{name}".partition(f"/{folder}/")
    return before, below if found else ""


def read_metadata(member: Member) -> Iterator[list[str]]:
    """Yield rows of metadata, from text separated by spaces (whatever its name) or from an array of text."""
    content = member.read(LARGEST_TABLE)
    if content.startswith(MAGIC):
        rows = read_npy(f"{member.archive}: {member.name}", content)
        yield from np.atleast_2d(rows).astype(str).tolist()
        return
    for line in content.decode("utf-8", "replace").splitlines():
        yield line.split()


def read_image(member: Member, size: int) -> np.ndarray | None:
    """Read the grey pixels [size * size] of a file; None if it is empty.

    Raises:
        ValueError: it is no image of that size.
    """
    with require_extra("train", "reading images"):
        from PIL import Image, UnidentifiedImageError

    content = member.read(LARGEST)
    if not content:
        return None
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.size != (size, size):
                raise UserError(f"it has {picture.size[0]} x {picture.size[1]} pixels instead of {size} x {size}")
            return np.asarray(picture.convert("L")).reshape(-1)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{member.archive}: {member.name} cannot be read: {error}") from error
