import math

import numpy as np
import pytest
import torch

from remanence.analysis import as_step, error_correction, fixed_points
from remanence.nn import CFF


def make_linear(A):
    A = torch.as_tensor(A)
    return as_step(lambda x_t, h: h @ A.T + x_t, state=torch.zeros(1, len(A)).double(), input_size=len(A))


def rotate(angle):
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def test_a_linear_recurrence_multiplies_errors_and_differences_by_powers():
    rng = np.random.default_rng(0)
    A, x, e = 0.5 * rng.normal(size=(3, 3)), rng.normal(size=(4, 9, 3)), rng.normal(size=(2, 3))
    sizes, times, horizon = [0.1, 2.0], [0, 2, 5], 4
    C = rng.normal(size=(2, 3))
    read = lambda h: h @ torch.from_numpy(C).T  # noqa: E731
    found = error_correction(
        make_linear(A), torch.from_numpy(x), sizes=sizes, directions=torch.from_numpy(e), times=times, horizon=horizon,
        read=read,
    )  # fmt: skip
    assert found.readout is not None
    h = np.zeros((4, 10, 3))
    for t in range(9):
        h[:, t + 1] = h[:, t] @ A.T + x[:, t]
    for k in range(horizon + 1):
        power = np.linalg.matrix_power(A, k)
        for which, M in ((found, power), (found.readout, C @ power)):
            for s, size in enumerate(sizes):
                for d in range(2):
                    expected = size * np.linalg.norm(M @ e[d]) / np.linalg.norm(e[d])
                    np.testing.assert_allclose(which.distances[:, :, s, d, k], expected, rtol=1e-9)
            for index, t in enumerate(times):
                for i in range(4):
                    apart = np.mean([np.linalg.norm(M @ (h[i, t] - h[j, t])) for j in range(4) if j != i])
                    np.testing.assert_allclose(which.separations[index, i, k], apart, rtol=1e-9)
    ratio = found.distinguishability
    torch.testing.assert_close(ratio[0] * 0.1, ratio[1] * 2.0)
    torch.testing.assert_close(found.gain[0], found.gain[1])
    torch.testing.assert_close(found.remaining[0], found.remaining[1])


@pytest.mark.parametrize("modulus", [1.0, 0.8])
def test_a_linear_memory_corrects_only_as_it_forgets(modulus):
    x = torch.randn(3, 30, 2, generator=torch.Generator().manual_seed(0)).double()
    found = error_correction(make_linear(modulus * rotate(0.7)), x, sizes=[1e-3, 1.0, 1e3], horizon=12)
    torch.testing.assert_close(found.gain, torch.ones(3).double())
    torch.testing.assert_close(found.retained, found.predicted)
    torch.testing.assert_close(found.exponents, torch.full((3,), math.log(modulus), dtype=torch.float64))
    if modulus == 1:
        assert found.corrected.tolist() == [0, 0, 0]
        assert bool(found.recovery_times.isinf().all())
        assert bool(found.recovery_time.isnan().all())
    else:  # 0.8¹¹ < 0.1 < 0.8¹⁰
        assert found.corrected.tolist() == [1, 1, 1]
        assert found.recovery_time.tolist() == [11, 11, 11]


MAPS = {
    "cubic": (lambda h: h + 0.25 * h * (1 - h**2), 1.0, 0.5),  # f'(±1) = 1 - 2 · 0.25
    "tanh": (lambda h: torch.tanh(2 * h), 0.9575040240772687, 2 * (1 - 0.9575040240772687**2)),
}


@pytest.mark.parametrize("name", sorted(MAPS))
def test_a_bistable_map_corrects_errors_up_to_the_separatrix(name):
    function, rest, slope = MAPS[name]
    step = as_step(lambda x_t, h: function(h), state=torch.zeros(1, 1).double())
    contents = torch.tensor([[rest], [-rest]]).double()
    sizes = [1e-4, 0.5 * rest, 0.999 * rest, 1.001 * rest, 1.1 * rest]
    both = torch.tensor([[3.0], [-1.0]]).double()
    found = error_correction(
        step, step.silence(2, 120), contents, sizes=sizes, directions=both, times=[1, 10], horizon=100
    )
    assert found.corrected.tolist() == [1, 1, 1, 0.5, 0.5]  # outwards all, inwards up to the separatrix at 0
    inwards = found.is_corrected[:, torch.tensor([0, 1]), :, torch.tensor([1, 0])]
    assert bool((inwards == torch.tensor([True, True, True, False, False])).all())
    torch.testing.assert_close(found.distances[:, 0, 3:, 1, -1], torch.full((2, 2), 2 * rest, dtype=torch.float64))
    torch.testing.assert_close(found.retained, torch.ones(101).double())
    assert bool((found.gain[:3] > 1e6).all())
    torch.testing.assert_close(found.gain[3:], found.sizes[3:] / rest)  # outwards 0 is left, inwards 2 rest
    torch.testing.assert_close(found.exponents.exp(), torch.full((2,), slope, dtype=torch.float64))
    torch.testing.assert_close(found.remaining[0, :6], found.predicted[:6], rtol=2e-3, atol=0)
    for s, size in enumerate(sizes[:3]):
        h = torch.tensor(rest - size).double()
        apart = [size]
        for _ in range(100):
            h = function(h)
            apart.append(abs(float(h) - rest))
        last_large = max(k for k, distance in enumerate(apart) if distance > 0.1 * size)
        assert float(found.recovery_times[0, 0, s, 1]) == last_large + 1


