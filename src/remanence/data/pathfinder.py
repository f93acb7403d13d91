"""Pathfinder images as the Long Range Arena released them."""

import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from remanence.data.archive import Member, members
from remanence.data.source import Progress, Source, lacking
from remanence.data.store import Writer

IMAGES = 200_000
FOLDERS = {6: "curv_baseline", 9: "curv_contour_length_9", 14: "curv_contour_length_14"}
COLUMNS = 4  # of the metadata that are read: folder, file, number, label
LARGEST = 1 << 20  # bytes of an image


def released_images(size: int, contour_length: int) -> Source:
    """The released images of one size and length of curves."""
    folder = FOLDERS[contour_length]

    def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
        labels = found_labels(source, path, folder)
        for member in members(path):
            place = inside(member.name, folder)
            if place in labels:
                pixels = image(member, size)
                if pixels is None:  # a few are released empty, and left out by the released code too
                    del labels[place]
                    continue
                writer.append("images", pixels[None])
                writer.append("labels", np.array([labels.pop(place)], np.uint8))
                progress(writer.count("labels"), IMAGES)
        if labels:
            raise lacking(source, path, f"{len(labels):,} images of its metadata, such as {next(iter(labels))}")

    return Source(
        name=f"pathfinder{size}-{contour_length}",
        title=f"the released Pathfinder images of {size} x {size} pixels",
        publisher="https://github.com/google-research/long-range-arena",
        wanted=f"lra_release.gz, or its folder pathfinder{size}",
        read=read,
        settings=f"--set task.options.released=true --set task.options.size={size} "
        f"--set task.options.contour_length={contour_length}",
    )


def found_labels(source: Source, path: Path, folder: str) -> dict[str, int]:
    """The label of each image, by its place inside ``folder``."""
    labels: dict[str, int] = {}
    for member in members(path):
        place = inside(member.name, folder)
        if place.startswith("metadata/") and place.endswith(".npy"):
            for number, row in enumerate(metadata(member), start=1):
                if len(row) < COLUMNS or row[3] not in ("0", "1"):
                    raise ValueError(f"{path}: {member.name}, row {number}: expected folder, file, number and label")
                labels[f"{row[0]}/{row[1]}"] = int(row[3])
    if not labels:
        raise lacking(source, path, f"{folder}/metadata")
    return labels


def inside(name: str, folder: str) -> str:
    """The part of a path below ``folder``, or nothing."""
    parts = PurePosixPath(name).parts
    return "/".join(parts[parts.index(folder) + 1 :]) if folder in parts else ""


def metadata(member: Member) -> Iterator[list[str]]:
    """Rows of metadata: text with spaces between, whatever its name says, or an array of text."""
    content = member.read()
    if content.startswith(b"\x93NUMPY"):
        try:
            rows = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{member.archive}: {member.name} cannot be read: {error}") from error
        yield from np.atleast_2d(rows).astype(str).tolist()
        return
    for line in content.decode("utf-8", "replace").splitlines():
        yield line.split()


def image(member: Member, size: int) -> np.ndarray | None:
    """The grey pixels [size * size] of a file; None if it is empty.

    Raises:
        ValueError: it is no image of that size.
    """
    from PIL import Image, UnidentifiedImageError

    content = member.read(LARGEST)
    if not content:
        return None
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.size != (size, size):
                raise ValueError(f"it has {picture.size[0]} x {picture.size[1]} pixels instead of {size} x {size}")
            return np.asarray(picture.convert("L")).reshape(-1)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{member.archive}: {member.name} cannot be read: {error}") from error
