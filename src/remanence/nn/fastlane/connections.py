"""Connections of neurons with each other, with the inputs and with the outputs, from the arguments of the layer."""

import numpy as np

from remanence.errors import UserError
from remanence.wiring import Adjacency, Wiring, dense, random
from remanence.wiring.order import Neurons


def resolve_wiring(wiring: Wiring | Adjacency | None, density: float, neurons: int, seed: int) -> Wiring:
    """Return the given wiring, or draw a random one of the given density."""
    if wiring is None:
        return dense(neurons) if density == 1 else random(neurons, density, seed)
    graph = wiring if isinstance(wiring, Wiring) else Wiring.of(wiring)
    if graph.neurons != neurons:
        raise UserError(f"hidden_size is {neurons}, but the wiring has {graph.neurons} neurons")
    if own := np.flatnonzero(np.diag(graph.adjacency)).tolist():
        raise UserError(
            f"neurons must not be connected to themselves, got a wiring that connects the neurons {own} to themselves: "
            "set the diagonal of its adjacency to 0"
        )
    return graph


def resolve_sensory(graph: Wiring, inputs: Neurons | None, input_size: int) -> np.ndarray:
    """Return which neurons receive which inputs, [neurons, inputs]."""
    receives = np.ones((graph.neurons, input_size), dtype=bool)
    if inputs is not None and graph.sensory is not None:
        raise UserError("the wiring already defines which neurons receive the inputs: omit inputs")
    if inputs is not None:
        receives[np.setdiff1d(np.arange(graph.neurons), resolve_neurons("inputs", inputs, graph.neurons))] = False
    elif graph.sensory is not None:
        if graph.sensory.shape[1] != input_size:
            raise UserError(f"input_size is {input_size}, but the wiring has {graph.sensory.shape[1]} inputs")
        receives = graph.sensory != 0
    return receives


def resolve_neurons(name: str, chosen: Neurons, neurons: int) -> np.ndarray:
    """Return the neurons that an argument lists, as an array."""
    array = np.asarray(chosen)
    if array.ndim != 1 or not len(array) or not np.isin(array, np.arange(neurons)).all():
        raise UserError(f"{name} must list neurons from 0 to {neurons - 1}, got {chosen!r}")
    return array.astype(np.int64)
