"""Layers of PyTorch that are recognised in a checkpoint by the names of their weights."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from remanence.errors import UserError
from remanence.inspection.subject import Subject
from remanence.inspection.weights import read_weights

KINDS: dict[int, Any] = {1: nn.RNN, 3: nn.GRU, 4: nn.LSTM}
FIRST = "weight_ih_l0"


def subjects_of_checkpoint(path: Path) -> list[Subject]:
    """Find every ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN`` in a checkpoint; each is driven by white noise.

    Args:
        path: a safetensors file or a file of ``torch.save``.

    Returns:
        One subject for each layer.

    Raises:
        ValueError: no such file, or no such layer in it.
    """
    weights = read_weights(path)
    prefixes = [key.removesuffix(FIRST) for key in weights if key.endswith(FIRST)]
    if not prefixes:
        raise UserError(
            f"{path} holds no nn.LSTM, nn.GRU or nn.RNN (no {FIRST} among {len(weights)} names): "
            "give its class with --module package:Class"
        )
    return [_build_subject(path, prefix, weights) for prefix in prefixes]


def _build_subject(path: Path, prefix: str, weights: dict[str, Tensor]) -> Subject:
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    where = prefix.rstrip(".")
    try:
        layer, about = rebuild_layer(own)
    except (RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"{path}: the weights under {prefix!r} do not fit together: {error}") from error
    about = f"{about} found in {path}" + f" under {where}" * bool(where)
    return Subject.from_noise(f"{path.name} {where}".strip(), about, layer)


def rebuild_layer(weights: dict[str, Tensor]) -> tuple[nn.RNNBase, str]:
    """Rebuild the layer with these weights, and describe it; for a bidirectional one, its first forward layer.

    Raises:
        ValueError: no known number of gates, or weights that are no matrices.
        RuntimeError: shapes that do not fit together.
    """
    for name in (FIRST, "weight_hh_l0", "weight_hr_l0"):
        if name in weights and (weights[name].ndim != 2 or 0 in weights[name].shape):
            raise UserError(f"{name} should be a matrix, got the shape {list(weights[name].shape)}")
    rows, input_size = weights[FIRST].shape
    both_ways = f"{FIRST}_reverse" in weights
    projected = weights.get("weight_hr_l0")
    hidden_size = weights["weight_hh_l0"].shape[1] if projected is None else projected.shape[1]
    gates, rest = divmod(rows, hidden_size)
    if rest or gates not in KINDS:
        raise UserError(f"{FIRST} has {rows} rows for {hidden_size} units: neither nn.LSTM, nn.GRU nor nn.RNN")
    layers = 1 if both_ways else sum(key.startswith("weight_ih_l") for key in weights)
    options: dict[str, Any] = {"num_layers": layers, "bias": "bias_ih_l0" in weights, "batch_first": True}
    if projected is not None:
        options["proj_size"] = projected.shape[0]
    # Nothing is allocated for the layer: it takes these weights if they are all there and fit.
    layer = KINDS[gates](input_size, hidden_size, **options, device="meta")
    layer.load_state_dict({name: weights[name] for name in layer.state_dict()}, assign=True)
    about = f"{type(layer).__name__} of {hidden_size} units" + f" in {layers} layers" * (layers > 1)
    if both_ways:
        about += " (first layer, forwards: it reads both ways)"
    if gates == 1:
        about += " (taken to be of tanh, which its weights do not tell)"
    return layer, about
