import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanence.training import read_recipe, recipe_from
from remanence.training.recipe import parse_override

RECIPE = """\
title: Two memories
seeds: 2
comparisons:
  - task: {name: retrieval, options: {pairs: 2}}
    layers:
      - lstm
      - name: fast_weights
        hidden_size: 7
        options: {decay: 0.9}
    hidden_sizes: [20, 50]
    training:
      epochs: 3
"""


@pytest.fixture
def recipe_file(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write


def test_runs_are_every_layer_at_every_size_with_every_seed(recipe_file):
    runs = read_recipe(recipe_file(RECIPE)).runs()
    assert [(run.seed, run.layer.name, run.layer.hidden_size) for run in runs] == [
        (seed, *layer) for seed in (0, 1) for layer in (("lstm", 20), ("lstm", 50), ("fast_weights", 7))
    ]
    assert runs[2].layer.options == {"decay": 0.9}
    assert {run.training.epochs for run in runs} == {3}
    assert {run.task.options["pairs"] for run in runs} == {2}


def test_every_field_can_be_overridden(recipe_file):
    changes = ["seeds=1", "training.learning_rate=1e-2", "task.options.pairs=5", "layers=[gru]", "model.readout=[]"]
    (run, _) = read_recipe(recipe_file(RECIPE), changes).runs()
    assert run.training.learning_rate == 0.01
    assert run.training.epochs == 3
    assert run.task.options["pairs"] == 5
    assert run.layer.name == "gru"
    assert run.model.readout == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RECIPE.replace("epochs: 3", "epochs: -3"), r"line 12: comparisons\.0\.training\.epochs"),
        (RECIPE.replace("epochs: 3", "epoch: 3"), r"line 12: comparisons\.0\.training\.epoch: extra"),
        (RECIPE.replace("hidden_size: 7", "hidden_size: many"), r"line 8: comparisons\.0\.layers\.1\.hidden_size"),
        (RECIPE.replace("title: Two memories\n", ""), "title: field required"),
        (RECIPE.replace("[20, 50]", "[20, 50"), r"line 1\d: "),
        (
            RECIPE.replace("layers:\n", "layers: 3\n    other:\n"),
            r"line 5: .*layers: input should be a valid list, got 3",
        ),
        (RECIPE.replace("epochs: 3", "epochs: \x01"), r"recipe\.yaml, line 12: the character '\\x01' has no place"),
        ("just text", "line 1: a recipe is a mapping"),
        ("", "line 1: a recipe is a mapping"),
    ],
)
def test_errors_name_the_line_and_the_field(recipe_file, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read_recipe(recipe_file(text))
    assert "\n" not in str(error.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the recipe .*No such file"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="binary"):
        read_recipe(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "FIELD=VALUE"),
        ("=3", "FIELD=VALUE"),
        ("training.epochs=[", "not a value"),
        ("training.epochs=0", "training.epochs: input should be greater than 0"),
        ("training.epoch=1", "training.epoch: extra"),
        ("title.epoch=1", "title is a value"),
    ],
)
def test_wrong_overrides(override, message):
    data = {"title": "t", "comparisons": [{"task": {"name": "digits"}, "layers": ["gru"]}]}
    with pytest.raises(ValueError, match=message):
        recipe_from(data, [override])


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers())
def test_numbers_come_through_whole(real, whole):
    assert parse_override(f"a.b={real!r}") == (["a", "b"], real)
    assert parse_override(f"a={whole}") == (["a"], whole)
