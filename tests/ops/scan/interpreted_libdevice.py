"""What Triton's interpreter lacks: the functions of libdevice, and rounding to bfloat16, which it truncates to."""

import numpy as np
import torch

FUNCTIONS = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "atan": np.arctan,
    "trunc": np.trunc,
    "nearbyint": np.rint,
    "pow": np.power,
}


def _elementwise(function):
    from triton.language.core import block_type, tensor
    from triton.runtime.interpreter import TensorHandle

    def interpreted(*operands):
        dtype, result = operands[0].dtype, function(*(x.handle.data for x in operands))  # of the broadcast shape
        return tensor(TensorHandle(result, dtype), block_type(dtype, list(result.shape)) if result.ndim else dtype)

    return interpreted


def _rounding(builder, source, target):
    from triton.language import bfloat16
    from triton.runtime.interpreter import TensorHandle

    if target.scalar != bfloat16:
        return builder.cast_impl(source, target)
    bits = torch.from_numpy(np.ascontiguousarray(source.data)).bfloat16().view(torch.uint16)
    return TensorHandle(bits.numpy(), bfloat16)


def use(monkeypatch):
    """Have Triton interpret kernels from now on, on tensors on the CPU."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from triton.language.extra import libdevice
    from triton.runtime.interpreter import InterpreterBuilder

    monkeypatch.setattr(InterpreterBuilder, "create_fp_trunc", _rounding)
    for name, function in FUNCTIONS.items():
        monkeypatch.setattr(libdevice, name, _elementwise(function))
