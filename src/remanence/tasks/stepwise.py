"""Base class of tasks with a class at each step, or at some steps."""

from torch import Tensor, nn

from remanence.tasks.task import IGNORED, Task


class StepwiseClassification(Task):
    """Cross-entropy loss and error rate over the positions with a target; the others have the target -100."""

    metric = "error rate"
    stepwise = True

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The error rate of a guess among equally frequent classes."""
        return 1 - 1 / self.target_size

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of the logits [batch, time, classes] against the classes [batch, time], in nats."""
        return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=IGNORED)

    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """Error rate."""
        asked = target != IGNORED
        return (output.argmax(-1) != target)[asked].float().mean()


def format_steps(task: StepwiseClassification, count: int) -> list[str]:
    """Format the first training samples: the tokens, and below them the class at each step.

    Args:
        task: whose samples.
        count: how many.
    """
    batch, names = task.first(count), task.vocabulary or []
    return [
        "\n-> ".join(" ".join(names[token] for token in row) for row in pair)
        for pair in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True)
    ]


def format_answers(task: StepwiseClassification, count: int) -> list[str]:
    """Format the first training samples, each class in brackets behind the token at which it is asked for.

    Args:
        task: whose samples.
        count: how many.
    """
    batch, names = task.first(count), task.vocabulary or []
    return [
        " ".join(
            names[token] + (f"[{names[asked]}]" if asked != IGNORED else "") for token, asked in zip(*pair, strict=True)
        )
        for pair in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True)
    ]
