import numpy as np
import pytest
import torch

from remanence.tasks import Samples, Sequences, Windows

VALUES = np.arange(1, 11, dtype=np.uint8)
STARTS = np.array([0, 3, 3, 4, 10])


def test_sequences_are_padded_to_the_longest_of_the_batch():
    samples = Sequences(VALUES, STARTS, np.arange(4, dtype=np.uint8))
    assert (len(samples), samples.longest) == (4, 6)
    batch = samples.batch([2, 0])
    assert batch.inputs.tolist() == [[4, 0, 0], [1, 2, 3]]
    assert batch.mask is not None
    assert batch.mask.tolist() == [[True, False, False], [True, True, True]]
    assert batch.targets.tolist() == [2, 0]
    assert batch.inputs.dtype == batch.targets.dtype == torch.long
    assert samples[3][0].tolist() == [5, 6, 7, 8, 9, 10]


def test_shift_and_limit():
    batch = Sequences(VALUES, STARTS, np.zeros(4, int), shift=1, limit=2).batch([0, 2, 3])
    assert batch.inputs.tolist() == [[2, 3], [5, 0], [6, 7]]
    assert batch.mask is not None
    assert batch.mask.sum(1).tolist() == [2, 1, 2]
    with_zeros = Sequences(np.full(300, 255, np.uint8), np.array([0, 300]), np.zeros(1, int), shift=1)
    assert (with_zeros.batch([0]).inputs == 256).all()


def test_pairs():
    samples = Sequences(VALUES, STARTS, np.array([1, 0]), pairs=True)
    batch = samples.batch([1])
    assert batch.inputs.tolist() == [[[4, 0, 0, 0, 0, 0], [5, 6, 7, 8, 9, 10]]]
    assert batch.mask is not None
    assert batch.mask.sum(-1).tolist() == [[1, 6]]
    assert batch.targets.tolist() == [0]
    with pytest.raises(ValueError, match="3 targets do not fit 4 sequences in pairs"):
        Sequences(VALUES, STARTS, np.zeros(3), pairs=True)


def test_signals_with_timespans():
    signal = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)
    batch = Sequences(signal, STARTS, np.zeros(4, int), timespans=signal[:, 0]).batch([0, 2])
    np.testing.assert_array_equal(batch.inputs[0], signal[:3])
    assert batch.timespans is not None
    np.testing.assert_array_equal(batch.timespans[0], signal[:3, 0])
    assert not batch.inputs[1, 1:].any()
    assert (batch.timespans[1, 1:] == 1).all()


def test_windows_ask_for_the_next_token():
    windows = Windows(np.arange(10, dtype=np.uint16), 4)
    assert len(windows) == 2
    batch = windows.batch([1, 0])
    assert batch.inputs.tolist() == [[4, 5, 6, 7], [0, 1, 2, 3]]
    assert batch.targets.tolist() == [[5, 6, 7, 8], [1, 2, 3, 4]]
    assert windows[1][1].tolist() == [5, 6, 7, 8]
    assert len(Windows(np.arange(4), 4)) == 0
    assert len(Windows(np.arange(5), 4)) == 1


def test_samples_become_signals_by_their_scale():
    inputs = torch.tensor([[[0], [255]]], dtype=torch.uint8)
    samples = Samples(inputs, torch.zeros(1, dtype=torch.uint8), scale=1 / 255)
    assert samples.batch([0]).inputs.tolist() == [[[0.0], [1.0]]]
    assert samples[0][0].tolist() == [[0.0], [1.0]]
    assert Samples(inputs, inputs).batch([0]).inputs.dtype == torch.long