def make_flip_flop():
    torch.manual_seed(0)
    layer = CFF(input_size=1, hidden_size=1).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter[1] = parameter[0]  # both neurons alike
        layer.log_capacitance.fill_(0.7)
        layer.log_conductance_self.fill_(0.2).log_()
        layer.log_conductance_mutual.fill_(2.0).log_()
    return layer


def test_a_flip_flop_corrects_what_a_leaky_integrator_does_not():
    layer, leak = make_flip_flop(), make_linear(np.diag([0.995, 0.995]))
    contents = fixed_points(layer).attractors
    assert len(contents) == 2
    size = 0.3 * float((contents[0] - contents[1]).norm())
    options = {"sizes": [size], "horizon": 50}
    held = error_correction(layer, torch.zeros(2, 60, 1).double(), contents, **options)
    leaked = error_correction(leak, torch.zeros(2, 60, 2).double(), contents, **options)
    assert (held.corrected.item(), leaked.corrected.item()) == (1, 0)
    torch.testing.assert_close(held.retained, torch.ones(51).double(), rtol=1e-5, atol=0)
    assert held.gain > 100
    assert math.isclose(leaked.gain.item(), 1, rel_tol=1e-9)


def test_states_of_several_tensors_and_a_readout():
    lstm = torch.nn.LSTM(2, 3, batch_first=True).double()
    x = torch.randn(3, 12, 2).double()
    e = torch.tensor([[0, 0, 0, 0, 1.0, 0]]).double()  # of c alone
    found = error_correction(lstm, x, directions=e, sizes=[0.5], times=[4], horizon=6, read=lambda h: h[:, :3])
    _, (h, c) = lstm(x[:, :4])
    moved = c + 0.5 * e[:, 3:]
    expected, _ = lstm(x[:, 4:10], (h, c))
    got, (last_h, last_c) = lstm(x[:, 4:10], (h, moved))
    _, (true_h, true_c) = lstm(x[:, 4:10], (h, c))
    assert found.readout is not None
    torch.testing.assert_close(found.readout.distances[0, :, 0, 0, 1:], (got - expected).norm(dim=-1))
    assert found.readout.distances[..., 0].abs().max() == 0  # h did not change
    apart = torch.cat([last_h - true_h, last_c - true_c], -1).norm(dim=-1)[0]
    torch.testing.assert_close(found.distances[0, :, 0, 0, -1], apart)


def test_defaults_follow_the_spread_and_the_seed():
    step, x = make_linear(np.diag([0.5, 0.9])), torch.randn(2, 40, 2).double()
    found = error_correction(step, x)
    _, states = step.run(x)
    spread = states.flatten(0, 1).var(0, unbiased=False).sum().sqrt()
    torch.testing.assert_close(found.sizes / spread, torch.tensor([0.01, 0.03, 0.1, 0.3, 1.0]).double())
    assert found.times.tolist() == [5, 10, 15, 20]
    assert found.distances.shape == (4, 2, 5, 8, 21)
    assert torch.equal(found.distances, error_correction(step, x).distances)
    assert not torch.equal(found.distances, error_correction(step, x, seed=1).distances)
    alone = error_correction(step, x[:1])
    assert bool(alone.gain.isnan().all())
    assert alone.corrected.shape == (5,)


def test_a_network_that_forgets_at_once():
    step = as_step(lambda x_t, h: 0 * h + x_t, state=torch.zeros(1, 1).double(), input_size=1)
    found = error_correction(step, torch.randn(2, 8, 1).double())
    assert found.recovery_time.tolist() == [1] * 5
    assert found.predicted.tolist() == [1, 0, 0, 0, 0]


def test_picture():
    from matplotlib import pyplot

    step, slow = make_linear(np.diag([0.5, 0.9])), torch.tensor([[0.0, 1.0]]).double()
    found = error_correction(step, torch.randn(2, 20, 2).double(), sizes=[1.0, 2.0], directions=slow)
    axes = found.plot()
    assert axes.get_title() == "Error correction"
    assert "error of 2: 0% corrected" in [text.get_text() for text in axes.get_legend().get_texts()]
    pyplot.close("all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": []}, "sizes must be numbers above 0"),
        ({"sizes": [0.1, -1.0]}, "sizes must be numbers above 0"),
        ({"sizes": [math.nan]}, "sizes must be numbers above 0"),
        ({"directions": 0}, "directions must be at least 1"),
        ({"directions": torch.zeros(1, 2).double()}, "directions must not be zero"),
        ({"directions": torch.ones(1, 3).double()}, r"directions must be a number or \[directions, 2\], got \[1, 3\]"),
        ({"times": []}, "times must be 0 to 5, so that 5 of 10 steps follow"),
        ({"times": [6]}, "times must be 0 to 5"),
        ({"times": [-1]}, "times must be 0 to 5"),
        ({"horizon": 0}, "horizon must be 1 to 10"),
        ({"horizon": 11}, "horizon must be 1 to 10"),
        ({"tolerance": 1.0}, "tolerance must be between 0 and 1"),
        ({"sizes": None}, "the states are the same at all times"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        error_correction(make_linear(np.eye(2)), torch.zeros(2, 10, 2).double(), **{"sizes": [1.0], **options})
