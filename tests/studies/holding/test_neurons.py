import numpy as np
import torch

from remanence import tasks
from remanence.models import SequenceModel
from remanence.nn import Fastlane, PersistentLinear
from studies.holding.neurons import measure_neurons
from studies.holding.phases import find_phases


def batch_of(task, count=64):
    return task, task.dataset("train").batch(range(count))


def test_a_neuron_wired_to_hold_is_found_and_measured():
    # Neuron 0 adds the channel of symbol 0 and nothing else; neuron 1 gets a bias in every step; neuron 2 is silent.
    task, batch = batch_of(tasks.create("recall", delay=20, shown=4, symbols=2, noise=0.0, train=64))
    layer = PersistentLinear(2, 3)
    layer.load_state_dict(
        {"weight_ih": torch.tensor([[0.5, 0.0], [0.0, 0.0], [0.0, 0.0]]), "bias": torch.tensor([0.0, 0.25, -1.0])}
    )
    found = measure_neurons(SequenceModel(layer, 2, input_size=2, embedding=(), readout=()), task, batch, step=7)
    assert found.step == 7
    assert found.holds.tolist() == [True, False, False]
    assert found.explained[0] > 0.999
    assert found.net_hold[0] == 0
    assert found.kept[0] == 0
    shown = batch.targets == 0
    values = 2.0 * shown[find_phases(task, batch).hold.nonzero()[:, 0]]  # 4 steps of 0.5, if symbol 0 was shown
    arrived = 0.5 * shown.float().mean().sqrt()  # root mean square of 0.5 for some and 0 for others
    torch.testing.assert_close(float(found.net_write[0]), float(arrived / values.std()))
    assert found.net_hold[1] > 0
    assert np.isnan(found.net_hold[2])  # at 0 all the time
    assert found.net_write[2] > 0
    assert found.bias.tolist() == [0, 0.25, -1]


def test_net_input_counts_other_neurons():
    # Neuron 1 copies what neuron 0 gains: its net input is the weight times the new value of neuron 0.
    task, batch = batch_of(tasks.create("flipflop", bits=1, length=30, train=64))
    layer = Fastlane(1, 2)
    with torch.no_grad():
        layer.weight_ih.copy_(torch.tensor([[1.0], [0.0]]))
        layer.weight_hh.copy_(torch.tensor([[0.0, 0.0], [0.5, 0.0]]))
        layer.bias.zero_()
    found = measure_neurons(
        SequenceModel(layer, 1, input_size=1, embedding=(), readout=(), pooling="none"), task, batch, 0
    )
    assert found.net_hold[0] == 0
    assert found.kept[0] == 0
    y = layer(batch.inputs)[0].detach()
    hold = find_phases(task, batch).hold & (y[..., 1] > 0)
    arrived = (0.5 * y[..., 0][hold]).square().mean().sqrt()
    spread = y[..., 1][find_phases(task, batch).hold].std()
    torch.testing.assert_close(
        float(found.net_hold[1]), float(arrived.square().mean().sqrt() / spread), rtol=1e-5, atol=0
    )
