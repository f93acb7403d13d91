"""Hidden sizes at which different memories have the same number of parameters."""

from remanence import tasks
from remanence.errors import UserError
from remanence.runs.config import RunConfig
from remanence.training.experiment import build_model

LARGEST = 4096


def fit_hidden_size(config: RunConfig, parameters: int) -> RunConfig:
    """Choose the largest hidden size with which the whole model has at most so many parameters.

    Args:
        config: the run.
        parameters: the budget.

    Returns:
        The configuration with that hidden size.

    Raises:
        ValueError: the model is too large with one unit, or too small with ``LARGEST`` units.
    """
    task = tasks.create(config.task.name, **config.task.options)

    def with_size(hidden_size: int) -> RunConfig:
        return config.model_copy(update={"layer": config.layer.model_copy(update={"hidden_size": hidden_size})})

    def fits(hidden_size: int) -> bool:
        model = build_model(with_size(hidden_size), task)
        return sum(parameter.numel() for parameter in model.parameters()) <= parameters

    if not fits(1):
        raise UserError(f"{config.layer.name} with 1 unit has more than parameters={parameters:,}: raise it")
    fitting, too_large = 1, 2
    while fits(too_large):
        fitting, too_large = too_large, 2 * too_large
        if fitting >= LARGEST:
            raise UserError(f"{config.layer.name} with {LARGEST} units has fewer than parameters={parameters:,}")
    while too_large - fitting > 1:
        middle = (fitting + too_large) // 2
        fitting, too_large = (middle, too_large) if fits(middle) else (fitting, middle)
    return with_size(fitting)
