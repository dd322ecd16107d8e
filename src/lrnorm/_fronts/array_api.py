"""The front for CuPy and for any library of the array API standard (2023.12 or later): the formula
in the standard's own operations, on the device where the array lies.

    y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

Types of 16 and 32 bits are computed in float64 where the device has it, where no square and no
power of theirs leaves the range. Numbers that would leave it carry an exponent of their own.
`lrnorm.local_response_norm` comes here with such an array.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from lrnorm._fronts.scaled import Numbers, Plain, Scaled
from lrnorm._fronts.window_sums import window_sum
from lrnorm._spec.errors import KindError, OutputError, ParameterError, ShapeError
from lrnorm._spec.spec import LRNSpec, resolve_axis

__all__ = ["converted", "forward", "joined", "jvp", "ones_like", "parameter_gradients", "vjp"]

_FLOATS = ("float16", "bfloat16", "float32", "float64")


# Libraries


def _namespace(x: Any) -> Any:
    """The library of x. CuPy's own follows the standard as far as it is needed here, and does not
    say so."""
    follows = getattr(x, "__array_namespace__", None)
    return follows() if follows else sys.modules.get("cupy")


def _floating_dtypes(xp: Any, x: Any) -> tuple[bool, Any]:
    """Whether the device of x has float64, and the default type there. Libraries that do not tell
    are as NumPy."""
    inquire = getattr(xp, "__array_namespace_info__", None)
    if inquire is None:
        return True, xp.float64
    info, device = inquire(), x.device
    has_float64 = "float64" in info.dtypes(device=device, kind="real floating")
    return has_float64, info.default_dtypes(device=device)["real floating"]


# The formula


def _window_sum(v: Numbers, channels: int, before: int, after: int) -> Numbers:
    """The sum over the window of each channel."""
    kind = type(v)
    return window_sum(
        v.padded(before, after), channels, before + after + 1, kind.part, kind.__add__
    )


class _Terms:
    """What the verbs have in common, in the type they are computed in."""

    def __init__(self, spec: LRNSpec, axis: int, x: Any, other: Any = None) -> None:
        xp = _namespace(x)
        kind: Any = Plain if _stays_in_range(xp, spec, x, other) else Scaled.of
        working = xp.float64 if _floating_dtypes(xp, x)[0] else xp.float32
        if working == xp.float32:
            _check_numbers(spec, x)
        self.channels = x.shape[axis]
        last = max(self.channels - 1, 0)
        self.before, self.after = (min(end, last) for end in spec.ends(self.channels))
        self.x: Numbers = kind(xp, xp.astype(x, working, copy=False), axis)
        self.other: Numbers = (
            None if other is None else kind(xp, xp.astype(other, working, copy=False), axis)
        )
        self.spec = spec
        self.scale = self.x.number(spec.scale)
        self.squares = self.over_window(self.x * self.x)
        self.energy = self.squares * self.scale + self.x.number(spec.bias)
        self.halves = self.energy.halves_of_power(-spec.beta)

    def over_window(self, v: Numbers) -> Numbers:
        return _window_sum(v, self.channels, self.before, self.after)

    def over_mirrored(self, v: Numbers) -> Numbers:
        return _window_sum(v, self.channels, self.after, self.before)

    def divided(self, v: Numbers) -> Numbers:
        """v * D**-beta"""
        return v * self.halves[0] * self.halves[1]

    def steepened(self, v: Numbers) -> Numbers:
        """-2 scale beta v"""
        return v * self.x.number(-2.0) * self.x.number(self.spec.beta) * self.scale


def _check_numbers(spec: LRNSpec, x: Any) -> None:
    for name in ("scale", "bias"):
        number = getattr(spec, name)
        if number and not 2.0**-149 <= abs(number) < 2.0**128:
            raise ParameterError(
                f"{name} must be 0 or a number that float32 can hold where the device has no "
                f"float64, got {number!r} on {x.device}. Move x to another device."
            )


def _stays_in_range(xp: Any, spec: LRNSpec, *arrays: Any) -> bool:
    """Whether no intermediate number that counts can leave the range of the type computed in."""
    numbers = [abs(number) for number in (spec.scale, spec.bias) if number]
    if not _floating_dtypes(xp, arrays[0])[0]:
        return False
    wide = [v for v in arrays if v is not None and _name(v.dtype) == "float64"]
    bits = 30 if wide else 100
    return (
        abs(spec.beta) <= 3
        and all(2.0**-bits < number < 2.0**bits for number in numbers)
        and all(_lies_around_one(xp, v) for v in wide)
    )


def _lies_around_one(xp: Any, v: Any) -> bool:
    size = xp.abs(v)
    inside = (size < 2.0**60) & ((size > 2.0**-60) | (size == 0))
    try:
        return bool(xp.all(inside))
    except (TypeError, ValueError, NotImplementedError):  # a lazy array, whose values are not known
        return False


# Types


def _name(dtype: Any) -> str:
    """`float32` of a dtype that prints as `library.float32`, and of NumPy's class of that name."""
    return getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2]


