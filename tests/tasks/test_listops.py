import statistics
import time
from typing import Any

import numpy as np
import pytest

from remanence import tasks
from remanence.data import listops_source, load, prepare
from remanence.data.listops_source import LISTOPS, VOCABULARY
from remanence.tasks.expressions import grow

SMALL: dict[str, Any] = {"train": 300, "validation": 20, "test": 200, "shortest": 20, "longest": 200}


def value_of(text):
    """An evaluation of its own: turn the expression into Python's notation and let Python parse it."""
    functions = {
        "MIN": min,
        "MAX": max,
        "MED": lambda *values: int(statistics.median(values)),
        "SM": lambda *values: sum(values) % 10,
    }
    parts = [part[1:] + "(" if part[0] == "[" else ")," if part == "X" else part + "," for part in text.split()]
    return eval("".join(parts).rstrip(","), functions)


def depth_of(text):
    level = deepest = 0
    for part in text.split():
        level += (part[0] == "[") - (part == "X")
        deepest = max(deepest, level)
    return deepest + 1


def text_of(tokens):
    return " ".join(VOCABULARY[token] for token in tokens)


def test_the_parser_itself():
    assert value_of("[MAX 4 3 [MIN 2 3 X 1 0 X") == 4
    assert value_of("[SM 9 9 [MED 1 2 X X") == 9
    assert depth_of("[MAX 4 [MIN 2 3 X X") == 3


@pytest.mark.slow
def test_values_by_an_independent_parser():
    samples = tasks.create("listops", **SMALL).dataset("train")
    for tokens, value in samples:
        text = text_of(tokens)
        assert value_of(text) == value, text
        assert 20 < len(tokens) < 200


def test_published_sizes_and_speed(tmp_path):
    """96,000 + 2,000 + 2,000 in under 2 minutes on 2 cores: so a twentieth of it, compiled, in 6 s at most."""
    tasks.create("listops", **SMALL).dataset("test")
    start = time.perf_counter()
    samples = tasks.ListOps(train=5000).dataset("train")
    assert time.perf_counter() - start < 6  # about 0.5 s
    assert tasks.ListOps().sizes == {"train": 96_000, "validation": 2_000, "test": 2_000}
    assert 500 < samples.lengths.min() < 520
    assert 1950 < samples.lengths.max() < 2000
    depths = [depth_of(text_of(samples[i][0])) for i in range(200)]
    assert max(depths) == 10


def test_what_is_drawn_before_the_bounds():
    """A value with probability 3/4 below the root, 2 to 10 arguments and the four operators equally often."""
    rng, tokens = np.random.default_rng(0), np.zeros(100_000, np.uint8)
    inner = values = 0
    arguments, operators, digits = np.zeros(11), {}, np.zeros(10)
    for _ in range(3000):
        length, _ = grow(rng, 4, 10, tokens)
        counts = []
        for part in text_of(tokens[:length]).split():
            if part == "X":
                arguments[counts.pop()] += 1
                continue
            if counts:
                counts[-1] += 1
                if len(counts) < 3:
                    inner += 1
                    values += part.isdigit()
            if part.isdigit():
                digits[int(part)] += 1
            else:
                operators[part] = operators.get(part, 0) + 1
                counts.append(0)
    assert values / inner == pytest.approx(0.75, abs=0.01)
    assert not arguments[:2].any()
    for seen in (arguments[2:], np.array(list(operators.values())), digits):
        expected = seen.sum() / len(seen)
        assert np.abs(seen - expected).max() < 5 * np.sqrt(expected)
    assert len(operators) == 4


def test_seed_decides_and_splits_differ():
    def first(split, seed):
        return tasks.create("listops", seed=seed, **SMALL).dataset(split).batch(range(20)).inputs

    assert first("train", 0).equal(first("train", 0))
    assert not first("train", 0)[:, :20].equal(first("train", 1)[:, :20])
    assert not first("train", 0)[:, :20].equal(first("test", 0)[:, :20])


def test_examples_are_the_first_samples_and_need_no_others(data_directory):
    task = tasks.create("listops", **SMALL)
    example = task.examples(2)[1]
    assert not data_directory.exists()
    tokens, value = task.dataset("train")[1]
    assert example.startswith(text_of(tokens)[:100])
    assert example.endswith(f"-> {int(value)}  ({len(tokens)} tokens)")


def test_vocabulary_padding_and_chance():
    task = tasks.ListOps(**SMALL)
    assert task.vocabulary is not None
    assert len(task.vocabulary) == 17
    assert task.vocabulary[0] == "<pad>"
    batch = task.dataset("train").batch(range(10))
    assert batch.mask is not None
    assert not batch.inputs[~batch.mask].any()
    assert batch.inputs[batch.mask].min() > 0
    targets = task.dataset("test").targets
    assert task.chance == pytest.approx(1 - targets.bincount().max() / len(targets))


@pytest.mark.parametrize("options", [{"train": 0}, {"depth": 1}, {"arguments": 1}, {"shortest": 50, "longest": 51}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("listops", **options)


def test_bounds_that_nothing_fits_are_named():
    with pytest.raises(ValueError, match="too rare at depth 2 with up to 3 arguments: lower shortest"):
        tasks.create("listops", depth=2, arguments=3, shortest=50, longest=60, train=5).dataset("train")


@pytest.fixture
def released(tmp_path, monkeypatch):
    """The released files, two expressions each."""
    monkeypatch.setattr(listops_source, "SIZES", {"train": 2, "validation": 2, "test": 2})
    lines = "Source\tTarget\r\n( ( ( [MAX 4 ) 3 ) ] )\t4\r\n( ( ( ( [SM 9 ) ( ( [MIN 2 ) ] ) ) 3 ) ] )\t4\r\n"
    folder = tmp_path / "listops-1000"
    folder.mkdir()
    for name in listops_source.FILES:
        (folder / name).write_bytes(lines.encode())
    return folder


def test_released_files(released):
    prepare(LISTOPS, released)
    task = tasks.create("listops", released=True)
    (first, value), (second, _) = task.dataset("validation")
    assert text_of(first) == "[MAX 4 3 X"
    assert text_of(second) == "[SM 9 [MIN 2 X 3 X"
    assert value == 4
    assert [len(task.dataset(split)) for split in tasks.SPLITS] == [2, 2, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Source\tTarget\n( ( [MAX 4 ) ] )\t4\n", "basic_val.tsv should hold 2 expressions, it holds 1"),
        (b"Source\tTarget\n( ( [MAD 4 ) ] )\t4\n", "basic_val.tsv, line 2: expected an expression"),
        (b"Source\tTarget\n( ( [MAX 4 ) ] )\n", "basic_val.tsv, line 2"),
        (b"Source\tTarget\n( ( [MAX 4 ) ] )\t12\n", "basic_val.tsv, line 2"),
    ],
)
def test_wrong_files_are_named(released, content, message):
    (released / "basic_val.tsv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        prepare(LISTOPS, released)
    (released / "basic_val.tsv").unlink()
    with pytest.raises(ValueError, match=r"lacks basic_val\.tsv"):
        prepare(LISTOPS, released)
    assert load(LISTOPS.name) is None
