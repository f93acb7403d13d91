"""Hidden sizes at which different memories have the same number of parameters."""

from remanence import tasks
from remanence.errors import UserError
from remanence.runs.config import RunConfig
from remanence.training.experiment import build_model

LARGEST = 4096


def fit_hidden_size(config: RunConfig, parameters: int) -> RunConfig:
    """Choose the largest hidden size for which the whole model has at most a given number of parameters.

    Args:
        config: the configuration of the run.
        parameters: the maximum number of parameters.

    Returns:
        The configuration with that hidden size.

    Raises:
        ValueError: the model is too large with one unit, or too small with ``LARGEST`` units.

    Example:
        >>> from remanence.training import build_run_config
        >>> config = build_run_config({"task": {"name": "retrieval"}, "layer": {"name": "gru"}})
        >>> fit_hidden_size(config, 20_000).layer.hidden_size > 20
        True
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
