"""The evolution of an EUNN as the source of kernels.

A kernel takes ``LANES`` samples through all of time. A coordinate is two rows of lanes: its real part, and its
imaginary part ``half`` bytes further. Outputs and their gradients are stored sample by sample, and are transposed in
blocks of as many rows as lanes; the last block may extend into padding. The backward kernel starts each step from W h,
which the forward kernel saved, and undoes one rotation after the other, which restores the intermediate values.

Names: ``k`` a coordinate, ``r`` a rotation of the coordinates a and b, ``w`` the second one after its phase ``e``;
``_re`` and ``_im`` parts; a ``g`` before a name its gradient; ``at`` is an address.
"""

from remanence._kernels.interleave import write_transpose
from remanence._kernels.kernel_source import HEAD, KernelSource
from remanence._kernels.source_text import fill_template
from remanence.ops.rotations.reference import SMALLEST

SIZES = ("size", "rotations", "time", "batch")
SHARED = ("pair_at", "rotation_at", "diagonal_at", "bias_at", "work_at", "drive_at", "turned_at")

_HEAD = """\
def {name}({arguments}):
    row = batch * SIZE
    width = LANES * SIZE
    half = size * width
    sample = time * 2 * size * SIZE
"""

_FORWARD = """\
    held = work_at + part * (2 * size + LANES) * width
    for unit in range(begin, end):
        offset = unit * width
        inside = first(batch - unit * LANES)
        for k in range(2 * size):
            store_full(held + k * width, load(state_at + k * row + offset, inside))
        for t in range(time):
            {reset}
            for r in range(rotations):
                {rotation}
                w_re = muladd(e_re, b_re, -(e_im * b_im))
                w_im = muladd(e_re, b_im, e_im * b_re)
                store_full(a, muladd(c, a_re, -(s * w_re)))
                store_full(a + half, muladd(c, a_im, -(s * w_im)))
                store_full(b, muladd(s, a_re, c * w_re))
                store_full(b + half, muladd(s, a_im, c * w_im))
            for k in range(size):
                {places}
                v_re = load_full(place)
                v_im = load_full(place + half)
                u_re = muladd(d_re, v_re, -(d_im * v_im))
                u_im = muladd(d_re, v_im, d_im * v_re)
                store(turned_at + re, u_re, inside)
                store(turned_at + im, u_im, inside)
                {modulus}
                factor = maximum(1.0 + ratio, 0.0)
                h_re = factor * z_re
                h_im = factor * z_im
                store_full(place, h_re)
                store_full(place + half, h_im)
            for k in range(0, 2 * size, LANES):
                begins = y_at + unit * LANES * sample + (t * 2 * size + k) * SIZE
                left = 2 * size - k
                {read}
                {transposed}
                {write}
"""

_BACKWARD = """\
    held = work_at + part * (4 * size + LANES) * width
    back = 2 * half  # gradients lie so far behind the values
    sums = sum_at + part * (rotations + size) * 2 * width
    sums_k = sums + rotations * 2 * width
    for unit in range(begin, end):
        offset = unit * width
        inside = first(batch - unit * LANES)
        for k in range(2 * size):
            store_full(held + back + k * width, load(gfinal_at + k * row + offset, inside))
        for i in range(time):
            t = time - 1 - i
            for k in range(0, 2 * size, LANES):
                begins = above_at + unit * LANES * sample + (t * 2 * size + k) * SIZE
                left = 2 * size - k
                {read}
                {transposed}
                {write}
            for k in range(size):
                {places}
                u_re = load(turned_at + re, inside)
                u_im = load(turned_at + im, inside)
                {modulus}
                gh_re = load_full(place + back)
                gh_im = load_full(place + back + half)
                factor = 1.0 + ratio
                passes = factor > 0.0
                along = muladd(gh_re, z_re, gh_im * z_im)
                pull = where(norm < SMALLEST, 0.0, along * ratio / square)
                gu_re = where(passes, muladd(factor, gh_re, -(pull * z_re)), 0.0)
                gu_im = where(passes, muladd(factor, gh_im, -(pull * z_im)), 0.0)
                store(grads_at + re, gu_re, inside)
                store(grads_at + im, gu_im, inside)
                sum_bias = sums_k + 2 * k * width
                sum_omega = sum_bias + width
                store_full(sum_bias, load_full(sum_bias) + where(passes, along / modulus, 0.0))
                store_full(sum_omega, muladd(gu_im, u_re, muladd(-gu_re, u_im, load_full(sum_omega))))
                store_full(place, muladd(d_re, u_re, d_im * u_im))
                store_full(place + half, muladd(d_re, u_im, -(d_im * u_re)))
                store_full(place + back, muladd(d_re, gu_re, d_im * gu_im))
                store_full(place + back + half, muladd(d_re, gu_im, -(d_im * gu_re)))
            for j in range(rotations):
                r = rotations - 1 - j
                {rotation}
                ga_re = load_full(a + back)
                ga_im = load_full(a + back + half)
                gb_re = load_full(b + back)
                gb_im = load_full(b + back + half)
                w_re = muladd(c, b_re, -(s * a_re))
                w_im = muladd(c, b_im, -(s * a_im))
                gw_re = muladd(c, gb_re, -(s * ga_re))
                gw_im = muladd(c, gb_im, -(s * ga_im))
                store_full(a, muladd(c, a_re, s * b_re))
                store_full(a + half, muladd(c, a_im, s * b_im))
                store_full(a + back, muladd(c, ga_re, s * gb_re))
                store_full(a + back + half, muladd(c, ga_im, s * gb_im))
                store_full(b, muladd(e_re, w_re, e_im * w_im))
                store_full(b + half, muladd(e_re, w_im, -(e_im * w_re)))
                store_full(b + back, muladd(e_re, gw_re, e_im * gw_im))
                store_full(b + back + half, muladd(e_re, gw_im, -(e_im * gw_re)))
                sum_theta = sums + 2 * r * width
                sum_phi = sum_theta + width
                towards = muladd(gb_re, a_re, muladd(gb_im, a_im, load_full(sum_theta)))
                store_full(sum_theta, muladd(-ga_re, b_re, muladd(-ga_im, b_im, towards)))
                store_full(sum_phi, muladd(gw_im, w_re, muladd(-gw_re, w_im, load_full(sum_phi))))
            {reset}
        for k in range(2 * size):
            store(gstate_at + k * row + offset, load_full(held + back + k * width), inside)
"""

