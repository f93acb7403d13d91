import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanence import tasks
from remanence.errors import RunError
from remanence.training import Experiment, build_recipe, build_run_config, read_recipe
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
        (
            RECIPE.replace("epochs: 3", "epochs: \x01"),
            r"recipe\.yaml, line 12: the character '\\x01' is not allowed in YAML",
        ),
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
        build_recipe(data, [override])


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("training.epoch=1", "epochs"),
        ("training.lerning_rate=0.1", "learning_rate"),
        ("model.transformer.head=2", "heads"),
        ("model.embeding=[3]", "embedding"),
        ("task.option.pairs=3", "options"),
        ("hidden_size=[3]", "hidden_sizes"),
        ("layers=[{name: gru, hiden_size: 3}]", "hidden_size"),
        ("search={feilds: {training.epochs: [1]}, trials: 3}", "fields"),
    ],
)
def test_a_field_that_is_nearly_one_gets_a_hint(override, hint):
    data = {"title": "t", "comparisons": [{"task": {"name": "digits"}, "layers": ["gru"]}]}
    with pytest.raises(ValueError, match=rf"did you mean ([a-z_]+ or )*{hint}\b") as error:
        build_recipe(data, [override])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "override",
    [
        "training.batch_size=1000000000000000000",
        "training.epochs=1e18",
        "training.threads=1000000",
        "training.steps_per_epoch=1000000000000",
        "model.transformer.layers=1000000000",
        "model.transformer.heads=1000000000000",
        "model.transformer.max_length=1000000000000",
        "model.embedding=[1000000000000]",
        "model.readout=[1000000000000]",
        "hidden_sizes=[1000000000000]",
        "seeds=1000000000",
        "layers=[{name: gru, hidden_size: 1000000000000}]",
        "search={fields: {training.learning_rate: [0.1]}, trials: 1000000000}",
    ],
)
def test_numbers_without_bounds_are_refused_before_anything_is_made(override, within):
    data = {"title": "t", "comparisons": [{"task": {"name": "digits"}, "layers": ["gru"]}]}
    with within(1 << 24), pytest.raises(ValueError, match=r"less than or equal to|at most|valid integer") as error:
        build_recipe(data, [override])
    assert "\n" not in str(error.value)


def test_more_runs_than_can_be_planned_are_refused():
    comparison = {"task": "digits", "layers": ["gru"] * 100, "hidden_sizes": list(range(1, 101))}
    with pytest.raises(ValueError, match="make 1,000,000 runs, at most 100,000"):
        build_recipe({"title": "t", "comparisons": [comparison]}, ["seeds=100"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "fields"),
    [
        ("gru", {"layer": {"name": "gru", "hidden_size": 2_000_000}}),
        ("elman", {"model": {"embedding": [3_000_000, 3_000_000]}}),
        ("lstm", {"layer": {"name": "lstm", "hidden_size": 100_000}}),
        ("full", {"layer": {"name": "full", "hidden_size": 100_000}, "model": {"transformer": {"layers": 1000}}}),
    ],
)
def test_a_model_that_no_memory_holds_is_refused_before_it_is_made(layer, fields, within):
    config = build_run_config({"task": "retrieval", "layer": layer_of(layer), **fields})
    with within(1 << 26), pytest.raises(RunError, match=rf"out of memory: {layer} with [0-9,]+ units on retrieval"):
        Experiment(config)


def layer_of(name):
    return {"name": name, "hidden_size": 4}


@pytest.mark.parametrize(
    ("task", "option"),
    [("copy", "delay"), ("adding", "length"), ("denoise", "stretch"), ("flipflop", "length"), ("mqar", "pairs")],
)
def test_sequences_without_bounds_are_refused(task, option, within):
    with within(1 << 24), pytest.raises(ValueError, match=f"{option}.*(at most|must be|between)"):
        tasks.create(task, **{option: 10**9})


def test_a_task_may_be_given_by_its_name(recipe_file):
    short = RECIPE.replace("{name: retrieval, options: {pairs: 2}}", "retrieval")
    assert {run.task.name for run in read_recipe(recipe_file(short)).runs()} == {"retrieval"}
    runs = read_recipe(recipe_file(short), ["task.options.pairs=2"]).runs()
    assert runs == read_recipe(recipe_file(RECIPE)).runs()
    assert read_recipe(recipe_file(RECIPE), ["task=digits"]).runs()[0].task.name == "digits"


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers())
def test_numbers_come_through_whole(real, whole):
    assert parse_override(f"a.b={real!r}") == (["a", "b"], real)
    assert parse_override(f"a={whole}") == (["a"], whole)


EQUAL = """\
title: Equal parameters
seeds: 1
comparisons:
  - task: {name: recall, options: {delay: 5}}
    layers: [elman, gru, persistent, {name: fastlane, options: {density: 0.1}}]
    parameters: 600
    model: {embedding: [], readout: []}
"""


def test_layers_are_as_large_as_their_parameters_allow(recipe_file):
    def parameters(layer, size):
        inputs, outputs = 4, 4
        gates = {"elman": 1, "gru": 3}
        if layer == "persistent":
            return size * (inputs + 1) + outputs * (size + 1)
        biases = 2 if layer == "gru" else 1
        return gates[layer] * size * (inputs + size + biases) + outputs * (size + 1)

    runs = {run.layer.name: run for run in read_recipe(recipe_file(EQUAL)).runs()}
    for layer in ("elman", "gru", "persistent"):
        size = runs[layer].layer.hidden_size
        assert parameters(layer, size) <= 600 < parameters(layer, size + 1)
    assert runs["fastlane"].layer.hidden_size > runs["elman"].layer.hidden_size
    model = Experiment(runs["fastlane"]).model
    assert 560 < sum(parameter.numel() for parameter in model.parameters()) <= 600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("parameters: 5", "elman with 1 unit has more than parameters=5: raise it"),
        ("parameters: 600\n    hidden_sizes: [7]", "give only one of the two"),
        ("parameters: 100_000_000", "fewer than parameters=100,000,000"),
    ],
)
def test_parameters_that_decide_no_size_are_refused(recipe_file, change, message):
    with pytest.raises(ValueError, match=message):
        read_recipe(
            recipe_file(EQUAL.replace("parameters: 600", change).replace("gru, persistent", "persistent"))
        ).runs()
