"""The answers of the study of holding, each a sentence, a picture and figures with their spread."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from remanence.study import figures
from remanence.study.exact import Held
from remanence.study.figures import Histories, of_holders
from remanence.study.markdown import Answer, Table
from remanence.study.neurons import Neurons
from remanence.study.success import Success

RANGE = "median over the seeds, lowest and highest in brackets"


def spread(values: Iterable[float]) -> str:
    """``0.12 (0.1 to 0.2)``: median, lowest and highest of what is known."""
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return "none holds"
    return f"{np.median(known):.3g} ({min(known):.3g} to {max(known):.3g})"


def relative(histories: Sequence[Sequence[Neurons]], moment: int) -> list[float]:
    """Net input while holding over that while writing, of the holding neurons at a moment, for each seed."""
    hold, write = (of_holders(histories, quantity)[1][:, moment] for quantity in ("net_hold", "net_write"))
    return list(hold / write)


def first_held(histories: Sequence[Sequence[Neurons]]) -> int:
    """The first moment at which neurons hold in most seeds."""
    hold = of_holders(histories, "net_hold")[1]
    return int(np.argmax((~np.isnan(hold)).mean(0) > 0.5))


def net_input(tasks: dict[str, Histories]) -> Answer:
    """Does the network learn to keep the input to a holding neuron at 0?"""
    rows, fell, known = [], 0, 0
    for task, layers in tasks.items():
        for name, histories in layers.items():
            start = first_held(histories)
            before, after = relative(histories, start), relative(histories, -1)
            pairs = [(b, a) for b, a in zip(before, after, strict=True) if not np.isnan(b + a)]
            fell, known = fell + sum(a < b for b, a in pairs), known + len(pairs)
            kept = of_holders(histories, "kept")[1][:, -1]
            count = spread([float(history[-1].holds.sum()) for history in histories])
            rows.append([task, name, count, spread(before), spread(after), spread(kept)])
    head = [
        "task",
        "layer",
        "neurons that hold",
        "hold / write at first",
        "hold / write at the end",
        "change in a step",
    ]
    ends = [value for layers in tasks.values() for own in layers.values() for value in relative(own, -1)]
    return Answer(
        "net-input",
        "Does it learn to keep the input to a holding neuron at 0 while it holds?",
        f"At the end of training, a neuron that holds gets {spread(ends)} of the net input |Σ w·input + b| while it "
        f"holds that it gets while it writes (median neuron of each run; then median, lowest and highest of all runs "
        f"of the table). From the first moment at which neurons held to the end, that share fell in {fell} of the "
        f"{known} runs. In `recall` noise arrives while it holds, in `flipflop` nothing but the bias and the other "
        "neurons.",
        figures.net_input(tasks),
        "Left: median |net input| of the neurons that hold, in units of the spread of their values, while they hold "
        "(lines) and while they write (dotted). Right: how much the held value changes in a step. Lines are medians "
        "over the seeds, bands reach from the lowest to the highest.",
        [Table(head, rows)],
    )


def bias(tasks: dict[str, Histories], ablation: Sequence[Success]) -> Answer:
    """Do biases of holding neurons move to 0?"""
    rows, shares = [], []
    for task, layers in tasks.items():
        for name, histories in layers.items():
            cells = []
            for holds in (True, False):
                start, end = ([np.abs(own[at].bias[own[-1].holds == holds]) for own in histories] for at in (0, -1))
                before, after = ([figures.median(values) for values in group] for group in (start, end))
                cells += [spread(before), spread(after)]
                if holds:
                    shares += [a / b for a, b in zip(after, before, strict=True) if not np.isnan(a + b)]
            rows.append([task, name, *cells])
    head = ["task", "layer", "holding, start", "holding, end", "others, start", "others, end"]
    frozen = successes_by_setting(ablation)
    first = next(iter(tasks.values()))
    return Answer(
        "bias",
        "Do the biases of holding neurons move to 0?",
        f"From start to end, the median |b| of the neurons that hold changed by a factor of {spread(shares)}; it fell "
        f"in {sum(share < 1 for share in shares)} of {len(shares)} runs. The second table trains with biases that "
        "start at, or are frozen at, a constant.",
        figures.biases(first),
        f"|b| over training in `{next(iter(tasks))}`, all seeds together: median, and band from the 10% to the 90% "
        "quantile. In brackets: how many neurons.",
        [Table(head, rows), frozen],
    )


def successes_by_setting(found: Sequence[Success]) -> Table:
    """Success under each treatment of the biases."""
    kinds = list(dict.fromkeys(treatment(success) for success in found))
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for success in found:
        groups.setdefault((success.task["name"], success.label), {})[treatment(success)] = str(success)
    rows = [[task, label, *(cells.get(kind, "") for kind in kinds)] for (task, label), cells in groups.items()]
    return Table(["task", "layer", *kinds], rows)


def treatment(success: Success) -> str:
    """What is done to the biases."""
    if not success.settings["initial"]:
        return "b drawn, trained"
    (value,) = success.settings["initial"].values()
    return f"b {'frozen at' if success.settings['frozen'] else 'starts at'} {value:g}"


def learning(by_delay: Sequence[Success], by_task: Sequence[Success], variants: Sequence[Success]) -> Answer:
    """Does it learn in the first place?"""
    delays = sorted({success.task["options"]["delay"] for success in by_delay})
    longest = [success for success in by_delay if success.task["options"]["delay"] == delays[-1]]
    learners = [f"{success.label} ({success})" for success in longest if success.rate == 1]
    some = [f"{success.label} ({success})" for success in longest if 0 < success.rate < 1]
    none = [success.label for success in longest if success.rate == 0]
    parts = [
        f"{verb}: {', '.join(names)}"
        for verb, names in (("in all seeds", learners), ("in some", some), ("in none", none))
        if names
    ]
    return Answer(
        "learning",
        "Does it learn in the first place?",
        f"Recall after {delays[-1]:,} steps of noise, within {longest[0].budget:,} optimiser steps, is learnt "
        f"{'; '.join(parts)}. Tables: seeds that got there, and the optimiser steps it took them, {RANGE}.",
        figures.by_delay(by_delay),
        "Recall of a symbol after a delay: how many of the seeds learn it, and how long they need. All models have as "
        "many parameters. Lines on the left are moved sideways a little so that none hides another.",
        [
            crossed(by_delay, lambda success: f"delay {success.task['options']['delay']:,}"),
            crossed(by_task, lambda success: success.task["name"]),
            crossed(variants, lambda success: success.task["name"]),
        ],
    )


def crossed(found: Sequence[Success], column_of: Callable[[Success], str]) -> Table:
    """Layers down, and across what ``column_of`` says of each."""
    columns = list(dict.fromkeys(map(column_of, found)))
    rows: dict[str, dict[str, str]] = {}
    for success in found:
        rows.setdefault(success.label, {})[column_of(success)] = str(success)
    return Table(
        ["layer", *columns], [[label, *(cells.get(column, "") for column in columns)] for label, cells in rows.items()]
    )


def exact(held: Sequence[Held]) -> Answer:
    """Does a neuron with no net input hold its value?"""
    steps = len(held[0].values)
    exactly = [f"{one.layer} with {one.nonlinearity}" for one in held if one.change == 0]
    lost = [f"{one.layer} with {one.nonlinearity} ends at {one.values[-1]:.4g}" for one in held if one.change]
    start = float(held[0].values[0]) if exactly else float("nan")
    return Answer(
        "exact",
        f"Does a neuron with no net input hold its value for {steps:,} steps?",
        f"Exactly, to the last bit: {', '.join(exactly)}, which stay at {start:.4g}. Not: {'; '.join(lost)}.",
        figures.exact([one for one in held if one.layer == held[0].layer]),
        "The value of a persistent neuron to which nothing arrives.",
        [
            Table(
                ["layer", "f", "largest change", f"value after {steps:,} steps"],
                [[one.layer, one.nonlinearity, f"{one.change:.3g}", f"{one.values[-1]:.4g}"] for one in held],
            )
        ],
    )
