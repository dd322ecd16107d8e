"""The NumPy front: arrays to and from the compiled core.

    y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

It takes an LRNSpec, never separate numbers; `lrnorm.local_response_norm` reads keywords.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lrnorm._fronts import config
from lrnorm._fronts.bfloat16 import bfloat16, has_bfloat16, loaded_bfloat16
from lrnorm._fronts.checks import (
    FLOATS,
    check_out_dtype,
    check_places,
    check_shape,
    wrong_dtype,
    wrong_kind,
    wrong_request,
)
from lrnorm._fronts.core import core as _core
from lrnorm._fronts.memory import LARGE, sharing
from lrnorm._spec.errors import KindError, OutputError
from lrnorm._spec.spec import Axis, LRNSpec, resolve_axes, window_in

__all__ = [
    "converted",
    "forward",
    "joined",
    "jvp",
    "ones_like",
    "parameter_gradients",
    "vjp",
    "vjp_and_gradients",
]

Array = npt.NDArray[Any]

# Importing config reads the environment into the core.
assert config

_FLOAT64 = np.dtype(np.float64)
_NATIVE = (np.dtype(np.float32), _FLOAT64, np.dtype(np.float16))


def _native(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """`dtype` in native byte order, if it is one that the core computes in."""
    native: np.dtype[Any] = dtype.newbyteorder("=")
    is_bfloat16 = native.kind == "V" and native == loaded_bfloat16()
    return native if native in _NATIVE or is_bfloat16 else None


def _result_dtype(dtype: np.dtype[Any], name: str = "x") -> np.dtype[Any]:
    """The dtype of the result for an input of `dtype`: itself in native byte order for a float of
    the core, that of `x / 2` for integers and booleans."""
    native = _native(dtype)
    if native is not None:
        return native
    if dtype.kind in "iub":
        return _FLOAT64
    conversion = f"{name}.astype('float64')"
    raise wrong_dtype(name, dtype, is_complex=dtype.kind == "c", conversion=conversion)


def _requested_dtype(dtype: Any) -> np.dtype[Any]:
    if isinstance(dtype, str) and dtype == "bfloat16":
        return bfloat16()
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        native = None
    else:
        native = _native(dtype)
    if native is None:
        works = [name for name in FLOATS if name != "bfloat16" or has_bfloat16()]
        raise wrong_request(dtype, works)
    return native


def _wider(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """A type of the core that holds every value of both."""
    if a == b:
        return a
    if a.itemsize == b.itemsize:  # float16 and bfloat16
        return np.dtype(np.float32)
    return a if a.itemsize > b.itemsize else b


def _bits(a: Array) -> Array:
    """The array as the core reads it: bfloat16 is passed as its bits."""
    return a.view(np.uint16) if a.dtype.kind == "V" else a


def _readable(a: Array) -> bool:
    """True where the address and every stride are multiples of the element size. NumPy's own flag
    ignores the strides of axes of size 1; the core does not."""
    return a.flags.aligned and not any(stride % a.itemsize for stride in a.strides)


def _converted(a: Array, dtype: np.dtype[Any]) -> Array:
    """`a` itself, or a copy that the core can read, with the axes in the same order."""
    with np.errstate(all="ignore"):
        converted = a.astype(dtype, copy=False)
    return converted if _readable(converted) else converted.copy(order="K")


def _called(verb: str, *arrays: Array, spec: LRNSpec, axes: tuple[int, ...], **how: bool) -> Any:
    """The verb of the core; False or None where an array lies so that the core cannot read it."""
    if len(axes) == 1 and spec.numbers is not None:  # what nearly every call is
        return _VERBS[verb](*arrays, *spec.numbers, axes[0], **how)
    before, after, axes = window_in(arrays[0].shape, spec, axes)
    numbers = spec.scale, spec.beta, spec.bias
    if len(axes) == 1:
        return _VERBS[verb](*arrays, *numbers, before[0], after[0], axes[0], **how)
    return _BOX_VERBS[verb](*arrays, *numbers, before, after, axes, **how)


_VERBS: dict[str, Callable[..., Any]] = {
    "forward": _core.forward,
    "vjp": _core.vjp,
    "jvp": _core.jvp,
    "parameters": _core.parameters,
    "vjp and parameters": _core.vjp_parameters,
}
_BOX_VERBS: dict[str, Callable[..., Any]] = {
    "forward": _core.box_forward,
    "vjp": _core.box_vjp,
    "jvp": _core.box_jvp,
    "parameters": _core.box_parameters,
}


def _run(verb: str, *arrays: Array, spec: LRNSpec, axes: tuple[int, ...], **how: bool) -> Any:
    done = _called(verb, *map(_bits, arrays), spec=spec, axes=axes, **how)
    if not done:  # what _converted returns is always readable
        raise KindError("x", "must be an array that the core can read", got=repr(arrays[0].dtype))
    return done


def _is_plain(out: Any, x: Array) -> bool:
    """True where `out` needs no further check: x itself, or an array of the same dtype and shape
    where both own their memory."""
    if out is not x and not (
        type(out) is np.ndarray
        and out.dtype == x.dtype
        and out.shape == x.shape
        and out.flags.owndata
        and x.flags.owndata
    ):
        return False
    return out.flags.writeable and out.flags.forc


def _check_out(
    out: Any, dtype: np.dtype[Any], inputs: Mapping[str, Array], *, takes_dtype: bool
) -> None:
    """`out` can take a result of `dtype` for `inputs`, which begin with x."""
    new = "Leave it out for a new array."
    if type(out) is not np.ndarray and type(out) is not np.memmap:
        raise wrong_kind("out", "must be a NumPy array", out, new)
    check_shape(inputs["x"], out, "out")
    native = _native(out.dtype)
    if native is None or (native != dtype and not takes_dtype):
        check_out_dtype(out, dtype)
    elif native != dtype:
        check_out_dtype(out, dtype, f"Pass dtype={out.dtype.name!r} for a result of that type.")
    if not out.flags.writeable:
        raise OutputError("out", "must be writable", got="a read-only array", way_out=new)
    check_places(out, out.strides, out.itemsize, inputs, sharing, "array")


def forward(
    x: Array, spec: LRNSpec, axis: Axis = None, *, dtype: Any = None, out: Any = None
) -> Array:
    """y[c] = x[c] * D[c]**-beta along `axis`; see `lrnorm.local_response_norm`.

    >>> import numpy as np, lrnorm.numpy
    >>> x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    >>> lrnorm.numpy.forward(x, lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2), axis=0).round(4)
    array([-1.4142, -0.6742,  0.    ,  0.6742,  1.4142])
    """
    axes = resolve_axes(axis, x.ndim)
    if dtype is None and x.dtype in _NATIVE and (out is None or _is_plain(out, x)):
        # The usual call, without the steps below: they would dominate for a small array.
        y, fresh = (out, False) if out is not None else _new_like(x)
        numbers = spec.numbers
        if numbers and len(axes) == 1:
            scale, beta, bias, before, after = numbers
            done = _core.forward(x, y, scale, beta, bias, before, after, axes[0], fresh)
        else:
            done = _called("forward", x, y, spec=spec, axes=axes, fresh=fresh)
        if done:
            return y
        del y  # the core cannot read x as it lies
    natural = _result_dtype(x.dtype)
    result = natural if dtype is None else _requested_dtype(dtype)
    if out is not None:
        _check_out(out, result, {"x": x}, takes_dtype=True)
    working = _wider(natural, result)
    x = np.asarray(x)
    source = _converted(x, working)
    fresh = False
    if out is not None and out.dtype == working and _readable(out):
        y = out
    elif source is not x:
        y = source  # the results may overwrite the copy
    else:
        y, fresh = _new_like(x)
    _run("forward", source, y, spec=spec, axes=axes, fresh=fresh)
    return _written(y, out, result)


def computing_dtype(x: np.dtype[Any], result: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which the core computes a result of one dtype from an input of another."""
    return _wider(_result_dtype(x), result)


