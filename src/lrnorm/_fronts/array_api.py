"""The front for CuPy and for any library of the array API standard (2023.12 or later).

    y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

The formula is written in the standard's own operations and runs on the device of the array.
Dtypes of 16 and 32 bits are computed in float64 where the device has it: none of their squares
and powers leaves its range. Numbers that would leave the range carry an exponent of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from lrnorm._fronts.checks import (
    FLOATS,
    check_device,
    check_out_dtype,
    check_shape,
    wrong_dtype,
    wrong_kind,
    wrong_request,
)
from lrnorm._fronts.scaled import Numbers, Plain, Scaled
from lrnorm._fronts.window_sums import window_sum
from lrnorm._spec.errors import OutputError, ParameterError
from lrnorm._spec.spec import Axis, LRNSpec, Window, resolve_axes, window_in

__all__ = ["converted", "forward", "joined", "jvp", "ones_like", "parameter_gradients", "vjp"]


def _namespace(x: Any) -> Any:
    """The library of x. CuPy follows the standard as far as needed here, without the attribute."""
    follows = getattr(x, "__array_namespace__", None)
    return follows() if follows else sys.modules.get("cupy")


def _floating_dtypes(xp: Any, x: Any) -> tuple[bool, Any]:
    """True where the device of x has float64, and the default dtype there. A library that does not
    say is taken to be like NumPy."""
    inquire = getattr(xp, "__array_namespace_info__", None)
    if inquire is None:
        return True, xp.float64
    info, device = inquire(), x.device
    has_float64 = "float64" in info.dtypes(device=device, kind="real floating")
    return has_float64, info.default_dtypes(device=device)["real floating"]


# The formula


def _window_sum(v: Numbers, shape: Any, window: Window) -> Numbers:
    """The sum over the window of each element: along one axis after the other."""
    kind = type(v)
    for before, after, axis in zip(*window, strict=True):
        padded = v.along(axis).padded(before, after)
        v = window_sum(padded, shape[axis], before + after + 1, kind.part, kind.__add__)
    return v


class _Terms:
    """The terms that the verbs share, in the dtype they are computed in."""

    def __init__(self, spec: LRNSpec, axis: Axis, x: Any, other: Any = None) -> None:
        xp = _namespace(x)
        kind: Any = Plain if _stays_in_range(xp, spec, x, other) else Scaled.of
        working = xp.float64 if _floating_dtypes(xp, x)[0] else xp.float32
        if working == xp.float32:
            _check_numbers(spec, x)
        self.shape, self.window = x.shape, window_in(x.shape, spec, axis).within(x.shape)
        first = self.window.axes[0]
        self.x: Numbers = kind(xp, xp.astype(x, working, copy=False), first)
        self.other: Numbers = (
            None if other is None else kind(xp, xp.astype(other, working, copy=False), first)
        )
        self.spec = spec
        self.scale = self.x.number(spec.scale)
        self.squares = self.over_window(self.x * self.x)
        self.energy = self.squares * self.scale + self.x.number(spec.bias)
        self.halves = self.energy.halves_of_power(-spec.beta)

    def over_window(self, v: Numbers) -> Numbers:
        return _window_sum(v, self.shape, self.window)

    def over_mirrored(self, v: Numbers) -> Numbers:
        return _window_sum(v, self.shape, self.window.mirrored())

    def divided(self, v: Numbers) -> Numbers:
        """v * D**-beta"""
        return v * self.halves[0] * self.halves[1]

    def steepened(self, v: Numbers) -> Numbers:
        """-2 scale beta v"""
        return v * self.x.number(-2.0) * self.x.number(self.spec.beta) * self.scale


def _check_numbers(spec: LRNSpec, x: Any) -> None:
    """Refuse scale and bias that float32 does not hold, on a device without float64."""
    for name in ("scale", "bias"):
        number = getattr(spec, name)
        if number and not 2.0**-149 <= abs(number) < 2.0**128:
            rule = f"must be 0 or a number that float32 can hold, as {x.device} has no float64"
            raise ParameterError(name, rule, value=number, way_out="Move x to another device.")


def _stays_in_range(xp: Any, spec: LRNSpec, *arrays: Any) -> bool:
    """True where no intermediate number that matters can leave the range of the dtype."""
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
    """True where every size but 0 is between 2**-60 and 2**60: no square leaves float64."""
    size = xp.abs(v)
    inside = (size < 2.0**60) & ((size > 2.0**-60) | (size == 0))
    try:
        return bool(xp.all(inside))
    except (TypeError, ValueError, NotImplementedError):  # the values of a lazy array are unknown
        return False


# Types


def _name(dtype: Any) -> str:
    """`float32` of a dtype that prints as `library.float32`, and of NumPy's class of that name."""
    return getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2]


