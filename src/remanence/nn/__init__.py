"""The memories: recurrent layers that share one contract (:class:`Memory`), and :mod:`attention`."""

from functools import partial

from torch.nn import Module

from remanence.errors import UserError
from remanence.nn import attention
from remanence.nn.associative_lstm import AssociativeLSTM
from remanence.nn.cfc import CfC
from remanence.nn.elman import Elman
from remanence.nn.fast_weights import FastWeights, FastWeightsGrowthWarning
from remanence.nn.fastlane import Fastlane, FastlaneOverflowWarning
from remanence.nn.flip_flop import CFF
from remanence.nn.gated import GRU, LSTM
from remanence.nn.hopfield import Hopfield
from remanence.nn.linear_associator import LinearAssociator
from remanence.nn.ltc import LTC
from remanence.nn.memory import Memory, State
from remanence.nn.modern_hopfield import ModernHopfield
from remanence.nn.persistent import PersistentLinear
from remanence.nn.reciprocal import ReciprocalGated
from remanence.nn.streaming import Streaming
from remanence.nn.unitary import EUNN, OrthogonalRNN, UnitaryRNN
from remanence.registry import Registry

__all__ = [
    "CFF",
    "EUNN",
    "GRU",
    "LSTM",
    "LTC",
    "AssociativeLSTM",
    "CfC",
    "Elman",
    "FastWeights",
    "FastWeightsGrowthWarning",
    "Fastlane",
    "FastlaneOverflowWarning",
    "Hopfield",
    "LinearAssociator",
    "Memory",
    "ModernHopfield",
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

layers: Registry[Memory] = Registry("layer", "remanence.layers", Module)
layers.add("elman", Elman)
layers.add("irnn", partial(Elman, nonlinearity="relu", identity_init=True))
layers.add("lstm", LSTM)
layers.add("gru", GRU)
layers.add("alstm", AssociativeLSTM)
layers.add("urnn", UnitaryRNN)
layers.add("eunn", EUNN)
layers.add("orthogonal", OrthogonalRNN)
layers.add("fast_weights", FastWeights)
layers.add("cff", CFF)
layers.add("reciprocal_gated", ReciprocalGated)
layers.add("cfc", CfC)
layers.add("ltc", LTC)
layers.add("persistent", PersistentLinear)
layers.add("fastlane", Fastlane)


def create(name: str, *, input_size: int, hidden_size: int, **options: object) -> Memory:
    """Build a layer by name.

    Args:
        name: one of ``remanence list``, or ``package.module:Class``.
        input_size: channels of the input.
        hidden_size: units.
        options: what else the layer takes.

    Returns:
        The layer.

    Raises:
        ValueError: no such layer (the message names the nearest), or an argument it refuses.

    Example:
        >>> create("fast_weights", input_size=3, hidden_size=8, decay=0.9).hidden_size
        8
    """
    layer = layers.create(name, input_size=input_size, hidden_size=hidden_size, **options)
    if not isinstance(layer, Memory):
        raise UserError(f"layer {name!r} is not a remanence.nn.Memory: make it a subclass")
    return layer
