"""Whether Triton can run on a tensor."""

import importlib.util
import os
from collections.abc import Collection

import torch
from torch import Tensor


def is_interpreted() -> bool:
    """Return whether Triton's interpreter runs kernels instead of a GPU (``TRITON_INTERPRET=1``)."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def refuses(like: Tensor, dtypes: Collection[torch.dtype]) -> str | None:
    """Return why Triton cannot run a kernel for these dtypes on tensors like this one, or None if it can."""
    if importlib.util.find_spec("triton") is None:
        return "it needs triton, which comes with the CUDA builds of PyTorch (https://pytorch.org/get-started)"
    if like.dtype not in dtypes:
        return f"its tensors are {like.dtype}, and it computes with {', '.join(map(str, dtypes))}"
    if like.device.type != "cuda" and not (like.device.type == "cpu" and is_interpreted()):
        return f"its tensors are on {like.device}, and it runs on CUDA GPUs"
    return None
