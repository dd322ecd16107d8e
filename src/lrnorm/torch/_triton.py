"""The kernels for GPUs, in Triton.

    y[c] = x[c] * D[c]**-beta        D[c] = bias + scale * sum(x[j]**2 for j in c-before … c+after)

A program computes a tile of channels by pixels. Every sum is taken afresh from shifted loads, which
the caches serve; so no output depends on how the array is cut. A window of more than sixteen
channels is put together from sums of 16, 256, … channels that a first kernel leaves in a scratch
tensor: additions only, and as many loads as sixteen times the digits of the width.

Where D or a product cannot be trusted (it left the range, or is nan), the tile computes those
elements again with numbers kept as m * 2**e, and only those take the result.
"""

# Constants of the compiler stand in capitals, as is the custom in Triton.
# Branches on them are taken when a kernel is compiled, and have to be written out.
# ruff: noqa: N803, RET505, SIM102, SIM300
# A kernel's arguments have types only when Triton compiles it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,assignment"

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

__all__ = ["forward", "jvp", "parameters", "vjp"]

RADIX = 16
_RADIX = tl.constexpr(RADIX)
# Without fusion of multiplications and additions the bits depend on neither tile nor compiler.
_OPTIONS: dict[str, Any] = {"enable_fp_fusion": False}
_TORCH = {tl.float32: torch.float32, tl.float64: torch.float64}
_CHAINS = {0.25: "quarter", 0.5: "half", 0.75: "three quarters", 1.0: "one"}
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


# Kernels -------------------------------------------------------------------------------------


