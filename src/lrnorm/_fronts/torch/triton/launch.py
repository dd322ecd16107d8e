"""The kernels for GPUs, in Triton.

    y[c] = x[c] * D[c]**-beta        D[c] = bias + scale * sum(x[j]**2 for j in c-before … c+after)

A program computes a tile of channels by pixels. Every sum is taken afresh from shifted loads, which
the caches serve; so no output depends on how the array is cut. A window of more than sixteen
channels is put together from sums of 16, 256, … channels that a first kernel leaves in a scratch
tensor: additions only, and as many loads as sixteen times the digits of the width.

Where D or a product cannot be trusted (it left the range, or is nan), the tile computes those
elements again with numbers kept as m * 2**e, and only those take the result.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from lrnorm._fronts.torch.triton.kernels import _kernel, _sums_kernel
from lrnorm._fronts.torch.triton.scaled import RADIX

__all__ = ["forward", "jvp", "parameters", "vjp"]

# Without fusion of multiplications and additions the bits depend on neither tile nor compiler.
_OPTIONS: dict[str, Any] = {"enable_fp_fusion": False}
_TORCH = {tl.float32: torch.float32, tl.float64: torch.float64}
_CHAINS = {0.25: "quarter", 0.5: "half", 0.75: "three quarters", 1.0: "one"}


class _Arithmetic(NamedTuple):
    """How D and its power are computed, and between which values D can be trusted."""

    power: str
    real: Any
    low: float
    high: float


def _arithmetic(
    verb: str, dtype: torch.dtype, scale: float, beta: float, bias: float, width: int
) -> _Arithmetic:
    """float32 where it keeps the promised accuracy, else float64, and the range of D for it."""
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

    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
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
