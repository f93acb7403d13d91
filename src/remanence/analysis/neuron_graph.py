"""Graphs of neurons that hold values: their connections, weights, and how long each one holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from remanence.analysis.canvas import BLUE, GREY, ORANGE
from remanence.extras import require_extra

with require_extra("analysis", "a graph of neurons"):
    import networkx

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D

    from remanence.analysis.holding_neurons import Holding

HEARD = 2  # number of edges into each neuron that are drawn, the strongest ones
DARK = 0.6  # a neuron that holds for more than this fraction of the time is too dark for a black number
NARROW = 6  # width in inches below which the entries of the legend are in one column
CENTRE = "centre"  # a node that is not drawn
KINDS = {  # (receives an input, is an output): marker and name
    (True, True): ("D", "receives inputs, is an output"),
    (True, False): (">", "receives inputs"),
    (False, True): ("s", "is an output"),
    (False, False): ("o", "neither receives inputs nor is an output"),
}


def build_graph(found: Holding) -> networkx.DiGraph:
    """Build the graph that :meth:`Holding.to_networkx` returns."""
    graph = networkx.DiGraph()
    place = found.order.argsort().tolist()
    sensory, outputs = found.input_weights.ne(0).any(1).tolist(), set(found.outputs.tolist())
    share, holders = found.share.tolist(), set(found.holders.tolist())
    for neuron in range(len(place)):
        graph.add_node(
            neuron,
            place=place[neuron],
            sensory=sensory[neuron],
            output=neuron in outputs,
            share=share[neuron],
            holds=neuron in holders,
        )
    for name, weights in (("", found.weights), ("x", found.input_weights)):
        for receiver, sender in weights.nonzero().tolist():
            graph.add_edge(f"x{sender}" if name else sender, receiver, weight=float(weights[receiver, sender]))
    return graph


def draw_graph(found: Holding, axes: Axes) -> Axes:
    """Draw the graph of neurons, with the width of an edge proportional to its weight.

    If there are many edges, only the two strongest edges into each neuron are drawn. Blue edges are excitatory, orange
    ones inhibitory. The fill of a neuron is the fraction of time in which it holds, a thick outline marks holders, and
    the shape tells whether it receives inputs and whether it is an output. The label is the index of the neuron and, if
    neurons do not fire in the order of their indices, a colon and its position in the order of firing (from 0). Small
    boxes are inputs.
    """
    whole = build_graph(found)
    graph = _keep_strongest(whole)
    places = _compute_layout(graph)
    narrow = axes.figure.bbox.width < NARROW * axes.figure.dpi
    size = min(420.0, 14_000 / len(graph)) * (0.4 if narrow else 1.0)
    _draw_edges(graph, places, axes, size)
    marks = _draw_neurons(graph, places, axes, size)
    inputs = [node for node, facts in graph.nodes(data=True) if "place" not in facts]
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": GREY, "linewidth": 0.6}
    names = {node: node for node in inputs}
    networkx.draw_networkx_labels(graph, places, names, font_size=7, font_color="black", bbox=box, ax=axes)
    drawn, there = graph.number_of_edges(), whole.number_of_edges()
    edges = f"{there} edges" if drawn == there else f"{drawn} of {there} edges"
    axes.set(title=f"{len(found.order)} neurons, {edges}")
    axes.axis("off")
    axes.margins(0.1)
    columns, side = (1, "bottom") if narrow else (3, "right")
    axes.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=columns, frameon=False)
    axes.figure.colorbar(_make_shades(), ax=axes, label="share of time that it holds", shrink=0.6, location=side)
    return axes


def _keep_strongest(graph: networkx.DiGraph) -> networkx.DiGraph:
    """Keep all neurons and the strongest edges into each; drop inputs without edges."""
    kept = networkx.DiGraph()
    kept.add_nodes_from((node, facts) for node, facts in graph.nodes(data=True) if "place" in facts)
    for neuron in list(kept):
        into = sorted(graph.in_edges(neuron, data=True), key=lambda edge: -abs(edge[2]["weight"]))
        kept.add_edges_from(into[:HEARD])
    return kept


def _compute_layout(graph: networkx.DiGraph) -> dict[Any, np.ndarray]:
    """Compute positions, the closer the stronger the connection; a hidden node in the centre keeps all together."""
    pulled = networkx.Graph()
    strengths = [abs(weight) for _, _, weight in graph.edges(data="weight")]
    scale = max(strengths, default=1.0)
    pulled.add_weighted_edges_from((CENTRE, node, 0.1) for node in graph)
    for sender, receiver, weight in graph.edges(data="weight"):
        before = pulled.get_edge_data(sender, receiver, {"weight": 0.0})["weight"]
        pulled.add_edge(sender, receiver, weight=before + abs(weight) / scale)
    return networkx.spring_layout(pulled, seed=0, iterations=300, k=3 / np.sqrt(len(pulled)))


def _draw_edges(graph: networkx.DiGraph, places: Any, axes: Axes, size: float) -> None:
    weights = [weight for _, _, weight in graph.edges(data="weight")]
    largest = max(map(abs, weights), default=1.0)
    strength = [abs(weight) / largest for weight in weights]
    networkx.draw_networkx_edges(
        graph, places, ax=axes, node_size=size, arrowsize=8, connectionstyle="arc3,rad=0.12",
        edge_color=[BLUE if weight > 0 else ORANGE for weight in weights],
        width=[0.3 + 1.6 * share for share in strength], alpha=[0.2 + 0.6 * share for share in strength],
    )  # fmt: skip


def _draw_neurons(graph: networkx.DiGraph, places: Any, axes: Axes, size: float) -> list[Line2D]:
    """Draw the neurons and return the entries of the legend."""
    with require_extra("analysis", "a picture"):
        from matplotlib import rcParams
        from matplotlib.lines import Line2D

    neurons = {node: facts for node, facts in graph.nodes(data=True) if "place" in facts}
    ink = rcParams["text.color"]
    marks = []
    for kind, (marker, name) in KINDS.items():
        members = [node for node, facts in neurons.items() if (facts["sensory"], facts["output"]) == kind]
        if members:
            networkx.draw_networkx_nodes(
                graph, places, members, ax=axes, node_size=size, node_shape=marker,
                node_color=[neurons[node]["share"] for node in members], cmap=_make_shades().get_cmap(), vmin=0, vmax=1,
                edgecolors=[ink if neurons[node]["holds"] else GREY for node in members],
                linewidths=[2.2 if neurons[node]["holds"] else 0.6 for node in members],
            )  # fmt: skip
            marks.append(Line2D([], [], linestyle="", marker=marker, markerfacecolor="none", color=GREY, label=name))
    in_order = all(facts["place"] == node for node, facts in neurons.items())
    names = {node: str(node) if in_order else f"{node}:{facts['place']}" for node, facts in neurons.items()}
    dark = {node: name for node, name in names.items() if neurons[node]["share"] > DARK}
    light = {node: name for node, name in names.items() if node not in dark}
    font = max(4.0, (0.4 if in_order else 0.33) * np.sqrt(size))
    networkx.draw_networkx_labels(graph, places, light, font_size=font, font_color="black", ax=axes)
    networkx.draw_networkx_labels(graph, places, dark, font_size=font, font_color="white", ax=axes)
    marks += [
        Line2D([], [], color=BLUE, label="excites"),
        Line2D([], [], color=ORANGE, label="inhibits"),
        Line2D([], [], linestyle="", marker="o", markerfacecolor="none", color=ink, markeredgewidth=2.2, label="holds"),
    ]
    return marks


def _make_shades() -> ScalarMappable:
    with require_extra("analysis", "a picture"):
        from matplotlib.cm import ScalarMappable

    shades = ScalarMappable(cmap="YlGn")
    shades.set_clim(0, 1)
    return shades