def region_for(
    wanted: slice, size: int, spec: LRNSpec, ends: tuple[int, int], dtype: np.dtype[Any]
) -> slice:
    """The part of an axis of `size` entries to read for the results of `wanted`, to the same bits
    as from the whole axis; `ends` are those of the window there, `dtype` is the computing type.

    The core shares sums between neighbours, so the region begins where these sums begin anew. It is
    longer than the window reaches, because the core cuts a window to the array that it gets.

    >>> region_for(slice(17, 20), 64, LRNSpec(1, 0.5, 1, 2, 2), (2, 2), np.dtype("float32"))
    slice(15, 22, None)
    """
    before, after = (min(end, size - 1) for end in ends)
    width = before + after + 1
    period = (
        _core.forward_period(dtype.itemsize, spec.scale, spec.beta, spec.bias, before, after)
        if spec.axes == 1
        else width
    )
    reach = max(before, after) + 2
    low = max(0, min(wanted.start - before, size - reach)) // period * period
    return slice(low, min(size, max(wanted.stop + after, low + reach)))


def _new_like(x: Array, dtype: np.dtype[Any] | None = None) -> tuple[Array, bool]:
    """An array to write into, in the memory order of x, and True where its memory is fresh."""
    dtype = dtype or x.dtype
    size = x.size * dtype.itemsize
    if size < LARGE:
        return np.empty_like(x, dtype=dtype, subok=False), False
    memory = _core.Memory(size)
    order = np.empty_like(x, dtype=np.bool_, subok=False)  # reserved, never touched
    strides = tuple(stride * dtype.itemsize for stride in order.strides)
    return np.ndarray(x.shape, dtype, memoryview(memory), strides=strides), memory.fresh


def _pair(x: Array, other: Array, name: str) -> tuple[Array, Array]:
    """x and the array that goes with it, in one type the core computes in."""
    check_shape(x, other, name)
    working = _wider(_result_dtype(x.dtype), _result_dtype(other.dtype, name))
    return _converted(x, working), _converted(other, working)


