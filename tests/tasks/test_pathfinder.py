import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from remanence import tasks
from remanence.data import load, pathfinder_source, prepare
from remanence.tasks import pathfinder
from remanence.tasks.dashed_curves import draw_below, draw_free_place
from remanence.tasks.dashes import DRAWINGS, draw_dash, draw_disc, draw_stamps
from remanence.tasks.pictures import draw_image
from remanence.tasks.scenes import Painter, grow_curve, grow_targets

TINY: dict[str, Any] = {"train": 60, "validation": 4, "test": 4}


@pytest.fixture(scope="module", params=[32, 64, 128])
def painter(request):
    return Painter(DRAWINGS[request.param], 14)


def touching(painter, dashes, which):
    """The pixels of a curve, drawn dash by dash."""
    size = painter.drawing.size
    canvas = np.zeros((size + 40, size + 40))
    for number, (stamp, row, column) in enumerate(dashes):
        patch = painter.stamps[which][1 if number == 0 else 5][stamp]
        half = len(patch) // 2
        view = canvas[20 + row - half : 21 + row + half, 20 + column - half : 21 + column + half]
        np.maximum(view, patch, out=view)
    return canvas[20:-20, 20:-20]


@pytest.mark.slow
def test_targets_are_two_curves_of_dashes_that_stay_apart(painter):
    """Dash by dash: each starts near where the one before it ended, turns within limits, and touches no other curve."""
    rng, drawing = np.random.default_rng(0), painter.drawing
    mask, curves = np.zeros((drawing.size, drawing.size), np.float32), np.zeros((2, 14, 3), np.int64)
    which = 0
    margin, _, _, _, angles, _, _ = painter.stamps[which]
    done = 0
    while done < 5:
        if not grow_targets(rng, mask, curves, painter.style, drawing.seed_distance, painter.stamps[which]):
            continue
        done += 1
        start = curves[:, 0, 1:].astype(float)
        assert np.hypot(*(start[0] - start[1])) == pytest.approx(drawing.seed_distance, abs=1)
        for curve in curves:
            ends = curve[1:, 1:].astype(float)
            gaps = np.hypot(*np.diff(ends, axis=0).T)
            assert (np.abs(gaps - (drawing.dash + 2 * margin)) < 2 + margin).all()
            turns = np.diff(angles[curve[1:, 0]])
            turns = np.abs((turns + np.pi) % (2 * np.pi) - np.pi)
            assert (turns * drawing.continuity < np.pi / 2).all()
        first, second = (touching(painter, curve, which) for curve in curves)
        assert ((first > 0.5) & (second > 0.5)).sum() <= 2 * (drawing.size == 32)
        assert (mask[(first > 0.9) | (second > 0.9)] > 0.3).all()


@pytest.mark.slow
def test_distractors_and_discs_are_there(painter):
    images, labels = painter.paint(np.random.default_rng(1), 30)
    assert images.shape == (30, painter.drawing.size, painter.drawing.size)
    assert images.max(axis=(1, 2)).tolist() == [255] * 30
    assert 5 < labels.sum() < 25
    assert painter.counts == (14, 4, {32: 5, 64: 5, 128: 8}[painter.drawing.size])
    ink = (images > 100).mean(axis=(1, 2))
    assert (ink > 0.01).all()
    assert (ink < 0.4).all()


