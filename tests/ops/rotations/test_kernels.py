"""The kernels of EUNN against the plain complex loop: values and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence import nn
from remanence.ops.episodes import Episodes
from remanence.ops.rotations import cpu
from remanence.ops.rotations.mesh import butterfly_mesh, tunable_mesh
from remanence.ops.rotations.operation import evolve


def drawn(mesh, time, batch, *, seed=0, dtype=torch.float64):
    """x, state, weight_ih, theta, phi, omega, bias."""
    torch.manual_seed(seed)
    hidden, turns = mesh.partner.shape[1], len(mesh.places)
    shapes = (batch, time, 3), (batch, 2 * hidden), (2 * hidden, 3), (turns,), (turns,), (hidden,), (hidden,)
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]


def drawn_episodes(x, state):
    """Resets at a third of the steps, to a state of its own."""
    return Episodes(torch.rand(x.shape[:2]) < 1 / 3, (torch.randn_like(state).requires_grad_(),))


def assert_same(mesh, tensors, tolerance=1e-9, episodes=None):
    expected, found = (evolve(mesh, *tensors, backend=backend, episodes=episodes) for backend in ("reference", "cpu"))
    tensors = tensors if episodes is None else [*tensors, *episodes.reset_state]
    above = [torch.randn_like(each) for each in expected]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    wanted = torch.autograd.grad(expected, tensors, above, materialize_grads=True)
    scale = max(1.0, *(grad.abs().max().item() for grad in wanted if grad.numel()))
    torch.testing.assert_close(
        torch.autograd.grad(found, tensors, above), wanted, rtol=tolerance, atol=scale * tolerance
    )


@settings(max_examples=40, deadline=None)
@given(
    hidden=st.integers(1, 20),
    time=st.integers(1, 6),
    batch=st.integers(1, 20),
    capacity=st.integers(0, 7),
    resets=st.booleans(),
    seed=st.integers(0, 99),
)
def test_random_networks(hidden, time, batch, capacity, resets, seed):
    mesh = tunable_mesh(hidden, capacity) if capacity else butterfly_mesh(hidden)
    tensors = drawn(mesh, time, batch, seed=seed)
    assert_same(mesh, tensors, episodes=drawn_episodes(*tensors[:2]) if resets else None)


@pytest.mark.parametrize(("threads", "batch"), [(1, 1), (1, 70), (2, 70)])
def test_float32_and_threads(threads, batch):
    torch.set_num_threads(threads)
    try:
        mesh = tunable_mesh(33, 33)
        tensors = drawn(mesh, 10, batch, dtype=torch.float32)
        with torch.no_grad():
            tensors[-1].abs_().mul_(0.3)  # near ReLU's bend a rounding turns a unit on or off
        assert_same(mesh, tensors, 2e-4)
    finally:
        torch.set_num_threads(1)


def test_any_strides():
    mesh = butterfly_mesh(7)
    x, state, *rest = drawn(mesh, 5, 6)
    turned = x.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0).requires_grad_()
    repeated = torch.randn(1, 5, 3, dtype=torch.float64).expand(6, 5, 3).requires_grad_()
    for other in (turned, repeated):
        assert_same(mesh, [other, state.detach().T.contiguous().T.requires_grad_(), *rest])


def test_gradients_of_one_result_alone():
    mesh = tunable_mesh(5, 2)
    tensors = drawn(mesh, 4, 3)
    results = [evolve(mesh, *tensors, backend=backend) for backend in ("reference", "cpu")]
    for place in (0, 1):
        wanted, found = (torch.autograd.grad(result[place].sum(), tensors, retain_graph=True) for result in results)
        torch.testing.assert_close(found, wanted)


def test_units_at_zero_and_silent_ones():
    mesh = tunable_mesh(6, 6)
    tensors = drawn(mesh, 5, 3)
    with torch.no_grad():
        for tensor in tensors[:2]:
            tensor.zero_()
        tensors[-1].copy_(torch.tensor([0.0, 1e-6, 1.0, -1e-7, -1.0, 0.0]))
    assert_same(mesh, tensors)
    with torch.no_grad():
        tensors[0].normal_(std=1e-5)  # moduli on both sides of the smallest
    assert_same(mesh, tensors)


def test_what_lies_in_fresh_memory_does_not_matter(monkeypatch):
    def poisoned(*shape, dtype):
        return torch.full(shape, float("nan"), dtype=dtype)

    monkeypatch.setattr(cpu, "allocate", poisoned)
    mesh = tunable_mesh(5, 3)
    for resets in (False, True):
        tensors = drawn(mesh, 4, 9)
        assert_same(mesh, tensors, episodes=drawn_episodes(*tensors[:2]) if resets else None)


@pytest.mark.parametrize("resets", [False, True])
def test_gradgradcheck(resets):
    mesh = tunable_mesh(3, 2)
    tensors = drawn(mesh, 2, 2)
    episodes = drawn_episodes(*tensors[:2]) if resets else None

    def run(*given):
        first = given[len(tensors) :]
        return evolve(mesh, *given[: len(tensors)], episodes=episodes and episodes._replace(reset_state=first))

    given = [*tensors, *(episodes.reset_state if episodes else ())]
    assert torch.autograd.gradcheck(run, given)
    assert torch.autograd.gradgradcheck(run, given)


def kept(layer, x):
    """Numbers that the backward pass keeps, the parameters and their like apart."""
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()), lambda kept: kept):
        layer(x)
    return sum(size for size in sizes if size >= x.shape[0] * x.shape[1])


def test_memory_does_not_grow_with_the_capacity():
    x = torch.randn(50, 40, 1)
    assert kept(nn.EUNN(1, 16, capacity=16), x) == kept(nn.EUNN(1, 16, capacity=2), x)


@pytest.mark.parametrize("options", [{"capacity": 4}, {"style": "fft"}])
def test_the_layer_equals_its_plain_loop(options):
    layer = nn.EUNN(2, 6, **options).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(3, 5, 2, dtype=torch.float64)
    expected, final = super(nn.EUNN, layer)._run(x, layer.initial_state(3))
    torch.testing.assert_close(layer(x), (expected, final))
