"""Base class of tasks with one class at the end of the sequence."""

from torch import Tensor, nn

from remanence.tasks.task import Task


class Classification(Task):
    """Cross-entropy loss and error rate over ``target_size`` classes."""

    metric = "error rate"

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The error rate of a guess among equally frequent classes."""
        return 1 - 1 / self.target_size

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of the logits [batch, classes] against the classes [batch]."""
        return nn.functional.cross_entropy(output, target)

    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """Error rate."""
        return (output.argmax(-1) != target).float().mean()
