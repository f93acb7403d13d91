"""The CPU backend beside the plain loop: values, gradients, layouts of memory, threads."""

import multiprocessing
import threading

import pytest
import torch
from grammar import assert_same, problems
from hypothesis import given, settings

import remanence
from remanence.ops.scan import cpu, scan


def pair(state, inputs, params):
    """Two states, two inputs and three parameters, one of which is not used."""
    (q, r), (x, y), (a, b, _) = state, inputs, params
    s = torch.sigmoid(a * (q - b))
    return (q + x * s) / (1 + s + r * r), torch.tanh(b * r - s * y)


def tensors(batch=3, time=5, channels=17, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    shapes = [(batch, time, channels)] * 2 + [(batch, channels)] * 2 + [(channels,)] * 3
    drawn = [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]
    return drawn[:2], drawn[2:4], drawn[4:]


def both_ways(backend, inputs, state, params, step=pair, outputs=None):
    """States, final state, and gradients of everything that requires one."""
    states, final = scan(step, inputs, state, params, backend=backend)
    results = [*states, *final]
    losses = [((i + 1) * torch.cos(x)).sum() for i, x in enumerate(results) if outputs is None or i in outputs]
    wanted = [x for x in (*inputs, *state, *params) if x.requires_grad]
    grads = torch.autograd.grad(torch.stack(losses).sum(), wanted, allow_unused=True, materialize_grads=True)
    return [x.detach() for x in (*results, *grads)]


def assert_as_reference(inputs, state, params, **options):
    tolerance = 2e-5 if inputs[0].dtype == torch.float32 else 1e-11
    expected = both_ways("reference", inputs, state, params, **options)
    for got, want in zip(both_ways("cpu", inputs, state, params, **options), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch):
    """What a kernel does not write is NaN."""
    allocate = cpu.allocate
    monkeypatch.setattr(cpu, "allocate", lambda *shape, dtype: allocate(*shape, dtype=dtype).fill_(torch.nan))


@pytest.fixture
def threads():
    """Two threads in this test."""
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, 17, 33, 64])
@pytest.mark.parametrize(("batch", "time"), [(1, 1), (3, 5), (2, 31)])
def test_values_and_gradients(dtype, channels, batch, time):
    assert_as_reference(*tensors(batch, time, channels, dtype))


@settings(max_examples=8, deadline=None, database=None)
@given(problems())
def test_random_steps(problem):
    assert_same(problem, "cpu")


def test_gradcheck():
    inputs, state, params = tensors(batch=2, time=3, channels=3)

    def run(*flat):
        states, final = scan(pair, flat[:2], flat[2:4], flat[4:], backend="cpu")
        return (*states, *final)

    assert torch.autograd.gradcheck(run, (*inputs, *state, *params))


@pytest.mark.parametrize("wanted", [[0], [5, 6], [1, 2, 4]])
@pytest.mark.parametrize("outputs", [[0], [3], [1, 2]])
def test_only_some_gradients(wanted, outputs):
    inputs, state, params = tensors()
    for place, tensor in enumerate((*inputs, *state, *params)):
        tensor.requires_grad_(place in wanted)
    assert_as_reference(inputs, state, params, outputs=outputs)


def test_tensors_laid_out_in_any_way():
    inputs, state, params = tensors(batch=4, time=6, channels=20)
    halves = torch.randn(4, 6, 40, dtype=torch.float64, requires_grad=True).chunk(2, -1)
    assert_as_reference(halves, state, params)
    time_first = torch.randn(6, 4, 20, dtype=torch.float64, requires_grad=True).transpose(0, 1)
    channels_first = torch.randn(4, 20, 6, dtype=torch.float64, requires_grad=True).transpose(1, 2)
    wide = torch.randn(4, 40, dtype=torch.float64, requires_grad=True)
    columns = torch.randn(20, 3, dtype=torch.float64, requires_grad=True).unbind(1)
    assert_as_reference((time_first, channels_first), (wide[:, ::2], wide[:, 20:]), columns)
    one = torch.randn(1, 1, 1, dtype=torch.float64, requires_grad=True).expand(4, 6, 20)
    assert_as_reference((one, inputs[0][:, :1].expand(4, 6, 20)), (one[:, 0], state[0][:1].expand(4, 20)), params)


@pytest.mark.parametrize("layout", ["expanded", "transposed", "every second"])
def test_gradients_laid_out_in_any_way(layout):
    inputs, state, params = tensors(batch=4, time=6, channels=20)
    if layout == "expanded":
        grad = torch.randn(1, 1, 1, dtype=torch.float64).expand(4, 6, 20)
    elif layout == "transposed":
        grad = torch.randn(4, 20, 6, dtype=torch.float64).mT
    else:
        grad = torch.randn(4, 6, 40, dtype=torch.float64)[..., ::2]
    results = []
    for backend in ("reference", "cpu"):
        states, _ = scan(pair, inputs, state, params, backend=backend)
        results.append(torch.autograd.grad(states, [*inputs, *state, *params[:2]], [grad, grad]))
    torch.testing.assert_close(*results)


