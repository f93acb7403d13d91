"""Conversion between the LTC of the ncps package and ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from remanence.errors import UserError
from remanence.nn.synapses import Synapses
from remanence.wiring import Wiring

if TYPE_CHECKING:
    from remanence.nn.ltc import LTC


def convert_from_ncps(module: Any, layer_class: type[LTC]) -> LTC:
    """Build a layer with the wiring and weights of an ``ncps.torch.LTC``; see :meth:`LTC.from_ncps`."""
    if module.use_mixed:
        raise UserError("LTC has no mixed memory: convert an LTC of ncps with mixed_memory=False")
    cell = module.rnn_cell
    wiring, adjacency, sensory = (
        cell._wiring,
        _get_signs(cell, "erev", "sparsity_mask"),
        _get_signs(cell, "sensory_erev", "sensory_sparsity_mask"),
    )
    motor = wiring.output_dim
    layer = (np.arange(wiring.units) < motor).astype(np.int8) if motor < wiring.units else None
    mappings = {name: getattr(cell, f"_{name}_mapping") is not None for name in ("input", "output")}
    ours = layer_class(
        wiring.input_dim,
        wiring.units,
        wiring=Wiring(adjacency, sensory, layer),
        sub_steps=cell._ode_unfolds,
        input_mapping=mappings["input"],
        output_mapping=mappings["output"],
    ).to(cell.gleak.dtype)
    with torch.no_grad():
        ours.log_capacitance.copy_(_get_positive(cell, "cm").log())
        ours.log_leak.copy_(_get_positive(cell, "gleak").log())
        ours.leak_potential.copy_(cell.vleak)
        _copy_from_cell(ours.synapses, cell, "")
        _copy_from_cell(ours.sensory, cell, "sensory_")
        for name, used in mappings.items():
            if used:
                getattr(ours, f"{name}_weight").copy_(getattr(cell, f"{name}_w"))
                bias = getattr(cell, f"{name}_b", None)
                getattr(ours, f"{name}_bias").copy_(torch.zeros(()) if bias is None else bias)
    return ours


def convert_to_ncps(layer: LTC) -> nn.Module:
    """Build an ``ncps.torch.LTC`` with the wiring and weights of a layer; see :meth:`LTC.to_ncps`."""
    try:
        import ncps.torch
        import ncps.wirings
    except ImportError as error:
        raise ImportError("LTC.to_ncps needs the ncps package: pip install ncps") from error
    graph = layer.wiring
    motor = layer.output_size
    if layer.solver != "semi_implicit":
        raise UserError(f"ncps supports only the semi-implicit solver, this layer has {layer.solver}")
    if graph.outputs.tolist() != list(range(motor)):
        raise UserError(
            f"the outputs of an LTC of ncps are its first {motor} neurons, those of this layer are the neurons "
            f"{graph.outputs.tolist()}: renumber the neurons of its wiring"
        )
    assert graph.sensory is not None
    wiring = ncps.wirings.Wiring(layer.hidden_size)
    wiring.set_output_dim(motor)
    wiring.build(layer.input_size)
    wiring.adjacency_matrix = graph.adjacency.T.astype(np.int32)
    wiring.sensory_adjacency_matrix = graph.sensory.T.astype(np.int32)
    mapped: dict[str, Any] = {
        f"{name}_mapping": None if getattr(layer, f"{name}_weight") is None else "affine"
        for name in ("input", "output")
    }
    theirs = ncps.torch.LTC(
        layer.input_size, wiring, ode_unfolds=layer.sub_steps, implicit_param_constraints=False, **mapped
    ).to(layer.log_leak.dtype)
    cell: Any = theirs.rnn_cell
    with torch.no_grad():
        cell.cm.copy_(layer.log_capacitance.exp())
        cell.gleak.copy_(layer.log_leak.exp())
        cell.vleak.copy_(layer.leak_potential)
        _copy_to_cell(layer.synapses, cell, "")
        _copy_to_cell(layer.sensory, cell, "sensory_")
        for name in ("input", "output"):
            if getattr(layer, f"{name}_weight") is not None:
                getattr(cell, f"{name}_w").copy_(getattr(layer, f"{name}_weight"))
                getattr(cell, f"{name}_b").copy_(getattr(layer, f"{name}_bias"))
    return theirs


def _get_positive(cell: Any, name: str) -> Tensor:
    """Return a parameter with the value that the cell uses, clamped above 0, since ours is its logarithm."""
    value = cell.make_positive_fn(getattr(cell, name))
    return value.clamp_min(torch.finfo(value.dtype).tiny)


def _get_signs(cell: Any, potential: str, mask: str) -> np.ndarray:
    """Convert their [sender, receiver] to our [receiver, sender], with the current signs of the potentials."""
    signs = torch.where(getattr(cell, potential) < 0, -1, 1) * getattr(cell, mask)
    return signs.T.cpu().numpy().astype(np.int8)


def _copy_from_cell(synapses: Synapses, cell: Any, prefix: str) -> None:
    at = synapses.sender, synapses.receiver
    potential = getattr(cell, f"{prefix}erev")[at].abs()
    synapses.log_weight.copy_(_get_positive(cell, f"{prefix}w")[at].log())
    synapses.slope.copy_(getattr(cell, f"{prefix}sigma")[at])
    synapses.threshold.copy_(getattr(cell, f"{prefix}mu")[at])
    synapses.log_potential.copy_(potential.clamp_min(torch.finfo(potential.dtype).tiny).log())


def _copy_to_cell(synapses: Synapses, cell: Any, prefix: str) -> None:
    at = synapses.sender, synapses.receiver
    getattr(cell, f"{prefix}w")[at] = synapses.log_weight.exp()
    getattr(cell, f"{prefix}sigma")[at] = synapses.slope
    getattr(cell, f"{prefix}mu")[at] = synapses.threshold
    getattr(cell, f"{prefix}erev")[at] = synapses.synapse_parameters.potential
