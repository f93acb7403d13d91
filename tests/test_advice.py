"""What an error advises is accepted: a call that is refused, and the same as its message says."""

import pytest
import torch

from remanence import analysis
from remanence.nn import FastWeights, ModernHopfield


def function(**options):
    return analysis.as_step(lambda x_t, h: 0.5 * h + x_t.sum(), state=torch.zeros(1, 2).double(), **options)


class Unsaid(torch.nn.Module):
    def forward(self, x_t, h):
        return h, 0.5 * h + x_t


def modern(stored):
    memory = ModernHopfield(4)
    if stored:
        memory.store(torch.ones(1, 4))
    return memory


def dropping():
    return torch.nn.LSTM(2, 3, num_layers=2, dropout=0.5).double()


def growing(**options):
    torch.manual_seed(0)
    defaults = {"layer_norm": False, "decay": 1.0, "fast_learning_rate": 1.0, "nonlinearity": "relu"}
    layer = FastWeights(2, 3, **{**defaults, **options}).double()
    return analysis.fast_weights_dynamics(layer, 1e3 * torch.ones(1, 400, 2).double())


doubling = analysis.as_step(lambda x_t, h: 2 * h + x_t, state=torch.zeros(1, 1).double(), input_size=1)
linear = analysis.as_step(lambda x_t, h: 0.5 * h + x_t, state=torch.zeros(1, 1).double(), input_size=1)
shifted = analysis.as_step(lambda x_t, h: 0.5 * h + 1, state=torch.zeros(1, 1).double(), input_size=1)
away = analysis.as_step(lambda x_t, h: 2 * h, state=torch.zeros(1, 2).double(), input_size=1)
box, square = ((-1.0, 1.0),), (lambda h: h.square().sum(-1))
origin = torch.zeros(1).double()


def no_input(**options):
    return analysis.controllability(function(**options), torch.ones(1, 3, options.get("input_size", 0)).double())


ADVICE = {
    "store first": (
        "nothing is stored yet: call store first",
        lambda: modern(stored=False)(torch.ones(1, 4)),
        lambda: modern(stored=True)(torch.ones(1, 4)),
    ),
    "store first, for an energy": (
        "nothing is stored yet: call store first",
        lambda: modern(stored=False).energy(torch.ones(1, 4)),
        lambda: modern(stored=True).energy(torch.ones(1, 4)),
    ),
    "eval": (
        r"call \.eval\(\) on the",
        lambda: analysis.as_step(dropping()),
        lambda: analysis.as_step(dropping().eval()),
    ),
    "state": (
        "a function needs state: the state to start in, a batch of one",
        lambda: analysis.as_step(lambda x_t, h: h),
        lambda: analysis.as_step(lambda x_t, h: h, state=torch.zeros(1, 2)),
    ),
    "input_size": (
        "how many channels its input has: pass input_size",
        lambda: analysis.as_step(Unsaid(), state=torch.zeros(1, 2)),
        lambda: analysis.as_step(Unsaid(), state=torch.zeros(1, 2), input_size=2),
    ),
    "input_size above 0": ("give as_step an input_size above 0", no_input, lambda: no_input(input_size=1)),
    "symbols": (
        "pass symbols",
        lambda: analysis.retention(linear, delays=[0, 1]),
        lambda: analysis.retention(linear, torch.tensor([[1.0], [-1.0]]), [0, 1]),
    ),
    "steps": (
        "more steps or washout",
        lambda: analysis.memory_capacity(linear, [1, 200], steps=100, washout=50),
        lambda: analysis.memory_capacity(linear, [1, 200], steps=800, washout=50),
    ),
    "washout": (
        "more steps or washout",
        lambda: analysis.memory_capacity(linear, [1, 200], steps=100, washout=50),
        lambda: analysis.memory_capacity(linear, [1, 200], steps=100, washout=200),
    ),
    "a smaller horizon": (
        "pass a smaller horizon",
        lambda: analysis.linear_control(doubling, origin, horizon=2000),
        lambda: analysis.linear_control(doubling, origin, horizon=10),
    ),
    "an equilibrium": (
        "find one with fixed_points",
        lambda: analysis.check_lyapunov_function(shifted, square, box, point=origin),
        lambda: analysis.check_lyapunov_function(
            shifted, lambda h: square(h - 2), box, point=analysis.fixed_points(shifted).attractors[0]
        ),
    ),
    "candidate and region": (
        "candidate and region are needed",
        lambda: analysis.check_lyapunov_function(linear),
        lambda: analysis.check_lyapunov_function(linear, square, box),
    ),
    "point": (
        "a region given as a radius needs point",
        lambda: analysis.check_lyapunov_function(linear, square, 1.0),
        lambda: analysis.check_lyapunov_function(linear, square, 1.0, point=origin),
    ),
    "layer_norm": ("use layer_norm=True", growing, lambda: growing(layer_norm=True)),
    "a smaller decay": ("a smaller decay", growing, lambda: growing(decay=0.1, fast_learning_rate=1e-9)),
}


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("name", ADVICE)
def test_what_an_error_advises_is_accepted(name):
    message, refused, advised = ADVICE[name]
    with pytest.raises(ValueError, match=message):
        refused()
    advised()