def test_one_tensor_in_several_places():
    inputs, state, params = tensors()
    assert_as_reference([inputs[0]] * 2, [state[0]] * 2, [params[0]] * 3)


def swap(state, inputs, params):
    return state[1], inputs[0], torch.full_like(state[0], 0.5), state[0] * 0.0 + 1.0


def test_states_that_are_other_states_inputs_or_constants():
    inputs, state, _ = tensors()
    assert_as_reference(inputs, [*state, state[0], state[1]], [], step=swap)


def wide(state, inputs, params):
    """More than there are registers for."""
    new = [torch.tanh(h * a + x) for h, a, x in zip(state, params, inputs * 6, strict=True)]
    return (*new[1:], new[0])


def test_many_states_and_parameters():
    generator = torch.Generator().manual_seed(1)
    state = [torch.randn(2, 19, generator=generator).requires_grad_() for _ in range(6)]
    params = [torch.randn(19, generator=generator).requires_grad_() for _ in range(6)]
    assert_as_reference([torch.randn(2, 9, 19, requires_grad=True)], state, params, step=wide)


@pytest.mark.parametrize(("batch", "channels"), [(5, 33), (1, 200), (1, 3)])
def test_two_threads(threads, batch, channels):
    assert_as_reference(*tensors(batch, 7, channels))
    first, second = (both_ways("cpu", *tensors(batch, 7, channels, torch.float32)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_calls_from_many_threads_at_once(threads):
    expected = both_ways("cpu", *tensors(8, 40, 33))
    results: list[list[torch.Tensor]] = [[] for _ in range(8)]

    def call(place):
        results[place] = both_ways("cpu", *tensors(8, 40, 33))

    workers = [threading.Thread(target=call, args=(place,)) for place in range(len(results))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for result in results:
        assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))


def sums_of_states():
    """States and gradients, without any operation for which PyTorch would wake its own threads."""
    inputs, state, params = tensors(8, 40, 33)
    states, _ = scan(pair, inputs, state, params, backend="cpu")
    weights = [torch.ones_like(x) for x in states]
    return [*(x.detach() for x in states), *torch.autograd.grad(states, [*inputs, *params[:2]], weights)]


def in_child(queue):
    torch.set_num_threads(2)
    queue.put([x.numpy() for x in sums_of_states()])


def test_in_a_forked_child(threads):
    expected = sums_of_states()  # the parent's threads are awake now, and lost to the child
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(queue,))
    child.start()
    results = queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0
    for got, want in zip(results, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(got), want)


class Scanned(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        inputs, state, params = tensors(8, 40, 33)
        with torch.no_grad():
            return scan(pair, [x + index for x in inputs], state, params, backend="cpu")[0][0]


def test_in_workers_of_a_data_loader(threads):
    expected = [Scanned()[index] for index in range(4)]
    loader = torch.utils.data.DataLoader(Scanned(), batch_size=None, num_workers=2, multiprocessing_context="fork")
    for got, want in zip(loader, expected, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("checkpoint_every", [1, 4, 9])
def test_checkpoints(checkpoint_every):
    inputs, state, params = tensors(time=9)
    expected = both_ways("cpu", inputs, state, params)
    states, final = scan(pair, inputs, state, params, backend="cpu", checkpoint_every=checkpoint_every)
    loss = torch.stack([((i + 1) * torch.cos(x)).sum() for i, x in enumerate((*states, *final))]).sum()
    grads = torch.autograd.grad(loss, [*inputs, *state, *params], allow_unused=True, materialize_grads=True)
    torch.testing.assert_close([*states, *final, *grads], expected)


@pytest.mark.unchecked
def test_refuses_what_it_cannot_compute():
    inputs, state, params = (tuple(x.detach().bfloat16() for x in group) for group in tensors())
    with pytest.raises(ValueError, match=r"float32 and float64, and the tensors are torch.bfloat16"):
        scan(pair, inputs, state, params, backend="cpu")
    why = cpu.refuses(None, torch.empty(1, 1, 1, device="meta"))  # pyright: ignore[reportArgumentType]
    assert why == "it runs on the CPU, and the tensors are on meta"


def test_source_is_readable():
    text = remanence.scan_source(pair, *tensors())
    compile(text, "<source>", "exec")
    for part in (
        "def forward(",
        "def backward(",
        "sigmoid(",
        "tanh(",
        "for t in range(time):",
        "h0 = new0",
        "store(dx0",
    ):
        assert part in text
    assert text == remanence.scan_source(pair, *tensors())
