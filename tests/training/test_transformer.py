"""A layer inside a transformer, by configuration."""

import pytest

from remanence.models import Transformer
from remanence.models.block import Block
from remanence.models.mixer import MemoryMixer
from remanence.nn.attention import LocalAttention
from remanence.training import ModelConfig, TransformerConfig, train
from remanence.training.experiment import Experiment


@pytest.fixture
def in_transformer(make_config):
    def make(layer, layer_options=None, **blocks):
        config = make_config(layer, layer_options=layer_options)
        model = ModelConfig(readout=(5,), transformer=TransformerConfig(**{"layers": 1, "max_length": 16, **blocks}))
        return config.model_copy(update={"model": model})

    return make


def test_the_layer_becomes_the_mixer(in_transformer):
    model = Experiment(in_transformer("local", {"radius": 2}, heads=3, mlp=7)).model
    assert isinstance(model, Transformer)
    (block,) = model.blocks
    assert isinstance(block, Block)
    assert isinstance(block.mixer, LocalAttention)
    assert (block.mixer.radius, block.mixer.heads, block.mixer.width, block.mlp[0].out_features) == (2, 3, 6, 7)
    assert model.readout[0].out_features == 5
    model = Experiment(in_transformer("gru", causal=True, pooling="last")).model
    assert isinstance(model, Transformer)
    (block,) = model.blocks
    assert isinstance(block, Block)
    assert isinstance(block.mixer, MemoryMixer)
    assert [part.hidden_size for part in block.mixer.memories] == [6]


@pytest.mark.parametrize("layer", ["performer", "lstm"])
def test_it_trains(in_transformer, layer, tmp_path):
    result = train(in_transformer(layer), tmp_path / "run")
    assert result.steps == 8
    assert result.failure is None
    assert train(in_transformer(layer), tmp_path / "run") == result


@pytest.mark.unchecked
def test_a_sequence_that_is_too_long_is_refused(in_transformer, tmp_path):
    with pytest.raises(ValueError, match="1 to 2 positions"):
        train(in_transformer("full", max_length=2), tmp_path / "run")
