import numpy as np
import pytest

from remanence import tasks
from remanence.data import load, prepare

HEAD = """# a comment
@problemName Waves
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
"""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("TRAIN", 20), ("TEST", 8)):
        lines = []
        for row in range(count):
            series = rng.normal(3, 2, size=(2, 4 + row % 3))
            lines.append(
                ":".join(",".join(f"{v:.6f}" for v in channel) for channel in series) + f":{('up', 'down')[row % 2]}"
            )
        (tmp_path / f"Waves_{part}.ts").write_text(HEAD + "\n".join(lines) + "\n")
    return tmp_path


def series_of(path):
    for line in path.read_text().split("@data\n")[1].splitlines():
        *channels, label = line.split(":")
        yield np.array([[float(v) for v in channel.split(",")] for channel in channels]).T, label


def test_series_are_standardised_by_the_training_ones(folder):
    task = tasks.create("ucr", name="Waves")
    assert task.source is not None
    prepare(task.source, folder)
    assert (task.input_size, task.target_size, task.vocabulary) == (2, 2, None)
    everything = np.concatenate([series for series, _ in series_of(folder / "Waves_TRAIN.ts")])
    for (x, y), (series, label) in zip([*task.dataset("test")], series_of(folder / "Waves_TEST.ts"), strict=True):
        np.testing.assert_allclose(x, (series - everything.mean(0)) / everything.std(0), rtol=1e-4, atol=1e-5)
        assert ("up", "down")[y] == label
    batch = task.dataset("test").batch(range(8))
    assert batch.inputs.shape == (8, 6, 2)
    assert batch.mask is not None
    assert batch.mask.sum(1).tolist() == [4, 5, 6, 4, 5, 6, 4, 5]
    assert task.chance == 0.5


def test_a_share_of_each_class_validates(folder):
    task = tasks.UCR(name="Waves", held_out=0.2)
    assert task.source is not None
    prepare(task.source, folder)
    train, validation = task.dataset("train"), task.dataset("validation")
    assert train.targets.bincount().tolist() == [8, 8]
    assert validation.targets.bincount().tolist() == [2, 2]
    rows = [tuple(x.flatten().tolist()) for part in (train, validation) for x, _ in part]
    assert len(set(rows)) == 20
    other = tasks.create("ucr", name="Waves", seed=1).dataset("validation")
    assert [tuple(x.flatten().tolist()) for x, _ in other] != [tuple(x.flatten().tolist()) for x, _ in validation]


def test_missing_values_become_the_mean(folder):
    path = folder / "Waves_TEST.ts"
    path.write_text(HEAD + "1,?,3:4,5:up\n")
    task = tasks.create("ucr", name="Waves")
    assert task.source is not None
    prepare(task.source, folder)
    x, _ = task.dataset("test")[0]
    assert x.shape == (3, 2)
    assert x[1, 0] == x[2, 1] == 0
    assert x[0, 0] != 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.replace("@timeStamps false", "@timeStamps true"),
            "line 3: series with time stamps are not supported",
        ),
        (lambda t: t.replace("@classLabel true up down\n", ""), "line 8: there are no classes"),
        (lambda t: t.replace("@missing true", "missing true"), "line 4: expected a line of the header"),
        (lambda t: t.replace(":up", ":left", 1), "the class 'left' is not in the header"),
        (lambda t: t + "1,2:up\n", "1 channels, the lines before have 2"),
        (lambda t: t + "1,x:1,2:up\n", "line 30: could not convert string to float: 'x'"),
        (lambda t: t + "1,2:inf,1:up\n", "line 30: the value inf is not finite"),
        (lambda t: t + "1,2:1e39,1:up\n", "line 30: the value 1e39 is not finite"),
        (
            lambda t: t + "1," * 20_000 + "1:" + "1:" * 20_000 + "up\n",
            "20,001 channels, of which the longest has 20,001 values",
        ),
        (lambda t: t + "up\n", "no series before the class"),
        (lambda t: HEAD, "Waves_TRAIN.ts holds no series"),
        (lambda t: t.replace("up down", "down up"), "differ in their classes"),
    ],
)
def test_wrong_files_are_named(folder, change, message):
    path = folder / "Waves_TRAIN.ts"
    path.write_text(change(path.read_text()))
    task = tasks.create("ucr", name="Waves")
    assert task.source is not None
    with pytest.raises(ValueError, match=message):
        prepare(task.source, folder)
    assert load("ucr-Waves") is None


def test_before_it_is_prepared_the_message_says_how():
    with pytest.raises(ValueError, match=r"remanence data ucr --from PATH --set task\.options\.name=Waves"):
        tasks.create("ucr", name="Waves").dataset("train")
    with pytest.raises(ValueError, match="held_out must be between"):
        tasks.create("ucr", held_out=1.0)
