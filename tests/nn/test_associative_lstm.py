"""The associative LSTM against a transcription of the paper with NumPy's own complex numbers."""

import numpy as np
import pytest
import torch

from remanence.nn import AssociativeLSTM
from remanence.nn.associative_lstm import bound, complex_multiply


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def numpy_bound(z):
    return z / np.maximum(1, np.abs(z))


def transcription(layer, x):
    """Danihelka et al. 2016, section 5, one sample, complex arithmetic."""
    n, half = layer.hidden_size, layer.hidden_size // 2
    W, U, b = (p.detach().numpy() for p in (layer.weight_ih, layer.weight_hh, layer.bias))
    orders = layer.permutations[:, :half].numpy()
    h, c, outputs = np.zeros(n), np.zeros((layer.copies, half), complex), []
    for x_t in x.numpy():
        z = W @ x_t + U @ h + b
        g_f, g_i, g_o = (sigmoid(z[k * half : (k + 1) * half]) for k in range(3))
        key_in, key_out, content = (numpy_bound(part[:half] + 1j * part[half:]) for part in np.split(z[3 * half :], 3))
        read = np.zeros(half, complex)
        for s, order in enumerate(orders):
            c[s] = g_f * c[s] + key_in[order] * (g_i * content)
            read += key_out[order] * c[s]
        value = g_o * numpy_bound(read / layer.copies)
        h = np.concatenate([value.real, value.imag])
        outputs.append(h)
    return np.array(outputs)


@pytest.mark.parametrize("copies", [1, 3])
def test_equals_the_transcription(copies):
    layer = AssociativeLSTM(3, 6, copies=copies).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(3)  # so that the bound is met
    x = 2 * torch.randn(2, 9, 3, dtype=torch.float64)
    y, _ = layer(x)
    for sample, output in zip(x, y.detach().numpy(), strict=True):
        np.testing.assert_allclose(output, transcription(layer, sample), rtol=1e-10, atol=1e-12)


def test_complex_arithmetic_equals_torch():
    a, b = 2 * torch.randn(5, 8), torch.randn(5, 8)

    def as_complex(z):
        return torch.complex(*z.chunk(2, -1))

    torch.testing.assert_close(as_complex(complex_multiply(a, b)), as_complex(a) * as_complex(b))
    torch.testing.assert_close(as_complex(bound(a)), as_complex(a) / as_complex(a).abs().clamp(min=1))


def test_bound_has_a_gradient_at_zero():
    z = torch.zeros(1, 4, requires_grad=True)
    bound(z).sum().backward()
    torch.testing.assert_close(z.grad, torch.ones(1, 4))


def test_copies_share_parameters_and_survive_saving():
    one, many = AssociativeLSTM(3, 6, copies=1), AssociativeLSTM(3, 6, copies=8)
    assert sum(p.numel() for p in one.parameters()) == sum(p.numel() for p in many.parameters())
    twin = AssociativeLSTM(3, 6, copies=8)
    twin.load_state_dict(many.state_dict())
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(twin(x)[0], many(x)[0])


def test_odd_sizes_are_refused():
    with pytest.raises(ValueError, match="must be even"):
        AssociativeLSTM(3, 5)