def test_the_same_seed_draws_the_same(painter):
    (a, _), (b, _), (c, _) = (painter.paint(np.random.default_rng(seed), 3) for seed in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_discs_lie_on_one_curve_or_on_two():
    """Without distractors a flood along the gaps of one curve reaches the other disc, or does not."""
    painter = Painter(DRAWINGS[128], 6)
    painter.counts = (6, 2, 0)
    painter.stamps = painter.stamps[:1]
    images, labels = painter.paint(np.random.default_rng(0), 40)
    found = np.array([joined(image, reach=6) for image in images])
    assert found[labels == 1].all()
    assert found[labels == 0].mean() < 0.3  # two curves that come near each other are joined wrongly


def joined(image, reach):
    """Whether ink no further apart than ``reach`` joins the two brightest discs."""
    ink = image.astype(int)
    blurred = np.sum([np.roll(ink, (y, x), (0, 1)) for y in range(-2, 3) for x in range(-2, 3)], 0)
    first = np.unravel_index(blurred.argmax(), blurred.shape)
    blurred[max(0, first[0] - 6) : first[0] + 7, max(0, first[1] - 6) : first[1] + 7] = 0
    second = np.unravel_index(blurred.argmax(), blurred.shape)
    ink = np.argwhere(image > 80)
    seen, front = np.zeros(len(ink), bool), [np.array(first)]
    while front:
        here = front.pop()
        near = ~seen & (np.abs(ink - here).max(1) <= reach - 1)
        seen |= near
        front += list(ink[near])
    return bool((np.abs(ink[seen] - second).max(1) <= 3).any())


def test_places_are_drawn_uniformly_among_the_free_ones():
    rng = np.random.default_rng(0)
    mask = np.ones((10, 10), np.float32)
    mask[3, 3:7] = mask[6, 2] = 0
    patch = np.zeros((3, 3), np.float32)
    patch[1, 1] = 1
    for border in (1, 2):
        found = [draw_free_place(rng, mask, patch, border) for _ in range(2000)]
        places, counts = np.unique(found, axis=0, return_counts=True)
        assert len(places) == 5
        assert np.abs(counts - 400).max() < 5 * 20
    mask[:] = 1
    assert draw_free_place(rng, mask, patch, 1) == (-1, -1)
    assert {draw_below(rng, 3) for _ in range(100)} == {0, 1, 2}


def test_a_curve_with_nowhere_to_go_says_so():
    painter = Painter(DRAWINGS[32], 14)
    mask, dashes = np.ones((32, 32), np.float32), np.zeros((14, 3), np.int64)
    dashes[0] = 0, 16, 16
    assert not grow_curve(np.random.default_rng(0), mask, dashes, painter.style, painter.stamps[0])


def test_dashes_and_discs():
    drawing = DRAWINGS[64]
    line, mask = draw_dash(drawing, 1, 0.0)  # to the right
    assert line.shape == mask.shape == (15, 15)
    assert line[7, 7:12].min() > 0.3
    assert line[:, :6].max() < 0.1
    assert (mask >= line - 0.1).all()
    assert mask.sum() > 2 * line.sum()
    round_ = draw_disc(3.0)
    np.testing.assert_allclose(round_, round_.T, atol=0.06)
    assert round_.shape[0] % 2 == 1
    assert round_.sum() == pytest.approx(np.pi * 9, rel=0.1)
    found = draw_stamps(drawing, 1)
    assert np.abs(np.hypot(*found.steps.T) - 6).max() < 1.5
    assert len(found.lines) == 360


def test_task_and_cache():
    task = tasks.Pathfinder(**TINY)
    samples = task.dataset("train")
    assert (len(samples), samples.longest) == (60, 1024)
    again = tasks.Pathfinder(**TINY).dataset("train")
    assert torch.equal(samples.inputs, again.inputs)
    other = tasks.Pathfinder(**TINY, seed=1).dataset("train")
    assert not torch.equal(samples.inputs, other.inputs)
    signal = tasks.create("pathfinder", **TINY, pixels="signal").dataset("train").batch([4])
    torch.testing.assert_close(signal.inputs[0, :, 0] * 255, samples.batch([4]).inputs[0].float())
    assert task.chance == 0.5
    large = tasks.create("pathx")
    assert isinstance(large, tasks.Pathfinder)
    assert large.size == 128
    assert large.sizes == {"train": 160_000, "validation": 20_000, "test": 20_000}


@pytest.mark.parametrize("cores", [1, 5])
def test_the_number_of_threads_changes_nothing(monkeypatch, cores):
    monkeypatch.setattr(pathfinder, "BLOCK", 7)
    monkeypatch.setattr(pathfinder.os, "cpu_count", lambda: cores)
    images = tasks.Pathfinder(**TINY).dataset("train").inputs
    task = tasks.Pathfinder(**TINY)
    for start in (0, 21, 56):
        expected, _ = task._paint_block(task._build_painter(), "train", start)
        np.testing.assert_array_equal(images[start : start + 7], expected.reshape(len(expected), -1))


def test_examples_are_the_first_samples_and_need_no_others(data_directory):
    task = tasks.create("pathfinder", **TINY)
    *drawing, answer = task.examples(2)[1].split("\n")
    assert not data_directory.exists()
    image, label = task.dataset("train")[1]
    assert drawing == draw_image(image.view(32, 32).numpy()).split("\n")
    assert answer == ("-> two curves", "-> one curve")[label]


@pytest.mark.parametrize("options", [{"size": 48}, {"contour_length": 10}, {"train": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("pathfinder", **options)


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Two folders of ten images each, in the released layout; the metadata are text under the name of an array."""
    monkeypatch.setattr(pathfinder_source, "IMAGES", 20)
    return written(tmp_path / "lra/pathfinder32", 32)


def written(folder, size, turn=0):
    """Images of that size, of which every second, from ``turn`` on, has label 0."""
    rng = np.random.default_rng(size)
    for part in range(2):
        images = folder / f"curv_contour_length_14/imgs/{part}"
        images.mkdir(parents=True)
        rows = []
        for number in range(10):
            Image.fromarray(rng.integers(0, 256, (size, size), np.uint8)).save(images / f"sample_{number}.png")
            rows.append(f"imgs/{part} sample_{number}.png {number} {(number + turn) % 2} 1.0 14 4 2 0.5 1 1")
        metadata = folder / "curv_contour_length_14/metadata"
        metadata.mkdir(exist_ok=True)
        if part == 0:
            (metadata / "0.npy").write_text("\n".join(rows) + "\n")
        else:
            np.save(metadata / "1.npy", np.array([row.split() for row in rows]))
    return folder


def released_source():
    task = tasks.create("pathfinder", released=True)
    assert task.source is not None
    return task.source


def test_released_images(released):
    task = tasks.create("pathfinder", released=True)
    (released / "curv_contour_length_14/imgs/0/sample_3.png").write_bytes(b"")
    assert task.source is not None
    prepare(task.source, released)
    parts = [task.dataset(split) for split in tasks.SPLITS]
    assert [len(part) for part in parts] == [17, 1, 1]
    rows = {tuple(x.tolist()): int(y) for part in parts for x, y in part}
    assert len(rows) == 19
    for part in range(2):
        for number in range(10):
            if (part, number) != (0, 3):
                path = released / f"curv_contour_length_14/imgs/{part}/sample_{number}.png"
                assert rows[tuple(np.asarray(Image.open(path)).reshape(-1).tolist())] == number % 2


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("order", [[32, 64], [64, 32]])
def test_of_several_sizes_the_one_that_is_meant_is_read(released, make_tar, size, order):
    """They have the same names of files; labels are turned, so that those of the wrong size would be seen."""
    written(released.parent / "pathfinder64", 64, turn=1)
    files = {}
    for each in order:
        files |= {
            f"lra_release/pathfinder{each}/{path.relative_to(released.parent / f'pathfinder{each}')}": path.read_bytes()
            for path in sorted((released.parent / f"pathfinder{each}").rglob("*"))
            if path.is_file()
        }
    task = tasks.create("pathfinder", released=True, size=size)
    assert task.source is not None
    for place in (released.parent, make_tar(files)):
        prepare(task.source, place)
        rows = {tuple(x.tolist()): int(y) for split in tasks.SPLITS for x, y in task.dataset(split)}
        assert len(rows) == 20
        for number in range(10):
            path = released.parent / f"pathfinder{size}/curv_contour_length_14/imgs/0/sample_{number}.png"
            label = (number + (size == 64)) % 2
            assert rows[tuple(np.asarray(Image.open(path)).reshape(-1).tolist())] == label


def test_the_same_folder_twice_is_refused(released):
    written(released.parent / "copy/pathfinder32", 32, turn=1)
    with pytest.raises(ValueError, match="in several places, '/copy/pathfinder32' and '/pathfinder32': give one"):
        prepare(released_source(), released.parent)


def test_an_archive_without_the_folder_of_the_size_is_read(released, make_tar):
    files = {
        f"curv_contour_length_14/{path.relative_to(released / 'curv_contour_length_14')}": path.read_bytes()
        for path in released.rglob("*")
        if path.is_file()
    }
    prepare(released_source(), make_tar(files))


def test_a_part_of_the_images_is_refused(released, monkeypatch):
    monkeypatch.setattr(pathfinder_source, "IMAGES", 200_000)
    with pytest.raises(ValueError, match="should name 200,000 images, they name 20: get all of"):
        prepare(released_source(), released)


def png(size):
    file = io.BytesIO()
    Image.new("L", (size, size)).save(file, "PNG")
    return file.getvalue()


def bomb():
    """An image of 2**31 - 1 by 2**31 - 1 pixels, as its header says."""
    header = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    content = png(32)
    changed = content[:16] + header + content[24:]
    return changed[:29] + struct.pack(">I", zlib.crc32(changed[12:29])) + changed[33:]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("imgs/1/sample_4.png", b"GIF89a", "sample_4.png cannot be read"),
        ("imgs/1/sample_4.png", png(31), "31 x 31 pixels instead of 32 x 32"),
        ("imgs/1/sample_4.png", png(32)[:50], "sample_4.png cannot be read"),
        ("imgs/1/sample_4.png", None, "lacks 1 images of its metadata, such as imgs/1/sample_4.png"),
        ("metadata/0.npy", b"imgs/0 sample_0.png 0 2\n", "0.npy, row 1: expected folder, file, number and label"),
        ("imgs/1/sample_4.png", bomb(), "sample_4.png cannot be read"),
        ("metadata/0.npy", b"\x93NUMPY broken", "0.npy is truncated or not a .npy file"),
    ],
)
def test_wrong_files_are_named(released, name, content, message):
    path = released / "curv_contour_length_14" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        prepare(released_source(), released)
    assert load("pathfinder32-14") is None


def test_missing_metadata_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError, match="lacks pathfinder32/curv_contour_length_14/metadata; for the released Pathfinder images"
    ):
        prepare(released_source(), tmp_path / "empty")
