"""Every task trains a few steps, with a memory and inside a transformer, and gives a figure."""

import json
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from remanence import tasks
from remanence.cli.app import main
from remanence.data import load, load_or_make, mnist_source
from remanence.models import Transformer
from remanence.report.sample_figures import write_samples
from remanence.training import LayerConfig, ModelConfig, RunConfig, TaskConfig, TrainingConfig, TransformerConfig, train
from remanence.training.experiment import Experiment

RNG = np.random.default_rng(0)


def images(writer, splits=("train", "test"), size=1024):
    for split in splits:
        writer.append(f"{split}.images", RNG.integers(0, 256, (40, size), np.uint8))
        writer.append(f"{split}.labels", RNG.integers(0, 10, 40, np.uint8))


def pathfinder(writer):
    writer.append("images", RNG.integers(0, 256, (40, 1024), np.uint8))
    writer.append("labels", RNG.integers(0, 2, 40, np.uint8))


def texts(writer, splits, per_sample=1, most=256):
    for split in splits:
        lengths = RNG.integers(5, 20, 40 * per_sample)
        writer.append(f"{split}.tokens", RNG.integers(0, most, lengths.sum(), np.uint8))
        writer.append(f"{split}.starts", np.cumsum([0, *lengths]))
        writer.append(f"{split}.targets", RNG.integers(0, 2, 40, np.uint8))


def series(writer):
    for split in ("train", "test"):
        lengths = RNG.integers(5, 20, 40)
        writer.append(f"{split}.values", RNG.normal(size=(lengths.sum(), 3)).astype(np.float32))
        writer.append(f"{split}.starts", np.cumsum([0, *lengths]))
        writer.append(f"{split}.targets", RNG.integers(0, 2, 40, np.uint16))
    writer.facts.update(labels=["a", "b"], channels=3)


def traces(writer):
    writer.append("values", RNG.normal(size=(25 * 60, 17)).astype(np.float32))
    writer.append("starts", np.arange(26) * 60)


def letters(writer):
    writer.append("tokens", RNG.integers(0, 5, 4000).astype(np.uint16))
    writer.facts["vocabulary"] = list("abcde")


SMALL = {"train": 40, "validation": 10, "test": 10}
PREPARED = {
    "cifar10": images,
    "mnist": lambda writer: images(writer, size=784),
    "pathfinder32-14": pathfinder,
    "listops-released": lambda writer: texts(writer, tasks.SPLITS, most=16),
    "imdb": lambda writer: texts(writer, ("train", "test")),
    "aan": lambda writer: texts(writer, tasks.SPLITS, 2),
    "cheetah": traces,
    "ucr-Waves": series,
    "text-text": letters,
}
CASES = {
    "listops": {"released": True},
    "text": {"held_out": 10, "length": 15},
    "aan": {"length": 15},
    "image": {},
    "pathfinder": {"released": True},
    "mnist": {"permuted": True},
    "cheetah": {},
    "ucr": {"name": "Waves"},
    "characters": {"length": 12},
    "copy": {**SMALL, "delay": 5},
    "adding": {**SMALL, "length": 8},
    "denoise": {**SMALL, "stretch": 12},
    "flipflop": {**SMALL, "length": 8},
    "flipflop_language": {**SMALL, "length": 20},
    "mqar": {**SMALL, "pairs": 2, "length": 12, "vocabulary_size": 20},
    "parity": {**SMALL, "length": 8, "lengths": []},
    "modsum": {**SMALL, "length": 8, "lengths": [20]},
    "group": {**SMALL, "length": 8, "lengths": [20], "group": "S3"},
    "cycle_nav": {**SMALL, "length": 8, "lengths": [20]},
    "dyck": {**SMALL, "length": 8, "lengths": [20]},
    "selective_copy": {**SMALL, "stretch": 12, "length": 3},
    "induction": {**SMALL, "length": 8, "lengths": [20]},
    "long_lookback": {**SMALL, "length": 8, "lengths": [20]},
    "reset_recall": {**SMALL, "length": 20, "boundaries": "token"},
    "associations": {**SMALL, "keys": 4},
    "irregular": {**SMALL, "length": 9, "elapsed": "channel"},
}


@pytest.fixture
def prepared():
    for name, make in PREPARED.items():
        load_or_make(name, make)


def config(name, layer, options=None, transformer=None):
    return RunConfig(
        task=TaskConfig(name=name, options=CASES[name] if options is None else options),
        layer=LayerConfig(name=layer, hidden_size=6),
        model=ModelConfig(embedding=(6,), readout=(), transformer=transformer),
        training=TrainingConfig(batch_size=8, epochs=1, steps_per_epoch=2),
    )


@pytest.mark.parametrize("name", CASES)
def test_with_a_memory(prepared, name, tmp_path):
    result = train(config(name, "gru"), tmp_path / "run")
    assert result.failure is None
    assert result.steps == 2
    assert result.test_metric is not None
    assert np.isfinite(result.test_metric)
    assert result.chance > 0


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"image", "mnist", "pathfinder"}))
def test_inside_a_transformer(prepared, name, tmp_path):
    causal = tasks.create(name, **CASES[name]).stepwise
    blocks = TransformerConfig(layers=1, max_length=100, causal=causal, pooling="last" if causal else "cls")
    run = config(name, "full", transformer=blocks)
    result = train(run, tmp_path / "run")
    assert result.steps == 2
    model = Experiment(run).model
    assert isinstance(model, Transformer)
    assert (model.pooling == "none") == causal