_ROTATION = """\
a = held + integer(pair_at + 16 * r) * width
b = held + integer(pair_at + 16 * r + 8) * width
numbers = rotation_at + 4 * r * SIZE
c = broadcast(numbers)
s = broadcast(numbers + SIZE)
e_re = broadcast(numbers + 2 * SIZE)
e_im = broadcast(numbers + 3 * SIZE)
a_re = load_full(a)
a_im = load_full(a + half)
b_re = load_full(b)
b_im = load_full(b + half)
"""

_PLACES = """\
place = held + k * width
re = (t * 2 * size + k) * row + offset
im = re + size * row
d_re = broadcast(diagonal_at + 2 * k * SIZE)
d_im = broadcast(diagonal_at + 2 * k * SIZE + SIZE)
"""

_MODULUS = """\
z_re = u_re + load(drive_at + re, inside)
z_im = u_im + load(drive_at + im, inside)
norm = muladd(z_re, z_re, z_im * z_im)
square = maximum(norm, SMALLEST)
modulus = sqrt(square)
ratio = broadcast(bias_at + k * SIZE) / modulus
"""

_RESET_FORWARD = """\
anew = load(reset_at + t * row + offset, inside)
for k in range(2 * size):
    begun = load(first_at + k * row + offset, inside)
    store_full(held + k * width, where(anew != 0.0, begun, load_full(held + k * width)))
"""

_RESET_BACKWARD = """\
anew = load(reset_at + t * row + offset, inside)
for k in range(2 * size):
    place = held + back + k * width
    pulled = load_full(place)
    of_first = gfirst_at + k * row + offset
    store(of_first, load(of_first, inside) + where(anew != 0.0, pulled, 0.0), inside)
    store_full(place, where(anew != 0.0, 0.0, pulled))
"""


def forward(lanes: int, resets: bool) -> KernelSource:
    """Write the kernel from ``drive`` and ``state`` to ``y`` and ``turned``, which is W h before the drive is added.

    With ``resets`` it also takes where samples are reset, [time, batch], and the state that a reset restores.
    """
    read = [f"x{i} = load_full(held + (k + {i}) * width)" for i in range(lanes)]
    write = [f"store({_sample_address(i)}, x{i}, {_valid_mask(i)})" for i in range(lanes)]
    own = ("state_at", "y_at", *(("reset_at", "first_at") if resets else ()))
    return _write_kernel("forward", _FORWARD, lanes, read, write, _RESET_FORWARD if resets else "", *own)


def backward(lanes: int, resets: bool) -> KernelSource:
    """Write the kernel from ``above`` and ``gfinal``, gradients of the states over time and of the last, to ``grads``
    of the drive, ``gstate``, and sums for the parameters.

    The sums of a part are rows of lanes: for each rotation of θ and φ, then for each coordinate of b and ω. With
    ``resets`` it adds up ``gfirst``, the gradient of the state that a reset restores.
    """
    read = [f"x{i} = load({_sample_address(i)}, {_valid_mask(i)})" for i in range(lanes)]
    places = [f"held + back + (k + {i}) * width" for i in range(lanes)]
    write = [f"store_full({place}, load_full({place}) + x{i})" for i, place in enumerate(places)]
    own = ("above_at", "gfinal_at", "grads_at", "gstate_at", "sum_at", *(("reset_at", "gfirst_at") if resets else ()))
    return _write_kernel("backward", _BACKWARD, lanes, read, write, _RESET_BACKWARD if resets else "", *own)


def _sample_address(i: int) -> str:
    """Return the address of a block of a sample."""
    return f"begins + {i} * sample"


def _valid_mask(i: int) -> str:
    """Return the mask of the block; it is empty for samples beyond the last."""
    return f"first(left if unit * LANES + {i} < batch else 0)"


def _write_kernel(
    name: str, body: str, lanes: int, read: list[str], write: list[str], reset: str, *own: str
) -> KernelSource:
    arguments = (*HEAD, *SIZES, *SHARED, *own)
    parts = {"rotation": _ROTATION, "places": _PLACES, "modulus": _MODULUS, "transposed": write_transpose(lanes)}
    parts |= {"read": "\n".join(read), "write": "\n".join(write), "reset": reset}
    text = fill_template(_HEAD + body, name=name, arguments=", ".join(arguments), **parts)
    return KernelSource(text.replace("SMALLEST", repr(SMALLEST**2)), arguments)