def _called(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _floating(xp: Any, x: Any, name: str = "x") -> Any:
    """x, if it is of a type that is computed; integers and booleans in the default type of the
    library on that device, because the standard has no `x / 2` for them."""
    if _name(x.dtype) in _FLOATS:
        return x
    if xp.isdtype(x.dtype, ("bool", "integral")):
        return xp.astype(x, _floating_dtypes(xp, x)[1])
    raise KindError(
        f"{name} must hold float16, bfloat16, float32, float64, integers or booleans, "
        f"got {x.dtype}. "
        + (
            f"Normalize the real and the imaginary part, or abs({name}), as the model means."
            if xp.isdtype(x.dtype, "complex floating")
            else f"Convert it first, for example with astype({name}, float32)."
        )
    )


def _requested(xp: Any, x: Any, dtype: Any) -> Any:
    name = dtype if isinstance(dtype, str) else _name(dtype)
    wanted = getattr(xp, name, None) if name in _FLOATS else None
    if wanted is None:
        raise KindError(
            f"dtype must be a floating-point type of {xp.__name__}, or its name, got {dtype!r}. "
            "Use for example dtype='float32'."
        )
    if name == "float64" and not _floating_dtypes(xp, x)[0]:
        raise KindError(
            f"dtype must be a type that the device has, got {dtype!r} on {x.device}. "
            "Use dtype='float32'."
        )
    return wanted


def _check_is_of(xp: Any, value: Any, name: str) -> None:
    if _namespace(value) is not xp:
        raise KindError(
            f"{name} must be an array of {xp.__name__}, as x is, got {_called(type(value))}."
        )


def _check_out(xp: Any, out: Any, x: Any, dtype: Any) -> None:
    _check_is_of(xp, out, "out")
    if out.shape != x.shape or out.device != x.device:
        raise OutputError(
            f"out must have the shape and device of x, {x.shape} on {x.device}, "
            f"got {out.shape} on {out.device}."
        )
    if out.dtype != dtype:
        raise OutputError(f"out must have the dtype of the result, {dtype}, got {out.dtype}.")


# Verbs


@np.errstate(all="ignore")  # of libraries that stand on NumPy
def forward(
    x: Any, spec: LRNSpec, axis: int | None = None, *, dtype: Any = None, out: Any = None
) -> Any:
    """y[c] = x[c] * D[c]**-beta along `axis`; see `lrnorm.local_response_norm`.

    The library decides how the result lies in memory. `out` is written through
    ``out[...] = y`` when y is complete, so any overlap with x is harmless; a library whose arrays
    cannot be written to refuses it with an OutputError.
    """
    xp = _namespace(x)
    axis = resolve_axis(axis, x.ndim)
    x = _floating(xp, source := x)
    result = x.dtype if dtype is None else _requested(xp, x, dtype)
    if out is not None:
        _check_out(xp, out, source, result)
    terms = _Terms(spec, axis, x)
    y = xp.astype(terms.divided(terms.x).plain(), result, copy=False)
    if out is None:
        return y
    try:
        out[...] = y
    except (TypeError, ValueError) as error:
        raise OutputError(
            f"out must be writable, got an array of {xp.__name__} that is not: {error}. "
            "Leave it out for a new array."
        ) from error
    return out


def _terms_of_two(x: Any, other: Any, name: str, spec: LRNSpec, axis: int | None) -> _Terms:
    xp = _namespace(x)
    axis = resolve_axis(axis, x.ndim)
    _check_is_of(xp, other, name)
    if other.shape != x.shape:
        raise ShapeError(f"{name} must have the shape of x, {x.shape}, got {other.shape}.")
    if other.device != x.device:
        raise KindError(f"{name} must be on the device of x, {x.device}, got {other.device}.")
    return _Terms(spec, axis, _floating(xp, x), _floating(xp, other, name))


def _as(x: Any, result: Numbers) -> Any:
    xp = _namespace(x)
    return xp.astype(result.plain(), _floating(xp, x).dtype, copy=False)


@np.errstate(all="ignore")
def vjp(x: Any, g: Any, spec: LRNSpec, axis: int | None = None) -> Any:
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)), m over the
    mirrored window; see `lrnorm.local_response_norm_vjp`."""
    terms = _terms_of_two(x, g, "g", spec, axis)
    direct = terms.divided(terms.other)
    through = terms.over_mirrored(direct * (terms.x / terms.energy))
    return _as(x, direct + terms.steepened(terms.x) * through)


@np.errstate(all="ignore")
def jvp(x: Any, t: Any, spec: LRNSpec, axis: int | None = None) -> Any:
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j]); see
    `lrnorm.local_response_norm_jvp`."""
    terms = _terms_of_two(x, t, "t", spec, axis)
    along = terms.over_window(terms.x * terms.other)
    change = terms.steepened(terms.divided(terms.x)) * (along / terms.energy)
    return _as(x, terms.divided(terms.other) + change)


@np.errstate(all="ignore")
def parameter_gradients(x: Any, g: Any, spec: LRNSpec, axis: int | None = None) -> dict[str, Any]:
    """The derivatives of sum(g * y) by scale, beta and bias: arrays without axes, of float64 where
    the device has it."""
    terms = _terms_of_two(x, g, "g", spec, axis)
    xp = _namespace(x)
    share = terms.other * terms.divided(terms.x)
    by_energy = terms.x.number(-spec.beta) * (share / terms.energy)
    return {
        "scale": xp.sum((by_energy * terms.squares).plain()),
        "beta": -xp.sum(share.plain() * terms.energy.log()),
        "bias": xp.sum(by_energy.plain()),
    }


def converted(x: Any, dtype: str) -> Any:
    """x in the type of that name."""
    xp = _namespace(x)
    with np.errstate(all="ignore"):
        return xp.astype(x, _requested(xp, x, dtype), copy=False)


def ones_like(x: Any) -> Any:
    """Ones, of the shape, dtype and device of x."""
    return _namespace(x).ones_like(x)


def joined(pieces: Iterable[Any], like: Any) -> Any:
    """Pieces of a batch as one array."""
    return _namespace(like).concat(list(pieces), axis=0)
