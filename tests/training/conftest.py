import pytest

from remanence.training import LayerConfig, ModelConfig, RunConfig, TaskConfig, TrainingConfig

TINY_TASK = {"pairs": 1, "train": 64, "validation": 32, "test": 32}


@pytest.fixture(scope="session")
def make_config():
    """A run of a second or less; fields of the training can be set."""

    def make(layer="elman", seed=0, layer_options=None, **training):
        return RunConfig(
            task=TaskConfig(name="retrieval", options=TINY_TASK),
            layer=LayerConfig(name=layer, hidden_size=6, options=layer_options or {}),
            model=ModelConfig(embedding=(8,), readout=()),
            training=TrainingConfig(**{"batch_size": 16, "epochs": 2, **training}),
            seed=seed,
        )

    return make
