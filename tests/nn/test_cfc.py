"""CfC against the ncps package, and its fused loop against the plain one."""

from functools import partial

import ncps.torch
import ncps.wirings
import pytest
import torch

from remanence import nn
from remanence.ops import chain

MODES = {
    "default": {},
    "pure": {"mode": "pure"},
    "no_gate": {"mode": "no_gate"},
    "mixed": {"mixed_memory": True},
    "mixed pure": {"mixed_memory": True, "mode": "pure"},
    "deep": {"backbone_layers": 3, "backbone_units": 11, "activation": "silu"},
    "no backbone": {"backbone_layers": 0},
    "mixed, no backbone": {"backbone_layers": 0, "mixed_memory": True, "mode": "no_gate"},
    "tanh": {"activation": "tanh"},
    "relu": {"activation": "relu", "backbone_layers": 2},
    "gelu": {"activation": "gelu"},
}


def pair(options):
    theirs = ncps.torch.CfC(3, 5, **options)
    with torch.no_grad():
        for parameter in theirs.parameters():  # no zero bias, no w_tau at 0
            parameter.add_(0.2 * torch.randn_like(parameter))
    return theirs, nn.CfC.from_ncps(theirs)


def gradients(y, x, module):
    wanted = [x, *module.parameters()]
    found = torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum(), wanted)
    return found[0], dict(zip([name for name, _ in module.named_parameters()], found[1:], strict=True))


def translated(found, options):
    """The gradients of ncps under our names."""
    names = ("ff1",) if options.get("mode") == "pure" else ("ff1", "ff2", "time_a", "time_b")
    result = {
        f"heads.{kind}": torch.cat([found[f"rnn_cell.{name}.{kind}"] for name in names]) for kind in ("weight", "bias")
    }
    layers = sorted({name.split(".")[2] for name in found if "backbone" in name}, key=int)
    for ours, theirs in enumerate(layers):
        for kind in ("weight", "bias"):
            result[f"backbone.{ours}.{kind}"] = found[f"rnn_cell.backbone.{theirs}.{kind}"]
    if options.get("mode") == "pure":
        result |= {"time_constant": found["rnn_cell.w_tau"][0], "amplitude": found["rnn_cell.A"][0]}
    if options.get("mixed_memory"):
        result |= {f"cell_ih.{kind}": found[f"lstm.input_map.{kind}"] for kind in ("weight", "bias")}
        result["cell_hh.weight"] = found["lstm.recurrent_map.weight"]
    return result


@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
@pytest.mark.parametrize("timed", [False, True])
def test_equals_ncps_in_outputs_and_gradients(options, timed):
    theirs, ours = pair(options)
    x = torch.randn(2, 7, 3, requires_grad=True)
    timespans = 2 * torch.rand(2, 7) if timed else None
    y, state = ours(x, timespans=timespans)
    if timespans is not None:  # ncps broadcasts timespans of several samples wrongly: one by one
        runs = [theirs(x[i : i + 1], timespans=timespans[i : i + 1]) for i in range(2)]
        expected = torch.cat([run[0] for run in runs])
        states = [run[1] if isinstance(run[1], tuple) else (run[1],) for run in runs]
        final = tuple(torch.cat(parts) for parts in zip(*states, strict=True))
    else:
        expected, final = theirs(x)
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
    close(y, expected)
    close(state if isinstance(state, tuple) else (state,), final if isinstance(final, tuple) else (final,))
    grad_x, grads = gradients(y, x, ours)
    expected_x, expected_grads = gradients(expected, x, theirs)
    close(grad_x, expected_x)
    close(grads, translated(expected_grads, options))


