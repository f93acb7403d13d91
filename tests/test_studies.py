import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import remanence
from remanence.cli.app import app
from remanence.cli.names import complete_study
from remanence.studies import find_studies, load_study

STUDY = """\
from remanence import training
from studies.short import page

def plan(folder, settings):
    task = {"name": "recall", "options": {"delay": 3, "symbols": 2, "train": 16, "validation": 16, "test": 16}}
    fields = {"task": task, "layer": {"name": "elman", "hidden_size": 4}, "training": {"epochs": 2}}
    return {"only": {folder / "run": training.build_run_config(fields, settings)}}

def answer(plans, folder, tell):
    tell(1, 1)
    return page.write(folder, [config.training.epochs for config in plans["only"].values()])
"""
PAGE = """\
def write(folder, epochs):
    trained = (folder / "run/result.json").is_file()
    (folder / "index.md").write_text(f"trained: {trained}, epochs: {epochs}")
    return folder / "index.md"
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, outside the clone."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "studies", None)  # not to be had by a plain import
    return folder


@pytest.fixture
def write_study(here):
    """Write a study below the current folder."""

    def write(name, **files):
        folder = here / "studies" / name
        folder.mkdir(parents=True)
        for stem, text in files.items():
            (folder / f"{stem}.py").write_text(text)
        names.append(f"studies.{name}")

    names = []
    yield write
    for name in [module for module in sys.modules if module.startswith(tuple(names))]:
        del sys.modules[name]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as a wheel installs it, with no clone around it."""
    monkeypatch.setattr(remanence, "__file__", str(tmp_path / "site-packages/remanence/__init__.py"))


def test_the_studies_of_the_clone_are_known_in_any_folder(here):
    assert complete_study("") == ["holding"]
    with pytest.raises(ValueError, match=r"^unknown study 'hodling'; known: holding$"):
        load_study("hodling")


def test_a_study_of_the_current_folder_runs(here, write_study):
    write_study("short", __init__=STUDY, page=PAGE)
    assert complete_study("") == ["holding", "short"]
    done = CliRunner().invoke(app, ["study", "short", "--jobs", "1", "--set", "training.epochs=1"])
    assert done.exception is None
    assert "trained: True, epochs: [1]" in done.stdout


def test_the_study_of_the_clone_comes_first(write_study):
    write_study("holding", __init__="")
    assert find_studies()["holding"].parents[1] == Path(remanence.__file__).parents[2]


def test_without_a_clone_one_line_says_where_it_looked_and_what_to_do(here, installed, tmp_path):
    stranger = tmp_path / "studies/holding"  # as far above the package as studies/ of a clone
    stranger.mkdir(parents=True)
    (stranger / "__init__.py").touch()
    with pytest.raises(ValueError, match="clone the repository") as error:
        load_study("holding")
    assert f"no study 'holding' in {here / 'studies'}: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wheel_finds_the_studies_of_the_current_folder(installed, write_study):
    write_study("short", __init__=STUDY, page=PAGE)
    assert [*find_studies()] == ["short"]


def test_a_folder_without_its_functions_is_named(here, write_study):
    write_study("empty", __init__="def plan(folder, settings): ...")
    with pytest.raises(ValueError, match=r"studies/empty is not a study: it has no function answer$"):
        load_study("empty")
