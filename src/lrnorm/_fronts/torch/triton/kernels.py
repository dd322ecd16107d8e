"""The kernels: one for every verb, and one for the sums that wide windows are put together from."""

# Constants of the compiler stand in capitals, as is the custom in Triton.
# Branches on them are taken when a kernel is compiled, and have to be written out.
# ruff: noqa: N803, SIM102, SIM300
# A kernel's arguments have types only when Triton compiles it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,assignment"

from __future__ import annotations

import triton
import triton.language as tl

from lrnorm._fronts.torch.triton.scaled import (
    _RADIX,
    _apart,
    _double,
    _exponential,
    _plus,
    _product,
    _read,
    _split,
    _term,
    _two_to,
    _windows,
)


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
