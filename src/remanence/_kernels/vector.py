"""Vectors of numbers as Python values, whose operators write LLVM instructions."""

import math
from typing import Any, TypeAlias, Union

from llvmlite import ir

Operand: TypeAlias = Union["Vector", float]

_FLOATS = {32: ir.FloatType(), 64: ir.DoubleType()}


def vector_type(bits: int, count: int) -> ir.VectorType:
    """Return the LLVM type of a vector of ``count`` numbers of ``bits`` bits."""
    return ir.VectorType(_FLOATS[bits], count)


class Vector:
    """A vector of numbers, of whole numbers of the same width, or of truth values.

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
        """Return the width of a lane of a vector type."""
        return next((bits for bits, element in _FLOATS.items() if element == kind.element), None) or kind.element.width

    @property
    def is_float(self) -> bool:
        """Whether the lanes are floating-point numbers."""
        return not isinstance(self.element, ir.IntType)

    def like(self, number: Operand) -> "Vector":
        """Return a vector of this type with a number in every lane; a vector is returned unchanged."""
        if isinstance(number, Vector):
            return number
        constant = ir.Constant(self.element, number if self.is_float else int(number))
        return Vector(self.builder, ir.Constant(self.value.type, [constant] * self.count))

    def _emit(self, instruction: str, *others: Operand) -> "Vector":
        values = [self.like(other).value for other in others]
        return Vector(self.builder, getattr(self.builder, instruction)(self.value, *values))

    def intrinsic(self, name: str, *others: Operand) -> "Vector":
        """Call an intrinsic function of LLVM on vectors of this type."""
        kind = f"v{self.count}{'f' if self.is_float else 'i'}{self.bits}"
        values = [self.value, *(self.like(other).value for other in others)]
        function_type = ir.FunctionType(self.value.type, [self.value.type] * len(values))
        module = self.builder.module
        full = f"llvm.{name}.{kind}"
        function = module.globals.get(full) or ir.Function(module, function_type, full)
        return Vector(self.builder, self.builder.call(function, values))

    def map_library_function(self, name: str) -> "Vector":
        """Call a function of the C library for every lane."""
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

    def compare(self, how: str, other: Operand) -> "Vector":
        """Compare lane by lane, ``self how other``; a comparison with NaN is false, except ``!=``."""
        builder = self.builder
        floats = builder.fcmp_unordered if how == "!=" else builder.fcmp_ordered
        compare = floats if self.is_float else builder.icmp_signed
        return Vector(builder, compare(how, self.value, self.like(other).value))

    def __lt__(self, other: Operand) -> "Vector":
        return self.compare("<", other)

    def __gt__(self, other: Operand) -> "Vector":
        return self.compare(">", other)

    def where(self, yes: Operand, no: Operand) -> "Vector":
        """Select ``yes`` in the lanes where this vector is true and ``no`` elsewhere; one of the two is a vector."""
        pattern = yes if isinstance(yes, Vector) else no
        assert isinstance(pattern, Vector)
        chosen = self.builder.select(self.value, pattern.like(yes).value, pattern.like(no).value)
        return Vector(self.builder, chosen)

    def as_integers(self) -> "Vector":
        """Reinterpret the bits of the numbers as whole numbers."""
        return self._bitcast(ir.IntType(self.bits))

    def as_floats(self) -> "Vector":
        """Reinterpret the bits of whole numbers as floating-point numbers."""
        return self._bitcast(_FLOATS[self.bits])

    def _bitcast(self, element: ir.Type) -> "Vector":
        return Vector(self.builder, self.builder.bitcast(self.value, ir.VectorType(element, self.count)))

    def to_floats(self) -> "Vector":
        """Convert whole numbers to floating-point numbers."""
        kind = ir.VectorType(_FLOATS[self.bits], self.count)
        return Vector(self.builder, self.builder.sitofp(self.value, kind))

    def muladd(self, factor: Operand, term: Operand) -> "Vector":
        """Return ``self * factor + term``, rounded once if the CPU has such an instruction."""
        return self.intrinsic("fmuladd", factor, term)

    def polynomial(self, *coefficients: float) -> "Vector":
        """Evaluate ``c[0] + c[1] x + c[2] x² + ...``."""
        total = self.like(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            total = total.muladd(self, coefficient)
        return total

    def is_nan(self) -> "Vector":
        """Return which lanes are NaN."""
        return self.compare("!=", self)

    def is_infinite(self) -> "Vector":
        """Return which lanes are plus or minus infinity."""
        return abs(self).compare("==", math.inf)
