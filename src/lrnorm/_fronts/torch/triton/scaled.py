"""Numbers that leave the range of their type, and sums over windows, in Triton."""

# Constants of the compiler stand in capitals, as is the custom in Triton.
# Branches on them are taken when a kernel is compiled, and have to be written out.
# ruff: noqa: N803, RET505, SIM300
# A kernel's arguments have types only when Triton compiles it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,assignment"

from __future__ import annotations

import triton
import triton.language as tl

RADIX = 16
_RADIX = tl.constexpr(RADIX)
_MANTISSA = tl.constexpr((1 << 52) - 1)
_INFINITY = tl.constexpr(0x7FF << 52)
_ONE = tl.constexpr(1023 << 52)
_SIGN = tl.constexpr(-(1 << 63))
_UPPER_HALF = tl.constexpr(-(1 << 27))
# The exponent of a zero that is added to something: below all that can come up.
_FAR = tl.constexpr(-(1 << 20))
# Factors between 2**-350 and 2**350: a product of two of them and of powers of a trusted D stays
# in float64.
_LARGEST_FACTOR = tl.constexpr(2.0**350)
_SMALLEST_FACTOR = tl.constexpr(2.0**-350)


# Numbers as m * 2**e, in float64 and int32 ---------------------------------------------------


@triton.jit
def _double(bits):
    """Python's floats would arrive as float32, and a tensor of them would cost a copy to the
    device each call: their bits travel as an integer."""
    return bits.to(tl.int64).to(tl.float64, bitcast=True)


