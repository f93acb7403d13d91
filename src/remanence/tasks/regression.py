"""Base class of tasks whose targets are numbers."""

from torch import Tensor, nn

from remanence.tasks.task import Task


class Regression(Task):
    """Squared error, as loss and as metric."""

    metric = "squared error"

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error over all that is asked for."""
        return nn.functional.mse_loss(output.expand_as(target), target)

    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """The same."""
        return self.loss(output, target)
