"""What each operation of a graph does to a vector, in float32 and float64, to a few units in the last place.

Exponentials: the argument is cut into n ln 2 + r, exp(r) is a polynomial, n goes into the exponent. Logarithms: as in
Sun's fdlibm. Nothing here branches or calls out, but for the functions that are rare in a recurrence and left to the
C library.
"""

import math
from collections.abc import Callable

from remanence._kernels.operations import OPERATIONS
from remanence._kernels.vector import Vector

LOG2E = math.log2(math.e)
LN2 = {32: (0.693359375, -2.12194440e-4), 64: (6.93147180369123816490e-01, 1.90821492927058770002e-10)}
"""ln 2 in two parts, the first of so few bits that a small whole number times it is exact."""

ROUNDING = {32: 1.5 * 2**23, 64: 1.5 * 2**52}
"""Added to a small number it leaves the nearest whole number in the lowest bits."""

MANTISSA = {32: 23, 64: 52}
BIAS = {32: 127, 64: 1023}
LARGEST_EXPONENT = {32: 88.73, 64: 709.79}
SMALLEST_EXPONENT = {32: -104.0, 64: -745.2}

EXPM1 = {
    32: (0.4999999702, 0.1666654348, 0.0416672006, 0.0083665205, 0.0013882521),
    64: tuple(1 / math.factorial(k) for k in range(2, 15)),
}
"""Coefficients of (exp(r) - 1 - r) / r² for |r| up to ln(2) / 2."""

ROUGHER_EXP = {
    32: (1.0, 0.9999997020, 0.4999915063, 0.1666763723, 0.0418979750, 0.0082903067),
    64: tuple(1 / math.factorial(k) for k in range(14)),
}
"""Coefficients of exp(r) there, right to an ulp: enough where 1 is added."""

LOG = {
    32: (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841),
    64: (
        6.666666666666735130e-01,
        3.999999999940941908e-01,
        2.857142874366239149e-01,
        2.222219843214978396e-01,
        1.818357216161805012e-01,
        1.531383769920937332e-01,
        1.479819860511658591e-01,
    ),
}
"""Coefficients of (log(1 + f) - 2 s) / (s s²) in s², where s = f / (2 + f)."""

ERF_NEAR = (1.28379166e-1, -3.76125336e-1, 1.12819925e-1, -2.67681349e-2, 4.99119423e-3, -5.96761703e-4)
"""Coefficients of (erf(x) - x) / x in x², up to 0.9277."""

ERF_FAR = (
    -1.28717512e-1,
    -6.34846687e-1,
    -1.06777877e-1,
    2.42546219e-2,
    -3.88396438e-3,
    3.83197126e-4,
    -1.72853470e-5,
)
"""Coefficients of (log(1 - erf(x)) + x) / x in x, from 0.9277 to 4."""


NEARLY_LINEAR = {32: 2.0**-13, 64: 2.0**-28}
"""Below this tanh(x) is x, which -2 |x| and what follows would round, or lose below the normal numbers."""


def _clamp(x: Vector, low: float, high: float) -> Vector:
    """Clamp x to two bounds; NaN stays NaN."""
    x = (x < low).where(low, x)
    return (x > high).where(high, x)


def _reduce(x: Vector) -> tuple[Vector, Vector]:
    """Split x = n ln 2 + r; return n, with its bits shifted up to where the exponent is, and r."""
    magic = ROUNDING[x.bits]
    high, low = LN2[x.bits]
    shifted = x.muladd(LOG2E, magic)
    n = shifted - magic
    r = n.muladd(-low, n.muladd(-high, x))
    return shifted.as_integers() << MANTISSA[x.bits], r


def _compute_expm1_near_0(r: Vector) -> Vector:
    return (r * r).muladd(r.polynomial(*EXPM1[r.bits]), r)


def _factor_exp(x: Vector, sign: float = 1.0) -> tuple[Vector, Vector]:
    """Return two factors of exp(sign x), a power of 2 and the rest, to a few ulp, where it is a normal number."""
    magic = ROUNDING[x.bits] + BIAS[x.bits]  # the lowest bits of the sum are the exponent of 2**n as a number has it
    shifted = x.muladd(sign * LOG2E, magic)
    n = shifted - magic
    high, low = LN2[x.bits]  # in two parts also in float32: not every processor multiplies and adds with one rounding
    r = n.muladd(-sign * low, n.muladd(-sign * high, x))
    coefficients = [sign**k * c for k, c in enumerate(ROUGHER_EXP[x.bits])]
    return (shifted.as_integers() << MANTISSA[x.bits]).as_floats(), r.polynomial(*coefficients)


def _split_power(n: Vector) -> tuple[Vector, Vector]:
    """Return 2**(n // 2) and 2**(n - n // 2), for n shifted up as :func:`_reduce` returns it."""
    places = MANTISSA[n.bits]
    first = (n >> places + 1) << places
    one = BIAS[n.bits] << places
    return (first + one).as_floats(), (n - first + one).as_floats()


def exp(x: Vector) -> Vector:
    """Compute the exponential, accurately from the smallest positive results up to overflow."""
    n, r = _reduce(_clamp(x, SMALLEST_EXPONENT[x.bits], LARGEST_EXPONENT[x.bits]))
    first, second = _split_power(n)
    return (1.0 + _compute_expm1_near_0(r)) * first * second


