"""Translate the Python text of a kernel to LLVM assembly.

The language of kernels is a small subset of Python: whole numbers of 64 bits (addresses, counts), vectors of ``LANES``
numbers and of truth values, assignments, ``for ... in range(...)``, ``while``, ``if``, and calls of the functions from
:func:`remanence._kernels.lanes.make_functions`. A float literal is that number in every lane. The step of a
``range`` must be positive. The last function of the text is the kernel; it may call the functions before it, with whole
numbers as arguments.
"""

import ast
import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from llvmlite import ir

from remanence._kernels.kernel_source import KernelSource
from remanence._kernels.lanes import Value, apply, is_vector, make_functions, spread

Address: TypeAlias = Any

INTEGER = ir.IntType(64)
TRUTH = ir.IntType(1)

_OPERATORS: dict[type, str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "xor",
    ast.USub: "neg",
    ast.Invert: "not",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
    ast.Eq: "eq",
    ast.NotEq: "ne",
}
_SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_INTEGER = {"add": "add", "sub": "sub", "mul": "mul", "and": "and_", "or": "or_", "xor": "xor"}


def lower(source: KernelSource, bits: int, lanes: int) -> tuple[str, str]:
    """Translate a kernel to LLVM assembly, not optimised yet; return that and the name of its function.

    Raises:
        SyntaxError: the text is not in the language of kernels; the error gives the line.
    """
    module = ir.Module("kernel")
    named = make_functions(bits, lanes)
    *helpers, kernel = (node for node in ast.parse(source.text).body if isinstance(node, ast.FunctionDef))
    for definition in (*helpers, kernel):
        kind = ir.FunctionType(ir.VoidType(), [INTEGER] * len(definition.args.args))
        function = ir.Function(module, kind, definition.name)
        _Compiler(source, bits, lanes, function, named).compile(definition)
        named[definition.name] = partial(_call, function)
        if definition is not kernel:
            function.linkage = "internal"
            function.attributes.add("noinline")
    return str(module), kernel.name


def _call(function: ir.Function, builder: Any, *arguments: Value) -> None:
    """Write a call of a function of the same text."""
    builder.call(function, arguments)


