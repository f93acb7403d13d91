"""The answers of the study of holding, each a sentence, a picture and figures with their spread."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from studies.holding import figures
from studies.holding.exact import Held
from studies.holding.figures import Histories, select_holders
from studies.holding.markdown import Answer, Table
from studies.holding.neurons import Neurons
from studies.holding.success import Success

RANGE = "median over the seeds, lowest and highest in brackets"


def format_spread(values: Iterable[float]) -> str:
    """Format ``0.12 (0.1 to 0.2)``: median, lowest and highest of the known values."""
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return "none holds"
    return f"{np.median(known):.3g} ({min(known):.3g} to {max(known):.3g})"


def compute_ratios(histories: Sequence[Sequence[Neurons]], moment: int) -> list[float]:
    """Divide the net input while holding by that while writing, for the holding neurons at a moment, for each seed."""
    hold, write = (select_holders(histories, quantity)[1][:, moment] for quantity in ("net_hold", "net_write"))
    return list(hold / write)


def find_first_held(histories: Sequence[Sequence[Neurons]]) -> int:
    """Find the first moment at which neurons hold in most seeds."""
    hold = select_holders(histories, "net_hold")[1]
    return int(np.argmax((~np.isnan(hold)).mean(0) > 0.5))


def answer_net_input(tasks: dict[str, Histories]) -> Answer:
    """Answer whether the network learns to keep the input to a holding neuron at 0."""
    rows, sentences = [], []
    for task, layers in tasks.items():
        pairs = []
        for name, histories in layers.items():
            before, after = compute_ratios(histories, find_first_held(histories)), compute_ratios(histories, -1)
            pairs += [(b, a) for b, a in zip(before, after, strict=True) if not np.isnan(b + a)]
            kept = select_holders(histories, "kept")[1][:, -1]
            count = format_spread([float(history[-1].holds.sum()) for history in histories])
            rows.append([task, name, count, format_spread(before), format_spread(after), format_spread(kept)])
        fell = sum(after < before for before, after in pairs)
        sentences.append(
            f"In `{task}`, neurons that hold get {format_spread([after for _, after in pairs])} times the net input "
            f"while they hold that they get while they write; when neurons held for the first time it was "
            f"{format_spread([before for before, _ in pairs])}, and it fell from then on in {fell} of {len(pairs)} "
            "runs."
        )
    head = ["task", "layer", "neurons that hold", "hold / write, first", "hold / write, last", "change in a step"]
    return Answer(
        "net-input",
        "Does it learn to keep the input to a holding neuron at 0 while it holds?",
        " ".join(sentences) + " (Root mean squares of Σ w·input + b of the median neuron of each run; then median, "
        "lowest and highest of the runs with neurons that hold. Only steps at which the neuron is away from 0 count as "
        "holding, for at 0 ReLU holds whatever is negative. In `recall` noise arrives meanwhile, in `flipflop` nothing "
        "but the bias and the other neurons.)",
        figures.draw_net_input(tasks),
        "Left: net input (root mean square) of the neurons that hold, in units of the spread of their values, while "
        "they hold (lines) and while they write (dotted). Right: how much the held value changes in a step (median). "
        "Lines are medians over the seeds, bands reach from the lowest to the highest.",
        [Table(head, rows)],
    )


def answer_bias(tasks: dict[str, Histories], ablation: Sequence[Success]) -> Answer:
    """Answer whether the biases of holding neurons move to 0."""
    rows, sentences = [], []
    for task, layers in tasks.items():
        factors: dict[bool, list[float]] = {True: [], False: []}
        for name, histories in layers.items():
            cells = []
            for holds in (True, False):
                before, after = (
                    [figures.compute_median(np.abs(own[at].bias[own[-1].holds == holds])) for own in histories]
                    for at in (0, -1)
                )
                factors[holds] += [a / b for a, b in zip(after, before, strict=True) if not np.isnan(a + b)]
                cells += [format_spread(before), format_spread(after)]
            rows.append([task, name, *cells])
        fell = sum(factor < 1 for factor in factors[True])
        sentences.append(
            f"In `{task}`, the median |b| of the neurons that hold at the end changed by a factor of "
            f"{format_spread(factors[True])} from start to end, and fell in {fell} of {len(factors[True])} runs; that "
            f"of the other neurons changed by {format_spread(factors[False])}."
        )
    head = ["task", "layer", "holding, start", "holding, end", "others, start", "others, end"]
    shown = list(tasks)[-1]
    return Answer(
        "bias",
        "Do the biases of holding neurons move to 0?",
        " ".join(sentences)
        + f" Who learns with biases that start at, or are frozen at, a constant: {tally(ablation)}.",
        figures.draw_biases(tasks[shown]),
        f"|b| over training in `{shown}`, all seeds together: median, and band from the 10% to the 90% quantile.",
        [Table(head, rows), build_success_table(ablation)],
    )


def build_success_table(found: Sequence[Success]) -> Table:
    """Tabulate the success under each treatment of the biases."""
    kinds = list(dict.fromkeys(describe_treatment(success) for success in found))
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for success in found:
        groups.setdefault((success.task["name"], success.label), {})[describe_treatment(success)] = str(success)
    rows = [[task, label, *(cells.get(kind, "") for kind in kinds)] for (task, label), cells in groups.items()]
    return Table(["task", "layer", *kinds], rows)


def tally(found: Sequence[Success]) -> str:
    """Count how many runs learn under each treatment of the biases."""
    counts: dict[str, list[Success]] = {}
    for success in found:
        counts.setdefault(describe_treatment(success), []).append(success)
    return ", ".join(
        f"{kind} {sum(len(success.steps) for success in own)} of {sum(success.seeds for success in own)}"
        for kind, own in counts.items()
    )


def describe_treatment(success: Success) -> str:
    """Describe what is done to the biases."""
    if not success.settings["initial"]:
        return "b drawn, trained"
    (value,) = success.settings["initial"].values()
    return f"b {'frozen at' if success.settings['frozen'] else 'starts at'} {value:g}"


def answer_learning(by_delay: Sequence[Success], by_task: Sequence[Success], variants: Sequence[Success]) -> Answer:
    """Answer whether the network learns at all."""
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
        figures.draw_by_delay(by_delay),
        "Recall of a symbol after a delay: how many of the seeds learn it, and how long they need. All models have as "
        "many parameters. Points are moved sideways a little so that none hides another.",
        [
            build_cross_table(by_delay, lambda success: f"delay {success.task['options']['delay']:,}"),
            build_cross_table(by_task, lambda success: success.task["name"]),
            build_cross_table(variants, lambda success: success.task["name"]),
        ],
    )


def build_cross_table(found: Sequence[Success], column_of: Callable[[Success], str]) -> Table:
    """Tabulate layers in rows, and the values of ``column_of`` in columns."""
    columns = list(dict.fromkeys(map(column_of, found)))
    rows: dict[str, dict[str, str]] = {}
    for success in found:
        rows.setdefault(success.label, {})[column_of(success)] = str(success)
    return Table(
        ["layer", *columns], [[label, *(cells.get(column, "") for column in columns)] for label, cells in rows.items()]
    )


def answer_exact(held: Sequence[Held]) -> Answer:
    """Answer whether a neuron with no net input holds its value."""
    steps = len(held[0].values)
    exactly = [f"{one.layer} with {one.nonlinearity}" for one in held if one.change == 0]
    lost = [f"{one.layer} with {one.nonlinearity} ends at {one.values[-1]:.4g}" for one in held if one.change]
    start = float(held[0].values[0]) if exactly else float("nan")
    return Answer(
        "exact",
        f"Does a neuron with no net input hold its value for {steps:,} steps?",
        f"Exactly, to the last bit: {', '.join(exactly)}, which stay at {start:.4g}. Not: {'; '.join(lost)}.",
        figures.draw_exact([one for one in held if one.layer == held[0].layer]),
        "The value of a persistent neuron to which nothing arrives.",
        [
            Table(
                ["layer", "f", "largest change", f"value after {steps:,} steps"],
                [[one.layer, one.nonlinearity, f"{one.change:.3g}", f"{one.values[-1]:.4g}"] for one in held],
            )
        ],
    )
