"""Vectors of numbers as Python values: an operator on them writes LLVM instructions."""

import math
from typing import Any, TypeAlias, Union

from llvmlite import ir

Operand: TypeAlias = Union["Vector", float]

_FLOATS = {32: ir.FloatType(), 64: ir.DoubleType()}


def vector_type(bits: int, count: int) -> ir.VectorType:
    """So many numbers of so many bits."""
    return ir.VectorType(_FLOATS[bits], count)


class Vector:
    """Lanes that are computed together: numbers, whole numbers of the same width, or truth values.

    Args:
        builder: where the instructions go.
        value: an LLVM vector.
    """

    def __init__(self, builder: Any, value: Any):
        self.builder, self.value = builder, value
        self.count: int = value.type.count
        self.element = value.type.element

    @property
    def bits(self) -> int:
        """Width of a lane."""
        return self.bits_of(self.value.type)

    @staticmethod
    def bits_of(kind: ir.VectorType) -> int:
        """Width of a lane of vectors of a kind."""
        return next((bits for bits, element in _FLOATS.items() if element == kind.element), None) or kind.element.width

    @property
    def is_float(self) -> bool:
        """Numbers, neither whole numbers nor truth values."""
        return not isinstance(self.element, ir.IntType)

    def like(self, number: Operand) -> "Vector":
        """The same number in every lane; a vector as it is."""
        if isinstance(number, Vector):
            return number
        constant = ir.Constant(self.element, number if self.is_float else int(number))
        return Vector(self.builder, ir.Constant(self.value.type, [constant] * self.count))

    def _emit(self, instruction: str, *others: Operand) -> "Vector":
        values = [self.like(other).value for other in others]
        return Vector(self.builder, getattr(self.builder, instruction)(self.value, *values))

    def intrinsic(self, name: str, *others: Operand) -> "Vector":
        """One of LLVM's own functions, on vectors of this type."""
        kind = f"v{self.count}{'f' if self.is_float else 'i'}{self.bits}"
        values = [self.value, *(self.like(other).value for other in others)]
        function_type = ir.FunctionType(self.value.type, [self.value.type] * len(values))
        module = self.builder.module
        full = f"llvm.{name}.{kind}"
        function = module.globals.get(full) or ir.Function(module, function_type, full)
        return Vector(self.builder, self.builder.call(function, values))

    def each(self, name: str) -> "Vector":
        """A function of the C library, lane by lane."""
        module = self.builder.module
        function_type = ir.FunctionType(self.element, [self.element])
        function = module.globals.get(name) or ir.Function(module, function_type, name)
        result = ir.Constant(self.value.type, ir.Undefined)
        for lane in range(self.count):
            place = ir.Constant(ir.IntType(32), lane)
            one = self.builder.call(function, [self.builder.extract_element(self.value, place)])
            result = self.builder.insert_element(result, one, place)
        return Vector(self.builder, result)

    def __add__(self, other: Operand) -> "Vector":
        return self._emit("fadd" if self.is_float else "add", other)

    def __sub__(self, other: Operand) -> "Vector":
        return self._emit("fsub" if self.is_float else "sub", other)

    def __mul__(self, other: Operand) -> "Vector":
        return self._emit("fmul" if self.is_float else "mul", other)

    def __truediv__(self, other: Operand) -> "Vector":
        return self._emit("fdiv", other)

    def __radd__(self, other: float) -> "Vector":
        return self.like(other) + self

    def __rsub__(self, other: float) -> "Vector":
        return self.like(other) - self

    def __rmul__(self, other: float) -> "Vector":
        return self.like(other) * self

    def __rtruediv__(self, other: float) -> "Vector":
        return self.like(other) / self

    def __neg__(self) -> "Vector":
        return self._emit("fneg" if self.is_float else "neg")

    def __abs__(self) -> "Vector":
        return self.intrinsic("fabs")

    def __and__(self, other: Operand) -> "Vector":
        return self._emit("and_", other)

    def __or__(self, other: Operand) -> "Vector":
        return self._emit("or_", other)

    def __xor__(self, other: Operand) -> "Vector":
        return self._emit("xor", other)

    def __invert__(self) -> "Vector":
        return self._emit("not_")

    def __lshift__(self, places: int) -> "Vector":
        return self._emit("shl", places)

    def __rshift__(self, places: int) -> "Vector":
        return self._emit("ashr", places)

    def compared(self, how: str, other: Operand) -> "Vector":
        """Truth values of ``self how other``; with NaN false, but for ``!=``."""
        builder = self.builder
        floats = builder.fcmp_unordered if how == "!=" else builder.fcmp_ordered
        compare = floats if self.is_float else builder.icmp_signed
        return Vector(builder, compare(how, self.value, self.like(other).value))

    def __lt__(self, other: Operand) -> "Vector":
        return self.compared("<", other)

    def __gt__(self, other: Operand) -> "Vector":
        return self.compared(">", other)

    def where(self, yes: Operand, no: Operand) -> "Vector":
        """``yes`` in the lanes in which this is true, else ``no``; one of the two is a vector."""
        pattern = yes if isinstance(yes, Vector) else no
        assert isinstance(pattern, Vector)
        chosen = self.builder.select(self.value, pattern.like(yes).value, pattern.like(no).value)
        return Vector(self.builder, chosen)

    def as_integers(self) -> "Vector":
        """The bits of the numbers, read as whole numbers."""
        return self._bitcast(ir.IntType(self.bits))

    def as_floats(self) -> "Vector":
        """The bits of whole numbers, read as numbers."""
        return self._bitcast(_FLOATS[self.bits])

    def _bitcast(self, element: ir.Type) -> "Vector":
        return Vector(self.builder, self.builder.bitcast(self.value, ir.VectorType(element, self.count)))

    def to_floats(self) -> "Vector":
        """Whole numbers as numbers."""
        kind = ir.VectorType(_FLOATS[self.bits], self.count)
        return Vector(self.builder, self.builder.sitofp(self.value, kind))

    def muladd(self, factor: Operand, term: Operand) -> "Vector":
        """``self * factor + term``, rounded once where the CPU can."""
        return self.intrinsic("fmuladd", factor, term)

    def polynomial(self, *coefficients: float) -> "Vector":
        """``c[0] + c[1] x + c[2] x² + ...``"""
        total = self.like(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            total = total.muladd(self, coefficient)
        return total

    def is_nan(self) -> "Vector":
        """Where it is not a number."""
        return self.compared("!=", self)

    def is_infinite(self) -> "Vector":
        """Where it is plus or minus infinity."""
        return abs(self).compared("==", math.inf)