def _written(y: Array, out: Any, dtype: np.dtype[Any]) -> Array:
    """y in `dtype`, or `out` with the values of y."""
    with np.errstate(all="ignore"):
        if out is None:
            return y.astype(dtype, copy=False)
        if y is not out:
            out[...] = y
    return out  # type: ignore[no-any-return]


def _derivative(
    verb: str, x: Array, other: Array, name: str, spec: LRNSpec, axis: Axis, out: Any
) -> tuple[Array, Any]:
    """The derivative, and what the core returned: the totals of "vjp and parameters"."""
    axes = resolve_axes(axis, x.ndim)
    source, second = _pair(x, other, name)
    result = _result_dtype(x.dtype)
    if out is not None:
        _check_out(out, result, {"x": x, name: other}, takes_dtype=False)
    if out is not None and _takes_from_core(out, verb, source, second):
        y, fresh = out, False
    else:
        y, fresh = _new_like(x, source.dtype)
    done = _run(verb, source, second, y, spec=spec, axes=axes, fresh=fresh)
    return _written(y, out, result), done


def _takes_from_core(out: Array, verb: str, source: Array, second: Array) -> bool:
    """True where the core can write a derivative straight into `out`, which has been checked. The
    backward pass reads x again for elements beyond the trusted range, so it needs a place of its
    own; the other verbs keep what they overwrite, if they are told that x is the output."""
    if out.dtype != source.dtype or not _readable(out):
        return False
    at, start, other = (a.__array_interface__["data"][0] for a in (out, source, second))
    if at == start:
        return verb == "jvp"
    return bool(at != other)


def vjp(x: Array, g: Array, spec: LRNSpec, axis: Axis = None, *, out: Any = None) -> Array:
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)), m over the
    mirrored window; see `lrnorm.local_response_norm_vjp`.

    >>> import numpy as np, lrnorm.numpy
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> g = np.array([0.0, 0.0, 1.0])
    >>> lrnorm.numpy.vjp(x, g, lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2), axis=0).round(4)
    array([-0.081, -0.162,  0.27 ])
    """
    return _derivative("vjp", x, g, "g", spec, axis, out)[0]


def jvp(x: Array, t: Array, spec: LRNSpec, axis: Axis = None, *, out: Any = None) -> Array:
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j]); see
    `lrnorm.local_response_norm_jvp`.

    >>> import numpy as np, lrnorm.numpy
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> t = np.array([0.0, 0.0, 1.0])
    >>> lrnorm.numpy.jvp(x, t, lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2), axis=0).round(4)
    array([-0.081, -0.162,  0.27 ])
    """
    return _derivative("jvp", x, t, "t", spec, axis, out)[0]


def parameter_gradients(x: Array, g: Array, spec: LRNSpec, axis: Axis = None) -> dict[str, float]:
    """The derivatives of sum(g * y) by scale, beta and bias, as float64.

    >>> import numpy as np, lrnorm.numpy
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> spec = lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2)
    >>> gradients = lrnorm.numpy.parameter_gradients(x, np.ones(3), spec, axis=0)
    >>> {name: round(value, 4) for name, value in gradients.items()}
    {'scale': -5.6699, 'beta': -4.109, 'bias': -0.405}
    """
    axes = resolve_axes(axis, x.ndim)
    totals = _run("parameters", *_pair(x, g, "g"), spec=spec, axes=axes)
    return dict(zip(("scale", "beta", "bias"), totals, strict=True))


def vjp_and_gradients(
    x: Array, g: Array, spec: LRNSpec, axis: Axis = None, *, out: Any = None
) -> tuple[Array, dict[str, float]]:
    """`vjp` and `parameter_gradients`; along one axis, in one walk through memory."""
    if len(resolve_axes(axis, x.ndim)) > 1:
        gradients = parameter_gradients(x, g, spec, axis)  # first: out may be x
        return vjp(x, g, spec, axis, out=out), gradients
    dx, totals = _derivative("vjp and parameters", x, g, "g", spec, axis, out)
    return dx, dict(zip(("scale", "beta", "bias"), totals, strict=True))


def converted(x: Array, dtype: str) -> Array:
    """x in the type of that name."""
    with np.errstate(all="ignore"):
        return x.astype(dtype, copy=False)


def ones_like(x: Array) -> Array:
    """Ones of the shape, dtype and memory order of x."""
    return np.ones_like(x)


def joined(pieces: Iterable[Array], like: Array) -> Array:
    """Pieces of a batch as one array, in the memory order of `like`; one piece at a time."""
    y: Any = None
    start = 0
    for piece in pieces:
        if y is None:
            y = np.empty_like(like, dtype=piece.dtype, subok=False)
        y[start : start + len(piece)] = piece
        start += len(piece)
        del piece  # before the next one is made
    return y  # type: ignore[no-any-return]
