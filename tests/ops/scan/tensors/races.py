"""Finds races in Triton's interpreter, which runs the statements of a program one after the other and so never has one.

On a GPU the threads of a program are only sure to see what others have written after a barrier.
"""

import numpy as np


class Races:
    """The addresses that were read and written since the last barrier."""

    def __init__(self):
        self.read, self.written, self.last = set(), set(), None
        self.barriers = 0

    def load(self, addresses):
        self.last = addresses
        numbers = set(addresses.tolist())
        assert not numbers & self.written, "a number is read that another thread may not have written yet"
        self.read |= numbers

    def store(self, addresses):
        numbers = set(addresses.tolist())
        assert not numbers & self.written, "a number is written twice, in no order"
        if self.last is None or not np.array_equal(addresses, self.last):  # what is added to is read by its writer
            assert not numbers & self.read, "a number is written that another thread may not have read yet"
        self.written |= numbers

    def wait(self):
        self.read, self.written, self.last = set(), set(), None
        self.barriers += 1


def detect(monkeypatch):
    """Have the interpreter fail at a race; return what it has seen."""
    from triton.runtime.interpreter import InterpreterBuilder

    races = Races()
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def list_addresses(pointers, mask):
        return pointers.data[np.broadcast_to(mask.data.astype(bool), pointers.data.shape)]

    def watched_load(builder, pointers, mask, *rest):
        races.load(list_addresses(pointers, mask))
        return load(builder, pointers, mask, *rest)

    def watched_store(builder, pointers, value, mask, *rest):
        races.store(list_addresses(pointers, mask))
        return store(builder, pointers, value, mask, *rest)

    monkeypatch.setattr(InterpreterBuilder, "create_masked_load", watched_load)
    monkeypatch.setattr(InterpreterBuilder, "create_masked_store", watched_store)
    monkeypatch.setattr(InterpreterBuilder, "create_barrier", lambda builder: races.wait())
    return races
