import pytest
import torch
from torch import nn

from remanence.training import LayerConfig, ModelConfig, RunConfig, TaskConfig, TrainingConfig, TransformerConfig, train


class Leak(nn.Module):
    """h' = decay h + x: all that the card measures is known."""

    def __init__(self, decay=0.5, input_size=3):
        super().__init__()
        self.input_size = input_size
        self.decay = nn.Parameter(torch.tensor(decay))

    def forward(self, x, state=None):
        h = x.new_zeros(len(x), self.input_size) if state is None else state
        ys = []
        for x_t in x.unbind(1):
            h = self.decay * h + x_t
            ys.append(h)
        return torch.stack(ys, 1), h


@pytest.fixture
def make_leak():
    return Leak


@pytest.fixture(scope="session")
def make_run(tmp_path_factory):
    """Train for a moment; the folder of the run."""

    def make(name, layer, transformer=None, **options):
        config = RunConfig(
            task=TaskConfig(name="retrieval", options={"pairs": 1, "train": 32, "validation": 40, "test": 16}),
            layer=LayerConfig(name=layer, hidden_size=6, options=options),
            model=ModelConfig(embedding=(4,), readout=(), transformer=transformer),
            training=TrainingConfig(batch_size=16, epochs=1),
        )
        folder = tmp_path_factory.mktemp("runs") / name
        train(config, folder)
        return folder

    return make


@pytest.fixture(scope="session")
def fastlane_run(make_run):
    return make_run("lane", "fastlane", leak=0.5)


@pytest.fixture(scope="session")
def transformer_run(make_run):
    return make_run("blocks", "gru", TransformerConfig(layers=2, max_length=16))


@pytest.fixture(scope="session")
def attention_run(make_run):
    return make_run("attention", "full", TransformerConfig(layers=1, max_length=16))
