"""A flip-flop: where it rests, what ends where, and how one state becomes two."""

import torch
from _figure import COLOURS, panels, save

from remanence import analysis
from remanence.nn import CFF

INHIBITIONS = [0.55 + 0.1 * k for k in range(15)]
STARTS, RESOLUTION = 32, 40


def pair(inhibition: float) -> CFF:
    """Two neurons, alike in all but which of them is heard; the same pair but for the inhibition."""
    torch.manual_seed(0)
    layer = CFF(input_size=1, hidden_size=1).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter[1] = parameter[0]
        layer.log_capacitance.fill_(0.7)  # fast, so that it rests soon
        layer.log_conductance_self.fill_(0.2).log_()
        layer.log_conductance_mutual.fill_(inhibition).log_()
    return layer


def main() -> None:
    figure, (split, plane, recovery) = panels(3, 3.3)
    found = analysis.bifurcation(pair, INHIBITIONS, starts=STARTS)
    found.plot(split)
    split.set(xlabel="inhibition between the two", ylabel="q at rest", title="One state becomes two")
    print(f"the number of fixed points changes between {found.changes}")
    basins = analysis.basins(pair(2.0), ((-0.6, 1.2), (-0.5, 1.2)), resolution=RESOLUTION)
    basins.plot(plane)
    plane.set(xlabel="q", ylabel="r")
    plane.legend(loc="upper left", fontsize=7)
    for point, verdict in zip(basins.points.points, basins.points.verdicts, strict=True):
        print([round(v, 3) for v in point.tolist()], verdict.kind, "confirmed" if verdict.confirmed else verdict.reason)
    saddle = basins.points.points[[verdict.kind == "saddle" for verdict in basins.points.verdicts].index(True)]
    step = analysis.as_step(pair(2.0))
    h = saddle + torch.tensor([[1.0, -1.0]]).double() * torch.linspace(-0.05, 0.05, 6)[:, None].double()
    _, states = step.run(step.silence(len(h), 40), h)
    for row in states:
        up = row[0, 0] - row[0, 1] > saddle[0] - saddle[1]
        recovery.plot(row[:, 0], color=COLOURS["blue" if up else "orange"])
    recovery.set(xlabel="time step", ylabel="q", title="From either side of the saddle")
    save(figure, "attractors")


if __name__ == "__main__":
    main()