@triton.jit
def _place(
    channels, pixels, ROWS: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr, INDEX: tl.constexpr
):
    """This program's batch entry, first channel and first pixel. Neighbours in channels run side
    by side: the rows they share are in the cache."""
    program = tl.program_id(0)
    blocks = tl.cdiv(channels, ROWS * BC)
    channel = (program % blocks) * (ROWS * BC)
    program = program // blocks
    blocks = tl.cdiv(pixels, BP).to(tl.int32)
    return (program // blocks).to(tl.int64), channel, (program % blocks).to(INDEX) * BP


@triton.jit
def _sums_kernel(
    a, b, sums, channels, lead, pixels, a_steps, b_steps, sums_steps,
    LEVEL: tl.constexpr, KIND: tl.constexpr, REAL: tl.constexpr,
    BC: tl.constexpr, BP: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """sums[LEVEL, c] = the sum of 16**(LEVEL+1) terms from channel c on, for c from -lead."""
    batch, row, pixel = _place(channels + lead, pixels, 1, BC, BP, INDEX)
    row += tl.arange(0, BC)[:, None]
    pixel += tl.arange(0, BP)[None, :]
    inside = (row < channels + lead) & (pixel < pixels)
    a += batch * a_steps[0] + pixel * a_steps[2]
    b += batch * b_steps[0] + pixel * b_steps[2]
    sums += batch * sums_steps[0] + pixel * sums_steps[2]
    EXACT: tl.constexpr = REAL == tl.float64 and KIND == "squares"
    total = tl.zeros((BC, BP), REAL)
    rest = tl.zeros((BC, BP), REAL)
    for k in tl.static_range(_RADIX):
        place = row - lead + k * _RADIX**LEVEL
        if LEVEL == 0:
            term = _term(a, b, a_steps[1], b_steps[1], place, channels, inside, KIND, REAL, INDEX)
        else:
            block = sums + (LEVEL - 1) * sums_steps[3]
            at = (place + lead).to(INDEX)
            there = inside & (place < channels)
            term = tl.load(block + at * sums_steps[1], mask=there, other=0.0)
        total, rest = _plus(total, rest, term, EXACT)
    target = sums + LEVEL * sums_steps[3] + row.to(INDEX) * sums_steps[1]
    tl.store(target, total + rest, mask=inside)


@triton.jit
def _power(D, beta, POWER: tl.constexpr, SHORT: tl.constexpr):
    """D**-beta for a D that can be trusted. SHORT: what comes of it is rounded to 16 bits."""
    if D.dtype == tl.float64:
        if POWER == "any":
            m, e = _split(D)
            power, n = _exponential(m, e, beta)
            # A D that is not trusted may give any n here; what comes of it is not used.
            power *= _two_to(tl.minimum(tl.maximum(n, -1000), 1000))
        elif POWER == "one":
            power = 1.0 / D
        elif POWER == "half":
            power = 1.0 / tl.sqrt(D)
        elif POWER == "quarter":
            power = 1.0 / tl.sqrt(tl.sqrt(D))
        else:
            root = tl.sqrt(D)
            power = 1.0 / (root * tl.sqrt(root))
    elif POWER == "any":
        power = tl.exp2(-beta.to(tl.float32) * tl.log2(D))
    elif SHORT:
        r = tl.rsqrt(D)
        if POWER == "one":
            power = r * r
        elif POWER == "half":
            power = r
        elif POWER == "quarter":
            power = tl.sqrt(r)
        else:
            power = r * tl.sqrt(r)
    elif POWER == "one":
        power = tl.div_rn(1.0, D)
    else:
        r = tl.rsqrt(D)
        r = tl.fma(0.5 * r, tl.fma(-(D * r), r, 1.0), r)  # two units off before, one after
        if POWER == "half":
            power = r
        elif POWER == "quarter":
            power = tl.sqrt_rn(r)
        else:
            power = r * tl.sqrt_rn(r)
    return power


@triton.jit
def _mend(
    x, v, y, x_steps, v_steps, y_steps, first_channel, first_pixel, channels, pixels,
    scale, beta, bias, BEFORE: tl.constexpr, AFTER: tl.constexpr, VERB: tl.constexpr,
    BC: tl.constexpr, BP: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Computes the elements of a tile of y that are nan apart. It goes in slices of one channel or
    one pixel, whichever are fewer: the common way needs the registers."""
    for k in range(BC if BC <= BP else BP):
        if BC <= BP:
            channel = first_channel + k + tl.zeros((1, 1), tl.int32)
            pixel = first_pixel + tl.arange(0, BP)[None, :]
        else:
            channel = first_channel + tl.arange(0, BC)[:, None]
            pixel = first_pixel + k + tl.zeros((1, 1), INDEX)
        inside = (channel < channels) & (pixel < pixels)
        target = y + pixel * y_steps[2] + channel.to(INDEX) * y_steps[1]
        # As float32, for not everything that runs this compares bfloat16.
        old = tl.load(target, mask=inside, other=0.0).to(tl.float32)
        result = _apart(
            x + pixel * x_steps[2], v + pixel * v_steps[2], x_steps[1], v_steps[1],
            channel, channels, inside, scale, beta, bias, BEFORE, AFTER, VERB, INDEX,
        )  # fmt: skip
        if y.dtype.element_ty != tl.float64:
            result = result.to(tl.float32)
        tl.store(target, result.to(y.dtype.element_ty), mask=inside & (old != old))


@triton.jit
def _kernel(
    x, v, y, squares, others, through, channels, lead, pixels,
    x_steps, v_steps, y_steps, sums_steps,
    scale_bits, beta_bits, bias_bits, low_bits, high_bits,
    BEFORE: tl.constexpr, AFTER: tl.constexpr, DIGITS: tl.constexpr, VERB: tl.constexpr,
    POWER: tl.constexpr, REAL: tl.constexpr,
    ROWS: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """One tile of y; of a program's sums for "parameters". v is what is multiplied by D**-beta:
    x itself, g or t. "through" is the first half of vjp, g * x * D**(-beta-1), which the second
    sums. An element that cannot be trusted is nan, and those of y are computed again, apart."""
    scale, beta, bias = _double(scale_bits), _double(beta_bits), _double(bias_bits)
    low, high = _double(low_bits).to(REAL), _double(high_bits).to(REAL)
    batch, first_channel, first_pixel = _place(channels, pixels, ROWS, BC, BP, INDEX)
    channel = first_channel + tl.arange(0, BC)[:, None]
    pixel = first_pixel + tl.arange(0, BP)[None, :]
    SHORT: tl.constexpr = x.dtype.element_ty.primitive_bitwidth == 16
    x += batch * x_steps[0]
    v += batch * v_steps[0]
    y += batch * y_steps[0]
    x_tile = x + pixel * x_steps[2]
    v_tile = v + pixel * v_steps[2]
    y_tile = y + pixel * y_steps[2]
    scratch = batch * sums_steps[0] + pixel * sums_steps[2] + lead * sums_steps[1]
    inside = (channel >= 0) & (pixel < pixels)

    totals = _windows(
        x_tile, x_tile, x_steps[1], x_steps[1], squares + scratch, sums_steps[1], sums_steps[3],
        channel, channels, inside, BEFORE, AFTER, DIGITS, ROWS, "squares", REAL, INDEX,
    )  # fmt: skip
    if VERB == "vjp":
        alongs = _windows(
            through + scratch, through + scratch, sums_steps[1], sums_steps[1], others + scratch,
            sums_steps[1], sums_steps[3], channel, channels, inside,
            AFTER, BEFORE, DIGITS, ROWS, "values", tl.float64, INDEX,
        )  # fmt: skip
    if VERB == "jvp":
        alongs = _windows(
            x_tile, v_tile, x_steps[1], v_steps[1], others + scratch, sums_steps[1],
            sums_steps[3], channel, channels, inside,
            BEFORE, AFTER, DIGITS, ROWS, "products", tl.float64, INDEX,
        )  # fmt: skip
    rare = tl.zeros((BC, BP), tl.int32)
    for row in tl.static_range(ROWS):
        c = channel + row
        D = tl.fma(totals[row], scale.to(REAL), bias.to(REAL))
        trusted = (D >= low) & (D <= high)
        power = _power(D, beta, POWER, SHORT)
        mine = _read(v_tile, v_steps[1], c, channels, inside, INDEX)
        if VERB == "forward":
            result = mine.to(REAL) * power
        else:
            here = _read(x_tile, x_steps[1], c, channels, inside, INDEX)
            direct = mine.to(tl.float64) * power.to(tl.float64)
            slope = power.to(tl.float64) * (1.0 / D).to(tl.float64)
            if VERB == "vjp":
                result = direct - (2.0 * scale * beta) * here.to(tl.float64) * alongs[row]
            elif VERB == "jvp":
                slope *= 2.0 * scale * beta
                result = direct - slope * here.to(tl.float64) * alongs[row]
            else:
                result = _product(mine, here) * slope
        there = inside & (c < channels)
        if VERB == "parameters":
            by_scale = result * totals[row]
            by_beta = _product(mine, here) * power * tl.log(D)
            trusted = trusted & (result == result)
            rare = (there & (trusted == 0)).to(tl.int32)
        else:
            result = tl.where(trusted, result, float("nan"))
            if VERB != "through":
                rare |= (there & (result != result)).to(tl.int32)
                if SHORT:
                    result = result.to(tl.float32)
            target = y_tile + c.to(INDEX) * y_steps[1]
            tl.store(target, result.to(y.dtype.element_ty), mask=there)

    if VERB != "through":
        if tl.max(tl.max(rare, 1), 0) != 0:
            if VERB == "parameters":
                a, b, d = _apart(
                    x_tile, v_tile, x_steps[1], v_steps[1], channel, channels, inside,
                    scale, beta, bias, BEFORE, AFTER, VERB, INDEX,
                )  # fmt: skip
                by_scale = tl.where(rare != 0, a, by_scale)
                by_beta = tl.where(rare != 0, b, by_beta)
                result = tl.where(rare != 0, d, result)
            else:
                tl.debug_barrier()
                _mend(
                    x, v, y, x_steps, v_steps, y_steps, first_channel, first_pixel, channels,
                    pixels, scale, beta, bias, BEFORE, AFTER, VERB, ROWS * BC, BP, INDEX,
                )  # fmt: skip

    if VERB == "parameters":
        y += tl.program_id(0).to(tl.int64) * 3
        there = inside & (channel < channels)
        tl.store(y, -beta * tl.sum(tl.sum(tl.where(there, by_scale, 0.0), 1), 0))
        tl.store(y + 1, -tl.sum(tl.sum(tl.where(there, by_beta, 0.0), 1), 0))
        tl.store(y + 2, -beta * tl.sum(tl.sum(tl.where(there, result, 0.0), 1), 0))


# The host's side ------------------------------------------------------------------------------


class _Arithmetic(NamedTuple):
    """How D and its power are computed, and between which values D can be trusted."""

    power: str
    real: Any
    low: float
    high: float


def _arithmetic(
    verb: str, dtype: torch.dtype, scale: float, beta: float, bias: float, width: int
) -> _Arithmetic:
    power = _CHAINS.get(beta, "any")
    # float32 has to hold scale and bias, and the promised accuracy after so many additions and a
    # power that multiplies their errors.
    narrow = {
        torch.float32: power != "any" and width <= 5,
        torch.float64: False,
    }.get(dtype, abs(beta) <= 4 and width * max(1.0, abs(beta)) <= 1024)
    held = all(v == 0 or 2.0**-100 <= abs(v) <= 2.0**100 for v in (scale, bias))
    if narrow and held and verb != "parameters":
        limit = 100 / max(1.0, abs(beta))
        low = max(2.0**-limit, abs(scale) * 2.0**-95)  # what squares below 2**-126 lose
        return _Arithmetic(power, tl.float32, low, 2.0**limit)
    limit = 300 / (abs(beta) + 1)
    low = max(2.0**-limit, abs(scale) * 2.0**-960)
    # Outside of these the products with scale and beta leave the range before anything else does.
    if verb != "forward" and not (2.0**-200 <= abs(scale) <= 2.0**200 and abs(beta) <= 2.0**200):
        low = float("inf")
    return _Arithmetic(power, tl.float64, low, 2.0**limit)


class _Walk(NamedTuple):
    """Sizes and, for each operand, the steps of (batch, channels, pixels)."""

    batch: int
    channels: int
    pixels: int
    steps: list[tuple[int, int, int]]


def _walk(operands: list[torch.Tensor], axis: int) -> _Walk | None:
    """The axes beside the channels, merged where all operands allow it, if two are enough."""
    shape, strides = operands[0].shape, [a.stride() for a in operands]
    others = [i for i in range(len(shape)) if i != axis and shape[i] > 1]
    others.sort(key=lambda i: strides[-1][i], reverse=True)
    merged: list[tuple[int, list[int]]] = []
    for i in others:
        size, steps = shape[i], [s[i] for s in strides]
        if merged and merged[-1][1] == [step * size for step in steps]:
            size *= merged.pop()[0]
        merged.append((size, steps))
    if len(merged) > 2:
        return None
    zero = [0] * len(operands)
    (batch, outer), (pixels, inner) = [*[(1, zero)] * (2 - len(merged)), *merged]
    along = [s[axis] for s in strides]
    return _Walk(batch, shape[axis], pixels, list(zip(outer, along, inner, strict=True)))


def _bits(value: float) -> int:
    return int(struct.unpack("q", struct.pack("d", value))[0])


def _digits(width: int) -> tuple[int, ...]:
    """How many single terms, sums of 16, of 256, … make a window. Up to 16 terms
    are taken singly."""
    digits = [width]
    while digits[-1] > RADIX:
        rest, last = divmod(digits.pop(), RADIX)
        digits += [last, rest]
    return tuple(digits)


def _tile(
    rows: int, pixels: int, batch: int, channels_last: bool, size: int, ring: bool
) -> tuple[dict[str, int], int]:
    """What a program takes: ROWS times BC channels by BP pixels, and how many programs that makes.
    What lies together in memory comes first. No result depends on it."""
    height, across = triton.next_power_of_2(rows), triton.next_power_of_2(pixels)
    down = 1
    if ring and not channels_last and across >= 128:
        # Rows of pixels, each read once for all the windows it is in; small ones where otherwise
        # processors would have none.
        down, across = (8, min(across, size // 8)) if rows * pixels * batch >= 2**21 else (4, 128)
        height = 1
    elif channels_last:
        across = min(across, size // min(height, 128))
        height = min(height, size // across)
    else:
        height = min(height, size // min(across, 256))
        across = min(across, size // height)
    programs = batch * triton.cdiv(rows, down * height) * triton.cdiv(pixels, across)
    return {"ROWS": down, "BC": height, "BP": across}, programs


def _run(
    verb: str, x: torch.Tensor, v: torch.Tensor, scale: float, beta: float, bias: float,
    before: int, after: int, axis: int,
) -> torch.Tensor:  # fmt: skip
    """Launches what `verb` takes: sums for a wide window, the first half of vjp, the result."""
    total = verb == "parameters"
    if x.numel() == 0:
        return x.new_zeros(3, dtype=torch.float64) if total else torch.empty_like(x)
    result = x if total else torch.empty_like(x)
    y = result
    walk = _walk([x, v, y], axis)
    if walk is None:
        x, v, y = x.contiguous(), v.contiguous(), y.contiguous()
        walk = _walk([x, v, y], axis)
        assert walk is not None
    batch, channels, pixels, (x_steps, v_steps, y_steps) = walk
    before, after = min(before, channels - 1), min(after, channels - 1)
    width = before + after + 1
    power, real, low, high = _arithmetic(verb, x.dtype, scale, beta, bias, width)
    digits = _digits(width)
    levels = len(digits) - 1
    lead = max(before, after) if levels else 0
    rows = channels + lead
    channels_last = pixels == 1 or x_steps[1] < x_steps[2]
    if channels_last:
        sums_steps = (pixels * rows, 1, rows, batch * pixels * rows)
    else:
        sums_steps = (pixels * rows, pixels, 1, batch * pixels * rows)
    reach = max(abs(s[1]) * rows + abs(s[2]) * pixels for s in (x_steps, v_steps, y_steps))
    large = max(reach, rows * pixels * max(levels, 1)) >= 2**31
    index = tl.int64 if large else tl.int32

    def scratch(kind: Any, count: int) -> torch.Tensor:
        return x.new_empty(count * batch * rows * pixels, dtype=kind)

    def sums(kind: str, real: Any, a: Any, a_steps: Any, b: Any, b_steps: Any) -> torch.Tensor:
        if not levels:
            return x  # not read
        target = scratch(_TORCH[real], levels)
        tile, programs = _tile(rows, pixels, batch, channels_last, 1024, False)
        for level in range(levels):
            _sums_kernel[(programs,)](
                a, b, target, channels, lead, pixels, a_steps, b_steps, sums_steps,
                LEVEL=level, KIND=kind, REAL=real, BC=tile["BC"], BP=tile["BP"], INDEX=index,
                **_OPTIONS,
            )  # fmt: skip
        return target

    numbers = [_bits(value) for value in (scale, beta, bias, low, high)]
    light = verb == "forward" and x.itemsize < 8
    tile, programs = _tile(
        channels, pixels, batch, channels_last,
        512 if total else (2048 if channels_last else 4096) if light else 1024,
        not total and not levels,
    )  # fmt: skip

    def launch(verb: str, y: Any, y_steps: Any, others: Any = x, through: Any = x) -> None:
        _kernel[(programs,)](
            x, v, y, squares, others, through, channels, lead, pixels,
            x_steps, v_steps, y_steps, sums_steps, *numbers,
            BEFORE=before, AFTER=after, DIGITS=digits, VERB=verb, POWER=power, REAL=real,
            INDEX=index, **tile, **_OPTIONS,
        )  # fmt: skip

    with torch.cuda.device_of(x):
        squares = sums("squares", real, x, x_steps, x, x_steps)
        if total:
            parts = x.new_empty((programs, 3), dtype=torch.float64)
            launch(verb, parts, (0, 0, 0))
            return parts.sum(0)
        if verb == "vjp":
            through = scratch(torch.float64, 1)
            launch("through", through[lead * sums_steps[1] :], sums_steps[:3])
            steps = sums_steps[:3]
            others = sums("values", tl.float64, through[lead * sums_steps[1] :], steps, x, x_steps)
            launch(verb, y, y_steps, others, through)
        elif verb == "jvp":
            launch(verb, y, y_steps, sums("products", tl.float64, x, x_steps, v, v_steps))
        else:
            launch(verb, y, y_steps)
    return result if y is result else result.copy_(y)


def forward(
    x: torch.Tensor, scale: float, beta: float, bias: float, before: int, after: int, axis: int
) -> torch.Tensor:
    """y[c] = x[c] * D[c]**-beta, in the memory format of x."""
    return _run("forward", x, x, scale, beta, bias, before, after, axis)


def vjp(
    x: torch.Tensor, g: torch.Tensor,
    scale: float, beta: float, bias: float, before: int, after: int, axis: int,
) -> torch.Tensor:  # fmt: skip
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)), m over the
    mirrored window. Where no energy enters, for scale or beta 0, there is no second term."""
    verb = "vjp" if scale * beta != 0 else "forward"
    return _run(verb, x, g, scale, beta, bias, before, after, axis)


def jvp(
    x: torch.Tensor, t: torch.Tensor,
    scale: float, beta: float, bias: float, before: int, after: int, axis: int,
) -> torch.Tensor:  # fmt: skip
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j])."""
    verb = "jvp" if scale * beta != 0 else "forward"
    return _run(verb, x, t, scale, beta, bias, before, after, axis)


def parameters(
    x: torch.Tensor, g: torch.Tensor,
    scale: float, beta: float, bias: float, before: int, after: int, axis: int,
) -> torch.Tensor:  # fmt: skip
    """The derivatives of sum(g * y) by scale, beta and bias: each program's sums in float64,
    then the sum of those, in an order that depends on shape and layout alone."""
    return _run("parameters", x, g, scale, beta, bias, before, after, axis)