def test_what_is_not_asked_is_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("remanence.training.experiment.EVALUATION_BATCH", 3)  # batches with more and with fewer reads
    run = config("flipflop_language", "gru", {**SMALL, "length": 12, "ignored": 0.3, "test_ignored": 0.3})
    result = train(run, tmp_path / "run")
    experiment = Experiment(run)
    experiment.model.load_state_dict(torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True))
    wrong = asked = 0
    for tokens, target in experiment.task.dataset("test"):
        said = experiment.model(tokens[None])[0].argmax(-1)
        for one, right in zip(said.tolist(), target.tolist(), strict=True):
            asked += right != -100
            wrong += right not in (-100, one)
    assert result.test_metric == pytest.approx(wrong / asked)


@pytest.mark.parametrize("name", CASES)
def test_a_sample_is_drawn(prepared, name, tmp_path):
    (path,) = write_samples(tasks.create(name, **CASES[name]), name, 1, tmp_path / "pictures")
    assert path.name == f"{name}-1.png"
    with Image.open(path) as picture:
        assert picture.width >= 150 * 4  # inches
        colours = picture.convert("RGB").getcolors(1 << 20)
        assert colours is not None
        assert len(colours) > 3


def test_a_continuous_time_layer_gets_the_timespans(tmp_path):
    options = {**SMALL, "length": 9}
    for layer in ("cfc", "ltc"):
        result = train(config("irregular", layer, options), tmp_path / layer)
        assert result.test_loss is not None
        assert np.isfinite(result.test_loss)
    with pytest.raises(ValueError, match=r"gru is not a continuous-time layer.*--set task\.options\.elapsed=channel"):
        Experiment(config("irregular", "gru", options))
    with pytest.raises(ValueError, match="a transformer does not accept timespans"):
        Experiment(config("irregular", "cfc", options, TransformerConfig()))


def test_a_model_that_would_see_the_answer_is_refused(prepared):
    with pytest.raises(
        ValueError, match=r"cheetah predicts what comes next at each position.*--set model\.transformer\.causal=true"
    ):
        Experiment(config("cheetah", "full", transformer=TransformerConfig()))


def test_long_sequences_are_evaluated_fewer_at_a_time(prepared):
    assert Experiment(config("mnist", "gru")).loader("test").batch_size == (1 << 18) // 784
    assert Experiment(config("listops", "gru")).loader("test").batch_size == 1000


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["remanence", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    captured = capsys.readouterr()
    return end.value.code or 0, captured.out + captured.err


def test_the_command_line(monkeypatch, capsys, tmp_path, data_directory):
    code, text = run(monkeypatch, capsys, "data", "characters")
    assert code == 0
    assert "remanence data characters --from PATH" in text
    (tmp_path / "book.txt").write_text("to be or not to be " * 300)
    code, text = run(monkeypatch, capsys, "data", "characters", "--from", tmp_path / "book.txt")
    assert code == 0
    assert "is prepared in" in text
    assert load("text-text") is not None
    code, text = run(monkeypatch, capsys, "preview", "characters", "--count", 1, "--set", "task.options.length=5")
    assert "to be" in text
    code, text = run(monkeypatch, capsys, "preview", "characters", "--json")
    assert len(json.loads(text)["examples"]) == 3
    code, text = run(monkeypatch, capsys, "preview", "characters", "--json", "--output", tmp_path / "drawn")
    assert [*map(str, sorted((tmp_path / "drawn").iterdir()))] == json.loads(text)["pictures"]
    assert "The pictures are in" in run(monkeypatch, capsys, "preview", "parity", "--output", tmp_path / "drawn")[1]
    code, text = run(monkeypatch, capsys, "data", "--json")
    states = {row["task"]: row["state"] for row in json.loads(text)}
    assert states["characters"] == "prepared"
    assert states["mnist"] == "missing"
    assert states["retrieval"] == "ready"
    settings = ["--set", "training.steps_per_epoch=1", "--set", "training.epochs=1"]
    code, text = run(
        monkeypatch, capsys, "train", "characters", "--layer", "gru", "--output", tmp_path / "run", *settings
    )
    assert code == 0, text
    assert "bits per character" in text


def test_files_that_are_not_the_published_ones_are_marked(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(mnist_source, "ROWS", {"train": 20, "t10k": 20})
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 20, 28, 28) + bytes(20 * 784))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 20) + bytes(20))
    code, text = run(monkeypatch, capsys, "data", "mnist", "--from", tmp_path)
    assert code == 2
    assert "is not the file that is published" in text
    code, text = run(monkeypatch, capsys, "data", "mnist", "--from", tmp_path, "--unverified")
    assert code == 0
    assert "Not verified" in text
    assert "prepared, not verified" in run(monkeypatch, capsys, "data", "mnist")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "mnist", "--from", "nowhere"], "there is no nowhere; for MNIST"),
        (["data", "digits", "--from", "."], "digits generates its data"),
        (["data", "--from", "."], "name the task that . is for"),
        (["data", "minst"], "did you mean mnist"),
        (["preview", "mnist"], "mnist needs MNIST"),
        (["preview", "retrieval", "--set", "training.epochs=3"], "training.epochs is not an option of a task"),
        (["train", "mnist", "--layer", "gru", "--output", "run"], "mnist needs MNIST"),
        (["compare", "mnist", "--layers", "gru,lstm", "--output", "run"], "mnist needs MNIST"),
        (["data", "--make"], "--make requires a task"),
    ],
)
def test_a_mistake_is_one_clear_line(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, text = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert message in text
    assert "Traceback" not in text
    assert [path.name for path in tmp_path.iterdir() if path.name != "data"] == []


def test_a_task_without_its_data_is_listed_all_the_same(monkeypatch, capsys):
    code, text = run(monkeypatch, capsys, "list", "--task", "mnist")
    assert code == 0
    assert "Read a handwritten digit pixel by pixel" in text
    assert "remanence data mnist --from PATH" in text
