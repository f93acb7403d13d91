"""What is inspected: a memory, and the input that drives it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from remanence.analysis import Step, as_step
from remanence.errors import UserError

STEPS = 256
ROWS = 8
SYMBOLS = 4  # different inputs that a memory is asked to tell apart
CHEAP = 256  # numbers in a state; of a larger one fewer steps are linearised, as each costs more
LARGEST = 1024  # a state of more numbers has Jacobians that take minutes


@dataclass(frozen=True, eq=False)
class Subject:
    """A memory with the input that drives it, both in float64.

    Attributes:
        name: short, for tables.
        about: what it is, where it comes from and what drives it, in a sentence.
        module: the memory itself.
        step: the same as one step on flat states.
        x: the input, sequences laid end to end where they are short.
        length: steps of one sequence in it.
    """

    name: str
    about: str
    module: nn.Module
    step: Step
    x: Float[Tensor, "rows steps input"]
    length: int

    @classmethod
    def from_noise(cls, name: str, about: str, module: nn.Module) -> "Subject":
        """Create a subject without a known task, driven by independent standard normal inputs.

        Args:
            name: for tables.
            about: what it is.
            module: the memory.

        Raises:
            ValueError: as :func:`remanence.analysis.as_step`.
        """
        module = module.double().eval()
        step = as_step(module)
        x = torch.randn(ROWS, STEPS, step.input_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return cls(name, f"{about}, driven by white noise", module, step, x, STEPS)

    @classmethod
    def from_inputs(cls, name: str, about: str, module: nn.Module, x: Float[Tensor, "batch time input"]) -> "Subject":
        """Create a subject driven by the inputs that it gets in a task.

        Args:
            name: for tables.
            about: what it is.
            module: the memory, in float64.
            x: its input in as many sequences as there are.
        """
        length = x.shape[1]
        together = min(-(-STEPS // length), len(x))  # sequences in a row
        rows = len(x) // together
        stream = x[: rows * together].reshape(rows, together * length, -1)[:ROWS, :STEPS]
        how = f"sequences of {length} steps laid end to end" if together > 1 else f"the first {stream.shape[1]} steps"
        driven = f"{about}, driven by the validation inputs as it gets them ({how})"
        return cls(name, driven, module, as_step(module), stream.contiguous(), min(length, STEPS))

    def find_overflow(self) -> int | None:
        """Find the first step after which the state is not finite; None if it always is."""
        _, states = self.step.run(self.x)
        wrong = ~states.isfinite().all(-1).all(0)
        return int(wrong.nonzero()[0]) if bool(wrong.any()) else None

    def portion(self, most: int = STEPS) -> Float[Tensor, "1 steps input"]:
        """Return the first steps of x, no more than Jacobians are affordable for.

        Args:
            most: steps at most.

        Raises:
            ValueError: a state so large that they take minutes.
        """
        if self.step.size > LARGEST:
            raise UserError(f"the state has {self.step.size:,} numbers, and its Jacobians would take too long")
        return self.x[:1, : int(most * min(1.0, (CHEAP / self.step.size) ** 2))]

    def symbols(self) -> Float[Tensor, "symbols input"]:
        """Choose different inputs from x."""
        inputs = self.x.flatten(0, 1)
        shuffled = inputs[torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))]
        chosen: list[Tensor] = []
        for each in shuffled:
            if len(chosen) < SYMBOLS and not any(torch.equal(each, other) for other in chosen):
                chosen.append(each)
        return torch.stack(chosen)