def expm1(x: Vector) -> Vector:
    """Compute exp(x) - 1 without cancellation near 0."""
    lowest = -18.0 if x.bits == 32 else -40.0
    n, r = _reduce(_clamp(x, lowest, LARGEST_EXPONENT[x.bits]))
    first, second = _split_power(n)
    small = _compute_expm1_near_0(r)
    result = small.muladd(first, first - 1.0 / second) * second
    return x.compare("==", 0.0).where(x, result)


def sigmoid(x: Vector) -> Vector:
    """Compute 1 / (1 + exp(-x)); results below the normal numbers are 0."""
    lowest = -87.0 if x.bits == 32 else -708.0
    power, fraction = _factor_exp(_clamp(x, lowest, -lowest), -1.0)
    return (x < lowest).where(0.0, 1.0 / fraction.muladd(power, 1.0))


def tanh(x: Vector) -> Vector:
    """Compute the hyperbolic tangent from expm1(-2 |x|); return x where it equals tanh(x) to half an ulp."""
    largest = 20.0 if x.bits == 32 else 44.0
    n, r = _reduce(_clamp(-2.0 * abs(x), -largest, largest))
    power = (n + (BIAS[x.bits] << MANTISSA[x.bits])).as_floats()
    minus = _compute_expm1_near_0(r).muladd(power, power - 1.0)  # expm1(-2 |x|), between -1 and 0
    result = (-minus / (minus + 2.0)).intrinsic("copysign", x)
    return (abs(x) < NEARLY_LINEAR[x.bits]).where(x, result)


def log(x: Vector) -> Vector:
    """Compute the natural logarithm, which is -inf at 0 and NaN below."""
    places = MANTISSA[x.bits]
    smallest = 2.0 ** (2 - BIAS[x.bits])
    tiny = x < smallest
    scaled = tiny.where(x * 2.0**places, x)
    # The mantissa goes to between sqrt(1/2) and sqrt(2), the exponent follows.
    root = scaled.like(math.sqrt(0.5)).as_integers()
    offset = scaled.as_integers() - root
    k = (offset >> places).to_floats()
    f = ((offset & ((1 << places) - 1)) + root).as_floats() - 1.0
    k = k - tiny.where(scaled.like(float(places)), 0.0)
    s = f / (2.0 + f)
    square = s * s
    correction = square * square.polynomial(*LOG[x.bits])
    halved = 0.5 * f * f
    high, low = LN2[x.bits]
    rest = s.muladd(halved + correction, k * low)
    result = k.muladd(high, f - (halved - rest))
    result = x.compare("==", 0.0).where(-math.inf, result)
    result = (x < 0.0).where(math.nan, result)
    return (x.is_nan() | x.compare("==", math.inf)).where(x, result)


def log1p(x: Vector) -> Vector:
    """Compute log(1 + x) accurately near 0: the rounding error of 1 + x is corrected to first order."""
    total = 1.0 + x
    lost = ((total - 1.0) - x) / total
    result = log(total) - (abs(total).compare("==", 0.0) | total.is_infinite()).where(0.0, lost)
    return x.compare("==", 0.0).where(x, result)


def erf(x: Vector) -> Vector:
    """Compute the error function as 1 - exp(a polynomial) away from 0; in float64, call the C library's."""
    if x.bits == 64:
        return x.map_library_function("erf")
    size, square = abs(x), x * x
    near = x * (1.0 + square.polynomial(*ERF_NEAR))  # the sum first: x times less than 1 may be too small to be normal
    # Where size is beyond 4 the result is 1; the polynomial must not leave its way down.
    size = (size > 4.0).where(4.0, size)
    power, fraction = _factor_exp(size.muladd(size.polynomial(*ERF_FAR), -size))
    far = 1.0 - power * fraction
    return (abs(x) > 0.927734375).where(far.intrinsic("copysign", x), near)


def minimum(x: Vector, y: Vector) -> Vector:
    """Return the smaller operand, or NaN if one is NaN."""
    return ((x < y) | x.is_nan()).where(x, y)


def maximum(x: Vector, y: Vector) -> Vector:
    """Return the larger operand, or NaN if one is NaN."""
    return ((x > y) | x.is_nan()).where(x, y)


def sign(x: Vector) -> Vector:
    """Return 1, 0 or -1."""
    return (x > 0.0).where(1.0, (x < 0.0).where(-1.0, x.like(0.0)))


_FUNCTIONS: dict[str, Callable[..., Vector]] = {
    "abs": Vector.__abs__,
    "where": Vector.where,
    "muladd": Vector.muladd,
    **{f.__name__: f for f in (minimum, maximum, sign, exp, expm1, log, log1p, sigmoid, tanh, erf)},
}
_LIBRARY = {"round": "rint"}
"""LLVM's names of operations, where they differ from ours."""


def emit(op: str, *operands: Vector) -> Vector:
    """Write the instructions of an operation of the table, or of ``muladd``.

    An operation is a Python operator, a function of this module, or an intrinsic function of LLVM.
    """
    x, *others = operands
    row = OPERATIONS.get(op)
    if row is not None and row.sign is not None and row.is_boolean and not row.takes_booleans:
        return x.compare(row.sign, *others)
    if row is not None and row.method is not None:
        return row.method(*operands)
    return _FUNCTIONS[op](*operands) if op in _FUNCTIONS else x.intrinsic(_LIBRARY.get(op, op), *others)