@triton.jit
def _two_to(n):
    """2**n, for n in -1022 … 1023."""
    return ((n.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)


@triton.jit
def _scaled(m, n):
    """m * 2**n, rounded once, for m not far from 1 and any n."""
    n = tl.minimum(tl.maximum(n, -3000), 3000)
    first = tl.minimum(tl.maximum(n, -1000), 1000)
    second = tl.minimum(tl.maximum(n - first, -1000), 1000)
    return m * _two_to(first) * _two_to(second) * _two_to(n - first - second)


@triton.jit
def _split(v):
    """(m, e) with v = m * 2**e and 1 <= |m| < 2; zero, infinities and nan are their own m."""
    small = tl.abs(v) < 2.0**-1000
    bits = tl.where(small, v * 2.0**200, v).to(tl.int64, bitcast=True)
    field = (bits >> 52) & 0x7FF
    ordinary = (field > 0) & (field < 0x7FF)
    m = ((bits & (_SIGN | _MANTISSA)) | _ONE).to(tl.float64, bitcast=True)
    e = field.to(tl.int32) - tl.where(small, 1223, 1023)
    return tl.where(ordinary, m, v), tl.where(ordinary, e, 0)


@triton.jit
def _total(am, ae, bm, be):
    """(am * 2**ae + bm * 2**be), again in two parts."""
    ae = tl.where(am == 0, _FAR, ae)
    be = tl.where(bm == 0, _FAR, be)
    top = tl.maximum(ae, be)
    return _scaled(am, ae - top) + _scaled(bm, be - top), top


@triton.jit
def _plus(sum, rest, term, EXACT: tl.constexpr):
    """sum + rest + term, with what the addition rounds off kept in rest where EXACT."""
    new = sum + term
    if EXACT:
        shift = new - sum
        rest += (sum - (new - shift)) + (term - shift)
    return new, rest


@triton.jit
def _exponential(m, e, beta):
    """(p, n) with (m * 2**e)**-beta = p * 2**n, for 1 <= m < 2.

    beta goes in two parts: the product of the upper one and e is exact, so its whole part can
    leave before anything is rounded."""
    upper = (beta.to(tl.int64, bitcast=True) & _UPPER_HALF).to(tl.float64, bitcast=True)
    power = e.to(tl.float64)
    coarse = tl.minimum(tl.maximum(-upper * power, -(2.0**40)), 2.0**40)
    whole = tl.floor(coarse + 0.5)
    fine = (coarse - whole) - ((beta - upper) * power + beta * tl.log2(m))
    fine = tl.minimum(tl.maximum(fine, -(2.0**40)), 2.0**40)
    more = tl.floor(fine + 0.5)
    n = tl.minimum(tl.maximum(whole + more, -9000.0), 9000.0)
    return tl.exp2(fine - more), n.to(tl.int32)


@triton.jit
def _power_apart(m, e, beta):
    """(p, n) with (m * 2**e)**-beta = p * 2**n for any m of _split, by IEEE's rules for pow."""
    size = tl.abs(m)
    p, n = _exponential(tl.where((size >= 1) & (size < 2), size, 1.0), e, beta)
    nan, inf = float("nan"), float("inf")
    at_zero = tl.where(beta > 0, inf, tl.where(beta < 0, 0.0, 1.0))
    at_infinity = tl.where(beta > 0, 0.0, tl.where(beta < 0, inf, 1.0))
    parity = tl.where(tl.floor(beta * 0.5) == beta * 0.5, 1.0, -1.0)
    below_zero = tl.where(tl.floor(beta) == beta, parity, nan)
    at_minus_infinity = tl.where(tl.floor(beta) == beta, parity, 1.0) * at_infinity
    p = tl.where(m < 0, p * below_zero, p)
    p = tl.where(m == inf, at_infinity, p)
    p = tl.where(m == -inf, at_minus_infinity, p)
    p = tl.where(m == 0, at_zero, p)
    return tl.where(m != m, tl.where(beta == 0, 1.0, nan), p), n


# Windows -------------------------------------------------------------------------------------


@triton.jit
def _product(v, w):
    """v * w in float64, or nan where the factors may take it out of there: what comes of it is
    not trusted."""
    p = v.to(tl.float64) * w.to(tl.float64)
    if v.dtype == tl.float64:
        low = tl.minimum(tl.abs(v), tl.abs(w))
        high = tl.maximum(tl.abs(v), tl.abs(w))
        fits = (low >= _SMALLEST_FACTOR) & (high <= _LARGEST_FACTOR)
        p = tl.where(fits | (low == 0) & (high <= _LARGEST_FACTOR), p, float("nan"))
    return p


@triton.jit
def _read(a, step, place, channels, inside, INDEX: tl.constexpr):
    """Zero outside the axis."""
    there = inside & (place >= 0) & (place < channels)
    return tl.load(a + place.to(INDEX) * step, mask=there, other=0.0)


@triton.jit
def _term(
    a, b, a_step, b_step, place, channels, inside,
    KIND: tl.constexpr, REAL: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """What is summed, at one place of the window."""
    v = _read(a, a_step, place, channels, inside, INDEX)
    if KIND == "squares":
        v = v.to(REAL) * v.to(REAL)
    if KIND == "products":
        v = _product(v, _read(b, b_step, place, channels, inside, INDEX))
    return v


@triton.jit
def _windows(
    a, b, a_step, b_step, sums, sums_step, level_step, channel, channels, inside,
    BEFORE: tl.constexpr, AFTER: tl.constexpr, DIGITS: tl.constexpr, ROWS: tl.constexpr,
    KIND: tl.constexpr, REAL: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """The sums over c-BEFORE … c+AFTER for c = channel, channel + 1, … ROWS of them.

    A window takes as many of the largest sums in scratch as fit, then smaller ones, then single
    terms, as the DIGITS of its width say. Each term is read once. Two sums side by side halve the
    roundings."""
    EXACT: tl.constexpr = REAL == tl.float64 and KIND == "squares" and BEFORE + AFTER >= 5
    first = channel - BEFORE + (BEFORE + AFTER + 1 - DIGITS[0])
    terms = ()
    for k in tl.static_range(ROWS - 1 + DIGITS[0]):
        term = _term(a, b, a_step, b_step, first + k, channels, inside, KIND, REAL, INDEX)
        terms = terms + (term,)  # noqa: RUF005
    totals = ()
    for row in tl.static_range(ROWS):
        even = tl.zeros(inside.shape, REAL)
        odd = tl.zeros(inside.shape, REAL)
        rest = tl.zeros(inside.shape, REAL)
        place = channel - BEFORE + row
        for down in tl.static_range(len(DIGITS) - 1):
            LEVEL: tl.constexpr = len(DIGITS) - 1 - down
            for _ in tl.static_range(DIGITS[LEVEL]):
                block = sums + (LEVEL - 1) * level_step + place.to(INDEX) * sums_step
                term = tl.load(block, mask=inside & (place < channels), other=0.0)
                even, rest = _plus(even, rest, term, EXACT)
                place += _RADIX**LEVEL
        for k in tl.static_range(DIGITS[0]):
            if EXACT or k % 2 == 0:
                even, rest = _plus(even, rest, terms[row + k], EXACT)
            else:
                odd += terms[row + k]
        totals = totals + (even + (odd + rest),)  # noqa: RUF005
    return totals


@triton.jit
def _window_apart(
    x, step, channel, channels, inside, BEFORE: tl.constexpr, AFTER: tl.constexpr,
    INDEX: tl.constexpr,
):  # fmt: skip
    """(s, e) with sum(x**2) = s * 2**e: the squares are taken of x divided by the largest power
    of two in the window."""
    top = tl.zeros(inside.shape, tl.int64)
    for k in range(-BEFORE, AFTER + 1):
        v = _read(x, step, channel + k, channels, inside, INDEX).to(tl.float64)
        bits = tl.abs(v).to(tl.int64, bitcast=True)
        top = tl.maximum(top, tl.where(bits < _INFINITY, bits, 0))
    e = (top >> 52).to(tl.int32) - 1023
    total = tl.zeros(inside.shape, tl.float64)
    rest = tl.zeros(inside.shape, tl.float64)
    for k in range(-BEFORE, AFTER + 1):
        v = _read(x, step, channel + k, channels, inside, INDEX).to(tl.float64)
        v = _scaled(v, -e)
        total, rest = _plus(total, rest, v * v, True)
    # After an infinite term the rest is nan, and the sum is what counts.
    return tl.where(rest == rest, total + rest, total), 2 * e


@triton.jit
def _energy_apart(total, e, scale, bias):
    """(m, e) of D."""
    scale_m, scale_e = _split(scale)
    bias_m, bias_e = _split(bias)
    m, e = _total(scale_m * total, e + scale_e, bias_m, bias_e)
    m, more = _split(m)
    return m, e + more


@triton.jit
def _product_apart(m, e, x, v, p, n):
    """m * 2**e + x * v * p * 2**n, in two parts."""
    x_m, x_e = _split(x.to(tl.float64))
    v_m, v_e = _split(v.to(tl.float64))
    return _total(m, e, x_m * v_m * p, x_e + v_e + n)


@triton.jit
def _apart(
    x, v, x_step, v_step, channel, channels, inside, scale, beta, bias,
    BEFORE: tl.constexpr, AFTER: tl.constexpr, VERB: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """The result of VERB with every number in two parts: right for any input, and slow."""
    here = _read(x, x_step, channel, channels, inside, INDEX)
    mine = _read(v, v_step, channel, channels, inside, INDEX)
    s, s_e = _window_apart(x, x_step, channel, channels, inside, BEFORE, AFTER, INDEX)
    D, D_e = _energy_apart(s, s_e, scale, bias)
    p, n = _power_apart(D, D_e, beta)
    x_m, x_e = _split(here.to(tl.float64))
    v_m, v_e = _split(mine.to(tl.float64))
    m, e = v_m * p, v_e + n
    if VERB == "parameters":
        m, e = m * x_m, e + x_e
        ln = tl.log(D) + D_e.to(tl.float64) * 0.6931471805599453
        by_scale = _scaled(m / D * s, e - D_e + s_e)
        return by_scale, _scaled(m * ln, e), _scaled(m / D, e - D_e)
    else:
        along = tl.zeros(inside.shape, tl.float64)
        along_e = tl.zeros(inside.shape, tl.int32)
        if VERB == "vjp":
            for k in range(-AFTER, BEFORE + 1):
                j = channel + k
                there = inside & (j >= 0) & (j < channels)
                s, s_e = _window_apart(x, x_step, j, channels, there, BEFORE, AFTER, INDEX)
                D, D_e = _energy_apart(s, s_e, scale, bias)
                p, n = _power_apart(D, D_e, beta)
                a = _read(x, x_step, j, channels, inside, INDEX)
                b = _read(v, v_step, j, channels, inside, INDEX)
                slope = tl.where(there, p / D, 0.0)
                along, along_e = _product_apart(along, along_e, a, b, slope, n - D_e)
        if VERB == "jvp":
            for k in range(-BEFORE, AFTER + 1):
                a = _read(x, x_step, channel + k, channels, inside, INDEX)
                b = _read(v, v_step, channel + k, channels, inside, INDEX)
                along, along_e = _product_apart(along, along_e, a, b, 1.0, 0)
            along, along_e = along * (p / D), along_e + (n - D_e)
        if VERB != "forward":
            factor, factor_e = _split(scale)
            factor *= -2.0 * beta
            m, e = _total(m, e, factor * x_m * along, factor_e + x_e + along_e)
        return _scaled(m, e)