def _floating(xp: Any, x: Any, name: str = "x") -> Any:
    """x, if its dtype is computed; integers and booleans in the default dtype of the library on
    that device, because the standard has no `x / 2` for them."""
    if _name(x.dtype) in FLOATS:
        return x
    if xp.isdtype(x.dtype, ("bool", "integral")):
        return xp.astype(x, _floating_dtypes(xp, x)[1])
    is_complex = xp.isdtype(x.dtype, "complex floating")
    raise wrong_dtype(name, x.dtype, is_complex=is_complex, conversion=f"astype({name}, float32)")


def _requested(xp: Any, x: Any, dtype: Any) -> Any:
    name = dtype if isinstance(dtype, str) else _name(dtype)
    works, where = [each for each in FLOATS if hasattr(xp, each)], ""
    if not _floating_dtypes(xp, x)[0]:
        works.remove("float64")
        where = f" on {x.device}"
    if name not in works:
        raise wrong_request(dtype, works, where)
    return getattr(xp, name)


def _check_is_of(xp: Any, value: Any, name: str) -> None:
    if _namespace(value) is not xp:
        rule = f"must be an array of {xp.__name__}, as x is"
        raise wrong_kind(name, rule, value, "Convert it with the library's asarray first.")


# Verbs


@np.errstate(all="ignore")  # of libraries that stand on NumPy
def forward(x: Any, spec: LRNSpec, axis: Axis = None, *, dtype: Any = None, out: Any = None) -> Any:
    """y[c] = x[c] * D[c]**-beta along `axis`; see `lrnorm.local_response_norm`.

    The library decides how the result lies in memory. `out` is written through
    ``out[...] = y`` when y is complete, so any overlap with x is harmless; a library whose arrays
    cannot be written to refuses it with an OutputError.
    """
    xp = _namespace(x)
    resolve_axes(axis, x.ndim)  # before anything else is said of x
    x = _floating(xp, source := x)
    result = x.dtype if dtype is None else _requested(xp, x, dtype)
    if out is not None:
        _check_out(out, source, result)
    terms = _Terms(spec, axis, x)
    return _written(xp.astype(terms.divided(terms.x).plain(), result, copy=False), out)


def _check_out(out: Any, x: Any, result: Any) -> None:
    _check_is_of(_namespace(x), out, "out")
    check_shape(x, out, "out")
    check_device(x, out, "out")
    check_out_dtype(out, result)


def _written(y: Any, out: Any) -> Any:
    """y, or `out` with the values of y."""
    if out is None:
        return y
    try:
        out[...] = y
    except (TypeError, ValueError) as error:
        got = f"an array of {_namespace(y).__name__} that is not: {error}"
        way_out = "Leave it out for a new array."
        raise OutputError("out", "must be writable", got=got, way_out=way_out) from error
    return out


def _terms_of_two(
    x: Any, other: Any, name: str, spec: LRNSpec, axis: Axis, out: Any = None
) -> _Terms:
    xp = _namespace(x)
    resolve_axes(axis, x.ndim)  # before anything else is said of x
    _check_is_of(xp, other, name)
    check_shape(x, other, name)
    check_device(x, other, name)
    floats = _floating(xp, x), _floating(xp, other, name)
    if out is not None:
        _check_out(out, x, floats[0].dtype)
    return _Terms(spec, axis, *floats)


def _as(x: Any, result: Numbers) -> Any:
    xp = _namespace(x)
    return xp.astype(result.plain(), _floating(xp, x).dtype, copy=False)


@np.errstate(all="ignore")
def vjp(x: Any, g: Any, spec: LRNSpec, axis: Axis = None, *, out: Any = None) -> Any:
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)), m over the
    mirrored window; see `lrnorm.local_response_norm_vjp`."""
    terms = _terms_of_two(x, g, "g", spec, axis, out)
    direct = terms.divided(terms.other)
    through = terms.over_mirrored(direct * (terms.x / terms.energy))
    return _written(_as(x, direct + terms.steepened(terms.x) * through), out)


@np.errstate(all="ignore")
def jvp(x: Any, t: Any, spec: LRNSpec, axis: Axis = None, *, out: Any = None) -> Any:
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j]); see
    `lrnorm.local_response_norm_jvp`."""
    terms = _terms_of_two(x, t, "t", spec, axis, out)
    along = terms.over_window(terms.x * terms.other)
    change = terms.steepened(terms.divided(terms.x)) * (along / terms.energy)
    return _written(_as(x, terms.divided(terms.other) + change), out)


@np.errstate(all="ignore")
def parameter_gradients(x: Any, g: Any, spec: LRNSpec, axis: Axis = None) -> dict[str, Any]:
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