OPTIONS = {name: MODES[name] for name in ("default", "pure", "mixed", "mixed, no backbone")}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(("batch", "time"), [(1, 1), (3, 1), (1, 5), (3, 5)])
def test_the_fused_loop_equals_the_plain_one(options, batch, time):
    layer = nn.CfC(3, 5, backbone_units=7, **{"backbone_layers": 1, **options}).double()
    x = torch.randn(batch, time, 3, dtype=torch.float64, requires_grad=True)
    timespans = torch.rand(batch, time, dtype=torch.float64, requires_grad=True)
    h, c = torch.randn(2, batch, 5, dtype=torch.float64, requires_grad=True).unbind(0)
    c = c if "mixed_memory" in options else None
    stages = layer._make_stages(x.transpose(0, 1), timespans.t()[..., None])
    states, last_h, last_c = chain.run(stages, h, c)
    expected, carried = chain.run_loop(stages, h, c)
    wanted = [x, timespans, *layer.parameters()]
    results = [(states, expected), (last_h, expected[-1])]
    if c is not None:
        assert carried is not None
        assert last_c is not None
        results.append((last_c, carried[-1]))
    for above in results:
        torch.testing.assert_close(*above)
        ours, plain = (torch.autograd.grad(y.sin().sum(), wanted, retain_graph=True, allow_unused=True) for y in above)
        torch.testing.assert_close(
            [torch.zeros_like(w) if g is None else g for g, w in zip(ours, wanted, strict=True)],
            [torch.zeros_like(w) if g is None else g for g, w in zip(plain, wanted, strict=True)],
        )


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_gradcheck_twice_with_timespans(options):
    layer = nn.CfC(2, 3, backbone_units=4, **{"backbone_layers": 1, **options}).double()
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    timespans = (0.5 + torch.rand(2, 3, dtype=torch.float64)).requires_grad_()

    def run(x, timespans):
        return layer(x, timespans=timespans)[0]

    assert torch.autograd.gradcheck(run, (x, timespans))
    assert torch.autograd.gradgradcheck(run, (x, timespans))


def test_dropout_acts_in_training_alone_and_on_all_layers_but_the_first():
    layer = nn.CfC(3, 4, backbone_layers=2, backbone_units=64, backbone_dropout=0.5)
    x = torch.randn(2, 6, 3)
    first, second = layer(x)[0], layer(x)[0]
    assert not torch.allclose(first, second)
    kept = layer._make_stages(x.transpose(0, 1), None)[1].extra[0]
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(1, abs=0.15)
    layer.eval()
    torch.testing.assert_close(layer(x)[0], layer(x)[0], rtol=0, atol=0)
    theirs = ncps.torch.CfC(3, 4, backbone_layers=2, backbone_dropout=0.3)  # pyright: ignore[reportArgumentType]
    assert nn.CfC.from_ncps(theirs).backbone_dropout == 0.3


def test_longer_spans_let_a_pure_unit_settle_at_its_amplitude():
    layer = nn.CfC(3, 4, mode="pure")
    x = torch.randn(2, 1, 3)
    y, _ = layer(x, timespans=torch.full((2, 1), 1e4))
    torch.testing.assert_close(y[:, 0], layer.amplitude.expand(2, -1))


@pytest.mark.unchecked
def test_wrong_options():
    for options, message in (
        ({"mode": "solid"}, "mode must be one of default, no_gate, pure, got 'solid'"),
        ({"activation": "sine"}, "activation must be one of lecun_tanh"),
        ({"backbone_units": 0}, "backbone_units must be"),
        ({"backbone_layers": -1}, "backbone_layers must be"),
        ({"backbone_dropout": 0.5}, "got 0.5 with 1 layers"),
        ({"backbone_dropout": 1.0, "backbone_layers": 2}, "backbone_dropout must be from 0"),
    ):
        with pytest.raises(ValueError, match=message):
            nn.CfC(3, 4, **options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="a wiring cannot be converted"):
        nn.CfC.from_ncps(ncps.torch.CfC(3, ncps.wirings.AutoNCP(8, 2)))
    with pytest.raises(ValueError, match="no projection"):
        nn.CfC.from_ncps(ncps.torch.CfC(3, 4, proj_size=2))