class _Compiler:
    """Writes the instructions of one function. A variable is a stack slot, which LLVM turns into a register."""

    def __init__(
        self, source: KernelSource, bits: int, lanes: int, function: ir.Function, named: dict[str, Callable[..., Value]]
    ):
        self._source = source
        self._function = function
        self._entry = function.append_basic_block("entry")
        self._builder: Any = ir.IRBuilder(function.append_basic_block("body"))
        self._named = named
        self._constants: dict[str, Any] = {"LANES": lanes, "SIZE": bits // 8, "inf": math.inf, "nan": math.nan}
        self._bits, self._lanes = bits, lanes
        self._variables: dict[str, Address] = {}

    def compile(self, definition: ast.FunctionDef) -> None:
        """Write the whole function."""
        for argument, value in zip(definition.args.args, self._function.args, strict=True):
            self._assign(argument.arg, value)
        self._run(definition.body)
        self._builder.ret_void()
        ir.IRBuilder(self._entry).branch(self._function.basic_blocks[1])

    def _run(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._assign(name, self._evaluate(value))
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    results = [self._evaluate(value) for value in values]
                    for target, result in zip(names, results, strict=True):
                        assert isinstance(target, ast.Name)
                        self._assign(target.id, result)
                case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                    self._assign(name, self._operate(statement, op, self._load(name, statement), self._evaluate(value)))
                case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=args), body=body):
                    self._for(name, [self._evaluate_integer(arg) for arg in args], body)
                case ast.While(test=test, body=body):
                    self._while(lambda test=test: self._evaluate_truth(test), lambda body=body: self._run(body))
                case ast.If(test=test, body=body, orelse=orelse):
                    self._if(self._evaluate_truth(test), body, orelse)
                case ast.Expr(value=ast.Call() as call):
                    self._evaluate(call)
                case _:
                    raise self._make_error(statement)

    def _for(self, name: str, arguments: list[Value], body: list[ast.stmt]) -> None:
        zero, one = INTEGER(0), INTEGER(1)
        start, stop, step = {1: (zero, *arguments, one), 2: (*arguments, one), 3: (*arguments,)}[len(arguments)]
        counter = self._allocate(INTEGER)
        self._builder.store(start, counter)

        def has_next() -> Value:
            return self._builder.icmp_signed("<", self._builder.load(counter, typ=INTEGER), stop)

        def run_body() -> None:
            now = self._builder.load(counter, typ=INTEGER)
            self._assign(name, now)
            self._run(body)
            self._builder.store(self._builder.add(now, step, flags=("nsw",)), counter)

        self._while(has_next, run_body)

    def _while(self, test: Callable[[], Value], run_body: Callable[[], None]) -> None:
        head, body, after = (self._function.append_basic_block(name) for name in ("head", "body", "after"))
        self._builder.branch(head)
        self._builder.position_at_end(head)
        self._builder.cbranch(test(), body, after)
        self._builder.position_at_end(body)
        run_body()
        self._builder.branch(head)
        self._builder.position_at_end(after)

    def _if(self, test: Value, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        yes, no, after = (self._function.append_basic_block(name) for name in ("yes", "no", "after"))
        self._builder.cbranch(test, yes, no)
        for block, statements in ((yes, body), (no, orelse)):
            self._builder.position_at_end(block)
            self._run(statements)
            self._builder.branch(after)
        self._builder.position_at_end(after)

    def _allocate(self, kind: ir.Type) -> Address:
        return ir.IRBuilder(self._entry).alloca(kind)

    def _assign(self, name: str, value: Value) -> None:
        if isinstance(value, float):
            value = spread(self._builder, value, self._bits, self._lanes)
        place = self._variables.get(name)
        if place is None or place.allocated_type != value.type:
            place = self._variables[name] = self._allocate(value.type)
        self._builder.store(value, place)

    def _load(self, name: str, node: ast.AST) -> Value:
        if name in self._variables:
            place = self._variables[name]
            return self._builder.load(place, typ=place.allocated_type)
        if name not in self._constants:
            raise self._make_error(node)
        value = self._constants[name]
        return INTEGER(value) if isinstance(value, int) else value

    def _evaluate_integer(self, node: ast.expr) -> Value:
        value = self._evaluate(node)
        if isinstance(value, float | bool) or value.type != INTEGER:
            raise self._make_error(node)
        return value

    def _evaluate_truth(self, node: ast.expr) -> Value:
        value = self._evaluate(node)
        if isinstance(value, float | bool) or value.type != TRUTH:
            raise self._make_error(node)
        return value

    def _evaluate(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=bool() | float() as value):
                return value
            case ast.Constant(value=int() as value):
                return INTEGER(value)
            case ast.Name(id=name):
                return self._load(name, node)
            case ast.BinOp(left=left, op=op, right=right):
                return self._operate(node, op, self._evaluate(left), self._evaluate(right))
            case ast.UnaryOp(op=op, operand=operand):
                return self._operate(node, op, self._evaluate(operand))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._operate(node, op, self._evaluate(left), self._evaluate(right))
            case ast.BoolOp(op=op, values=values):
                return self._short_circuit(values, is_and=isinstance(op, ast.And))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._builder.select(self._evaluate_truth(test), self._evaluate(body), self._evaluate(orelse))
            case ast.Call(func=ast.Name(id=name), args=args) if name in self._named:
                return self._named[name](self._builder, *(self._evaluate(arg) for arg in args))
            case _:
                raise self._make_error(node)

    def _short_circuit(self, values: list[ast.expr], *, is_and: bool) -> Value:
        """Write ``and`` or ``or``. Operands after the deciding one are not evaluated, because they may divide by 0."""
        result = self._allocate(TRUTH)
        after = self._function.append_basic_block("decided")
        for number, node in enumerate(values):
            value = self._evaluate_truth(node)
            self._builder.store(value, result)
            if number < len(values) - 1:
                more = self._function.append_basic_block("undecided")
                self._builder.cbranch(value, *((more, after) if is_and else (after, more)))
                self._builder.position_at_end(more)
        self._builder.branch(after)
        self._builder.position_at_end(after)
        return self._builder.load(result, typ=TRUTH)

    def _operate(self, node: ast.AST, op: ast.AST, *values: Value) -> Value:
        name = _OPERATORS.get(type(op))
        if any(is_vector(value) for value in values) and name is not None:
            return apply(self._builder, name, values, self._bits, self._lanes)
        if all(isinstance(value, float) for value in values) and name == "neg":
            return -values[0]
        if any(isinstance(value, float | bool) for value in values):
            raise self._make_error(node)
        return self._operate_on_integers(node, op, name, values)

    def _operate_on_integers(self, node: ast.AST, op: ast.AST, name: str | None, values: tuple[Value, ...]) -> Value:
        builder = self._builder
        if name == "neg":
            return builder.neg(values[0])
        if name in _SIGNS:
            return builder.icmp_signed(_SIGNS[name], *values)
        if name in _INTEGER:
            return getattr(builder, _INTEGER[name])(*values)
        quotient, rest = builder.sdiv(*values), builder.srem(*values)
        # Python rounds down, LLVM towards 0.
        zero = INTEGER(0)
        apart = builder.icmp_signed("<", builder.xor(rest, values[1]), zero)
        down = builder.and_(builder.icmp_signed("!=", rest, zero), apart)
        if isinstance(op, ast.FloorDiv):
            return builder.sub(quotient, builder.zext(down, INTEGER))
        if isinstance(op, ast.Mod):
            return builder.add(rest, builder.select(down, values[1], zero))
        raise self._make_error(node)

    def _make_error(self, node: ast.AST) -> SyntaxError:
        number, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        line = self._source.text.splitlines()[number - 1]
        return SyntaxError("not part of the language of kernels", ("<kernel>", number, column + 1, line))
