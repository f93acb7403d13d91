"""Every reader of files that may come from others, each with whole files to damage."""

import hashlib
import io
import json
import pickle
import random
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
import yaml
from mutations import damaged
from safetensors.torch import save as safetensors

from remanence._kernels import cache
from remanence.data import prepare
from remanence.errors import UserError
from remanence.inspection.checkpoint_subjects import subjects_of_checkpoint
from remanence.inspection.run_subjects import subjects_of_run
from remanence.report import as_json, load, markdown, summarise
from remanence.runs.claims import claim
from remanence.runs.folder import read_checkpoint
from remanence.training import Experiment, LayerConfig, RunConfig, TaskConfig, TrainingConfig
from remanence.training.recipe import Recipe, build_recipe, read_recipe

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from published import published

RECIPES = Path(__file__).parents[2] / "recipes"


@dataclass(frozen=True)
class Reader:
    """One way in.

    Attributes:
        files: whole files by name; in each case one of them is damaged.
        read: reads the file or folder at a path.
        alone: the path is that of the one file, not of a folder that holds all.
        pack: files to what is written to a file instead; damaged after packing half of the times.
    """

    files: Mapping[str, bytes]
    read: Callable[[Path], object]
    alone: bool = False
    pack: Callable[[Mapping[str, bytes]], bytes] | None = None

    def write(self, folder: Path, draw: random.Random | None) -> Path:
        """Put files into an empty folder, one of them damaged if there is chance; what is to be read."""
        files, others = dict(self.files), sorted(self.files.values())
        chosen = sorted(files)[0] if draw is None else draw.choice(sorted(files))
        afterwards = self.pack is not None and draw is not None and draw.random() < 0.5
        if draw is not None and not afterwards:
            files[chosen] = damaged(files[chosen], others, draw)
        if self.pack is not None:
            content = self.pack(files)
            (folder / "packed").write_bytes(damaged(content, others, draw) if draw and afterwards else content)
            return folder / "packed"
        for name in [chosen] if self.alone else files:
            path = folder / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
        return folder / "files" / chosen if self.alone else folder / "files"


def tarred(files: Mapping[str, bytes]) -> bytes:
    """A tar archive, compressed."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        for name, each in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(each)
            archive.addfile(info, io.BytesIO(each))
    return content.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, each in files.items():
            archive.writestr(name, each)
    return content.getvalue()


def data_sets() -> Iterator[tuple[str, Reader]]:
    """Readers of published data: a folder, a tar, a zip in turn."""
    packs = [None, tarred, zipped]
    for number, (name, each) in enumerate(sorted(published().items())):

        def read(path: Path, each=each) -> None:
            with ExitStack() as small:
                for place, limit in each.limits.items():
                    small.enter_context(patch(place, limit))
                prepare(each.source, path, verify=False)

        yield f"data {name}", Reader(each.files, read, pack=packs[number % len(packs)])


def saved(content: object, **options: bool) -> bytes:
    """What ``torch.save`` writes."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def checkpoints() -> Iterator[tuple[str, Reader]]:
    """Files of weights."""
    weights = {f"net.{name}": value for name, value in torch.nn.LSTM(2, 3).state_dict().items()}
    stored = {
        "new.pt": saved(weights),
        "nested.pt": saved({"state_dict": weights, "epoch": 3, "rates": [0.1, (1, "a")]}),
        "old.pt": saved(weights, _use_new_zipfile_serialization=False),
        "objects.pt": pickle.dumps({"a": Path("x")}),
    }
    yield "checkpoint", Reader(stored, subjects_of_checkpoint, alone=True)
    yield "checkpoint safetensors", Reader({"w.safetensors": safetensors(weights)}, subjects_of_checkpoint, alone=True)
    in_run = {f"run/checkpoints/{name}": content for name, content in stored.items()}
    yield "checkpoint of a run", Reader(in_run, read_checkpoint, alone=True)


def run_files() -> dict[str, bytes]:
    """A finished run."""
    options = {"pairs": 1, "train": 8, "validation": 8, "test": 8}
    config = RunConfig(
        task=TaskConfig(name="retrieval", options=options),
        layer=LayerConfig(name="gru", hidden_size=4),
        training=TrainingConfig(epochs=2),
        seed=3,
    )
    result = {
        "metric": "error", "chance": 0.9, "parameters": 100, "test_metric": 0.5, "validation_metric": 0.4,
        "seconds": 1.0, "steps": 4, "stopped": "epochs", "failure": None, "epoch": 1, "seed": 3, "task": "retrieval",
        "layer": "gru", "hidden_size": 4,
    }  # fmt: skip
    curve = "epoch,step,seconds,train_loss,validation_loss,validation_metric\n0,2,0.1,1,1,0.5\n1,4,0.2,1,1,0.4\n"
    weights = saved(Experiment(config).model.state_dict())
    return {
        "config.yaml": yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode(),
        "result.json": json.dumps(result, indent=2).encode(),
        "metrics.csv": curve.encode(),
        "checkpoints/best.ckpt": weights,
    }


def shown(folder: Path) -> None:
    """As ``remanence report`` shows it."""
    rows = summarise(load([folder]))
    as_json(rows)
    markdown(rows)


def run_folders() -> Iterator[tuple[str, Reader]]:
    """Runs of others."""
    files = run_files()
    small = {name: content for name, content in files.items() if not name.startswith("checkpoints")}
    config = RunConfig.model_validate(yaml.safe_load(files["config.yaml"]))
    yield "report", Reader(small, shown)
    yield "inspect", Reader(files, subjects_of_run)
    yield "train into it", Reader(small, lambda folder: claim(folder, config))


def planned(path: Path, recipe: Recipe) -> None:
    """As ``remanence compare`` begins: what is wrong with a task or a layer is said with its name."""
    try:
        recipe.runs()
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def recipes() -> Iterator[tuple[str, Reader]]:
    """Recipes, and what is set on the command line."""
    files = {path.name: path.read_bytes() for path in sorted(RECIPES.glob("*.yaml"))}
    yield "recipe", Reader(files, lambda path: planned(path, read_recipe(path)), alone=True)
    plain = yaml.safe_load(files["demo.yaml"])
    words = {"a": b"training.learning_rate=0.1", "b": b"task.options.pairs=2", "c": b"seeds=3"}

    def settled(path: Path) -> None:
        word = path.read_bytes().decode("utf-8", "replace")
        try:
            recipe = build_recipe(json.loads(json.dumps(plain)), [word])
        except UserError as error:  # it names the field; there is no file
            raise UserError(f"{path}: {error}") from error
        planned(path, recipe)

    yield "--set", Reader(words, settled, alone=True)


def kernels() -> Iterator[tuple[str, Reader]]:
    """Machine code that was kept."""

    def load(path: Path) -> None:
        with patch.dict("os.environ", REMANENCE_CACHE_DIR=str(path)):
            (name,) = [file.name for file in path.iterdir()]
            with patch.object(cache, "_make_key", lambda parts: (name, b"key")):
                cache.load(["any"])

    code = b"\x7fELF\x02\x01" + bytes(1000)
    yield "kernel cache", Reader({"kernel.o": hashlib.sha256(b"key" + code).digest() + code}, load)


def every() -> dict[str, Reader]:
    """All readers by name."""
    return {
        name: reader for group in (data_sets, checkpoints, run_folders, recipes, kernels) for name, reader in group()
    }


def clear(folder: Path) -> None:
    """Empty a folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
