"""The study of holding: do networks whose activations persist learn to hold, and how?"""

from collections.abc import Callable, Sequence
from pathlib import Path

from remanence import report, training
from remanence.report import Run
from remanence.training import RunConfig
from studies.holding import answers, markdown
from studies.holding.exact import run_silent
from studies.holding.figures import Histories
from studies.holding.neurons import Neurons, trace_training
from studies.holding.success import format_label, group_successes

RECIPES = Path(__file__).parent / "recipes"
PARTS = ("holding", "bias", "delay", "tasks", "variants")
"""The recipes in ``recipes`` that the answers rest on."""

TITLE = "Holding: three open questions, answered"
INTRODUCTION = """\
A neuron whose activation is never wiped, `n <- f(n + Σ w·input + b)`, holds its value as long as its net input is 0.
Those who proposed it left questions open: does a network learn to keep the net input of such neurons at 0, do their
biases move to 0, does it learn at all? Everything below is written by `remanence study holding`, from the runs of
`studies/holding/recipes/`: `PersistentLinear`, `Fastlane` at several densities, and rivals with as many parameters.

A neuron *holds* here if at least half of the variance of its value, over all steps that only hold, is linear in what is
to be remembered (the symbol in `recall`, the bits in `flipflop`). The wiring of a sparse `Fastlane` is drawn once for
all seeds. Learning rates are the best of three for each layer and task (`rates.yaml` there, one seed)."""

FUNCTIONS = ("relu", "leaky_relu", "tanh", "softplus")


def plan(folder: Path, overrides: Sequence[str] = ()) -> dict[str, dict[Path, RunConfig]]:
    """Plan the runs of each part of the study, for :func:`remanence.training.compare`.

    Args:
        folder: gets the runs, a folder for each part.
        overrides: ``field=value`` for every recipe, such as ``seeds=1``.

    Raises:
        ValueError: the recipes are missing, or an override does not fit.
    """
    return {
        part: training.plan(training.read_recipe(RECIPES / f"{part}.yaml", overrides).runs(), folder / part)
        for part in PARTS
    }


def answer(
    plans: dict[str, dict[Path, RunConfig]],
    folder: Path,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Measure what the runs of :func:`plan` came to, and write the page of answers.

    Args:
        plans: the runs; each is trained.
        folder: gets ``index.md`` and its pictures.
        tell: called with the number of networks that have been looked into, and of all.

    Returns:
        The page.

    Raises:
        ValueError: a run is missing or damaged.
        OSError: the folder cannot be written.
    """
    runs = {part: sort_runs(report.load(list(paths)), paths) for part, paths in plans.items()}
    found = {part: group_successes(runs[part]) for part in PARTS if part != "holding"}
    histories = measure_histories(runs["holding"], tell)
    held = [run_silent(f, layer) for layer in ("persistent", "fastlane") for f in FUNCTIONS]
    return markdown.write(
        folder,
        TITLE,
        INTRODUCTION,
        [
            answers.answer_net_input(histories),
            answers.answer_bias(histories, found["bias"]),
            answers.answer_learning(found["delay"], found["tasks"], found["variants"]),
            answers.answer_exact(held),
        ],
    )


def sort_runs(runs: Sequence[Run], paths: dict[Path, RunConfig]) -> list[Run]:
    """Sort the runs in the order of the recipe."""
    places = {path: place for place, path in enumerate(paths)}
    return sorted(runs, key=lambda run: places[run.folder])


def measure_histories(runs: Sequence[Run], tell: Callable[[int, int], None]) -> dict[str, Histories]:
    """Measure the neurons over training, for each task, layer and seed that was trained to the end."""
    found: dict[str, dict[str, list[list[Neurons]]]] = {}
    for done, run in enumerate(runs):
        if run.state == "finished":
            layers = found.setdefault(run.task, {})
            layers.setdefault(format_label(run.config["layer"]), []).append(trace_training(run))
        tell(done + 1, len(runs))
    return {task: dict(layers) for task, layers in found.items()}
