"""The memories: recurrent layers that share one contract (:class:`Memory`), and :mod:`attention`."""

import importlib
from typing import TYPE_CHECKING, Any

from torch.nn import Module

from remanence.errors import UserError
from remanence.nn import attention
from remanence.nn.memory import Memory, State
from remanence.registry import Registry

if TYPE_CHECKING:  # for type checkers; at run time __getattr__ loads what is used
    from remanence.nn.associative_lstm import AssociativeLSTM
    from remanence.nn.bistable import BRC
    from remanence.nn.cfc import CfC
    from remanence.nn.elman import Elman
    from remanence.nn.fast_weights import FastWeights, FastWeightsGrowthWarning
    from remanence.nn.fastlane import Fastlane, FastlaneOverflowWarning
    from remanence.nn.flip_flop import CFF
    from remanence.nn.gated import GRU, LSTM
    from remanence.nn.hopfield import Hopfield
    from remanence.nn.linear_associator import LinearAssociator
    from remanence.nn.linoss import LinOSS
    from remanence.nn.lrc import LRC
    from remanence.nn.lru import LRU
    from remanence.nn.ltc import LTC
    from remanence.nn.minimal_gated import MGU
    from remanence.nn.minimal_linear import MinGRU, MinLSTM
    from remanence.nn.modern_hopfield import ModernHopfield
    from remanence.nn.online import Online
    from remanence.nn.persistent import PersistentLinear
    from remanence.nn.reciprocal import ReciprocalGated
    from remanence.nn.s5 import S5
    from remanence.nn.slstm import SLSTM
    from remanence.nn.streaming import Streaming
    from remanence.nn.unitary import EUNN, OrthogonalRNN, UnitaryRNN

__all__ = [
    "BRC",
    "CFF",
    "EUNN",
    "GRU",
    "LRC",
    "LRU",
    "LSTM",
    "LTC",
    "MGU",
    "S5",
    "SLSTM",
    "AssociativeLSTM",
    "CfC",
    "Elman",
    "FastWeights",
    "FastWeightsGrowthWarning",
    "Fastlane",
    "FastlaneOverflowWarning",
    "Hopfield",
    "LinOSS",
    "LinearAssociator",
    "Memory",
    "MinGRU",
    "MinLSTM",
    "ModernHopfield",
    "Online",
    "OrthogonalRNN",
    "PersistentLinear",
    "ReciprocalGated",
    "State",
    "Streaming",
    "UnitaryRNN",
    "attention",
    "create",
    "layers",
]

_MODULES = {
    "BRC": "bistable",
    "CFF": "flip_flop",
    "EUNN": "unitary",
    "GRU": "gated",
    "LRC": "lrc",
    "LRU": "lru",
    "LSTM": "gated",
    "LTC": "ltc",
    "MGU": "minimal_gated",
    "S5": "s5",
    "SLSTM": "slstm",
    "AssociativeLSTM": "associative_lstm",
    "CfC": "cfc",
    "Elman": "elman",
    "FastWeights": "fast_weights",
    "FastWeightsGrowthWarning": "fast_weights",
    "Fastlane": "fastlane",
    "FastlaneOverflowWarning": "fastlane",
    "Hopfield": "hopfield",
    "LinOSS": "linoss",
    "LinearAssociator": "linear_associator",
    "MinGRU": "minimal_linear",
    "MinLSTM": "minimal_linear",
    "ModernHopfield": "modern_hopfield",
    "Online": "online",
    "OrthogonalRNN": "unitary",
    "PersistentLinear": "persistent",
    "ReciprocalGated": "reciprocal",
    "Streaming": "streaming",
    "UnitaryRNN": "unitary",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


layers: Registry[Memory] = Registry("layer", "remanence.layers", Module)
layers.add("elman", "remanence.nn.elman:Elman")
layers.add("irnn", "remanence.nn.elman:Elman", nonlinearity="relu", identity_init=True)
layers.add("lstm", "remanence.nn.gated:LSTM")
layers.add("gru", "remanence.nn.gated:GRU")
layers.add("alstm", "remanence.nn.associative_lstm:AssociativeLSTM")
layers.add("urnn", "remanence.nn.unitary:UnitaryRNN")
layers.add("eunn", "remanence.nn.unitary:EUNN")
layers.add("orthogonal", "remanence.nn.unitary:OrthogonalRNN")
layers.add("fast_weights", "remanence.nn.fast_weights:FastWeights")
layers.add("cff", "remanence.nn.flip_flop:CFF")
layers.add("reciprocal_gated", "remanence.nn.reciprocal:ReciprocalGated")
layers.add("cfc", "remanence.nn.cfc:CfC")
layers.add("ltc", "remanence.nn.ltc:LTC")
layers.add("persistent", "remanence.nn.persistent:PersistentLinear")
layers.add("fastlane", "remanence.nn.fastlane:Fastlane")
layers.add("slstm", "remanence.nn.slstm:SLSTM")
layers.add("brc", "remanence.nn.bistable:BRC")
layers.add("nbrc", "remanence.nn.bistable:BRC", neuromodulated=True)
layers.add("mgu", "remanence.nn.minimal_gated:MGU")
layers.add("mingru", "remanence.nn.minimal_linear:MinGRU")
layers.add("minlstm", "remanence.nn.minimal_linear:MinLSTM")
layers.add("lru", "remanence.nn.lru:LRU")
layers.add("s5", "remanence.nn.s5:S5")
layers.add("linoss", "remanence.nn.linoss:LinOSS")
layers.add("lrc", "remanence.nn.lrc:LRC")


def create(name: str, *, input_size: int, hidden_size: int, **options: object) -> Memory:
    """Build a layer by name.

    Args:
        name: a name that ``remanence list`` shows, or ``package.module:Class``.
        input_size: number of input channels.
        hidden_size: number of units.
        options: further keyword arguments of the layer.

    Returns:
        The layer.

    Raises:
        ValueError: the name is unknown (the message suggests a similar one), or the layer rejects an argument.

    Example:
        >>> create("fast_weights", input_size=3, hidden_size=8, decay=0.9).hidden_size
        8
    """
    layer = layers.create(name, input_size=input_size, hidden_size=hidden_size, **options)
    if not isinstance(layer, Memory):
        raise UserError(f"layer {name!r} is not a remanence.nn.Memory: make it a subclass")
    return layer
