"""The NumPy front: arrays to and from the compiled core.

    y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

Takes an LRNSpec, never loose numbers; `lrnorm.local_response_norm` is the face for people.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lrnorm import _config, _core
from lrnorm._errors import KindError, OutputError, ShapeError
from lrnorm._spec import LRNSpec, is_integer

__all__ = ["forward", "jvp", "parameter_gradients", "vjp"]

Array = npt.NDArray[Any]

# Importing _config is what reads the environment into the core.
assert _config

_FLOAT64 = np.dtype(np.float64)
_NATIVE = (np.dtype(np.float32), _FLOAT64, np.dtype(np.float16))
_CHANNELS_THIRD_FROM_LAST = {3: 0, 4: 1}


def _bfloat16() -> np.dtype[Any] | None:
    """ml_dtypes' bfloat16, if someone has imported it: else no array can hold it."""
    ml_dtypes = sys.modules.get("ml_dtypes")
    return np.dtype(ml_dtypes.bfloat16) if ml_dtypes else None


def _is_bfloat16(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "V" and dtype == _bfloat16()


def _result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What a result has for an input of `dtype`: itself in native byte order for a float of the
    core, what `x / 2` has for integers and booleans."""
    native = dtype.newbyteorder("=")
    if native in _NATIVE or _is_bfloat16(native):
        return native
    if dtype.kind in "iub":
        return _FLOAT64
    raise KindError(
        f"x must hold float16, bfloat16, float32, float64, integers or booleans, got {dtype}. "
        + (
            "Normalize the real and the imaginary part, or abs(x), as the model means."
            if dtype.kind == "c"
            else "Convert it first, for example x.astype('float64')."
        )
    )


def _requested_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        wanted = np.dtype(dtype)
    except TypeError as error:
        raise KindError(
            f"dtype must name a NumPy floating-point type, got {dtype!r}. Use for example "
            "dtype='float32'."
        ) from error
    native = wanted.newbyteorder("=")
    if native in _NATIVE or _is_bfloat16(native):
        return native
    raise KindError(
        f"dtype must be float16, bfloat16, float32 or float64, got {wanted}. "
        "These are what the core computes in."
    )


def _wider(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """A type of the core that holds every value of both."""
    if a == b:
        return a
    if a.itemsize == b.itemsize:  # float16 and bfloat16
        return np.dtype(np.float32)
    return a if a.itemsize > b.itemsize else b


def resolve_axis(axis: Any, rank: int) -> int:
    """The channel axis as a number from 0: given, or the channels of (…, channels, h, w)."""
    if axis is None:
        if rank in _CHANNELS_THIRD_FROM_LAST:
            return _CHANNELS_THIRD_FROM_LAST[rank]
        raise ShapeError(
            f"axis can be left out for (channels, height, width) and (batch, channels, height, "
            f"width), got an array of rank {rank}. Pass the axis of the channels, "
            "for example axis=-1."
        )
    if isinstance(axis, tuple):
        raise KindError(
            f"axis must be one integer, got {axis!r}. Windows over several axes are not "
            "available yet."
        )
    if not is_integer(axis):
        raise KindError(f"axis must be an integer, got {axis!r}.")
    if not -rank <= axis < rank:
        raise ShapeError(
            f"axis must lie in {-rank} … {rank - 1} for an array of rank {rank}, got {axis}."
            if rank
            else "an array of rank 0 has no axis for the channels."
        )
    return int(axis) % rank


def _bits(a: Array) -> Array:
    """What the core reads: bfloat16 goes as its bits."""
    return a.view(np.uint16) if a.dtype.kind == "V" else a


def _aligned(a: Array, dtype: np.dtype[Any]) -> Array:
    """`a` in a dtype of the core, where the core can read it."""
    with np.errstate(all="ignore"):
        converted = a.astype(dtype, copy=False)
    return _bits(converted if converted.flags.aligned else converted.copy())


def _coefficients(spec: LRNSpec, channels: int) -> tuple[float, float, float, int, int]:
    before, after = spec.ends(channels)
    limit = max(channels, 1)  # a wider window holds the same channels
    return spec.scale, spec.beta, spec.bias, min(before, limit), min(after, limit)


def _empty_like(x: Array, dtype: np.dtype[Any]) -> Array:
    return np.empty_like(x, dtype=dtype, subok=False)


def _check_out(out: Any, x: Array, dtype: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise KindError(f"out must be a NumPy array, got {type(out).__name__}.")
    if out.shape != x.shape:
        raise OutputError(f"out must have the shape of x, {x.shape}, got {out.shape}.")
    if out.dtype.newbyteorder("=") != dtype:
        raise OutputError(
            f"out must have the dtype of the result, {dtype}, got {out.dtype}. "
            f"Pass dtype={out.dtype.name!r} for a result of that type."
        )
    if not out.flags.writeable:
        raise OutputError("out must be writable, got a read-only array.")
    if any(stride == 0 and size > 1 for stride, size in zip(out.strides, out.shape, strict=True)):
        raise OutputError(
            "out must have a place of its own for every element, got a broadcast array."
        )
    if out is x or not np.may_share_memory(out, x):
        return
    same = (
        out.__array_interface__["data"][0] == x.__array_interface__["data"][0]
        and out.strides == x.strides
        and out.dtype == x.dtype
    )
    if not same and np.shares_memory(out, x):
        raise OutputError(
            "out overlaps x without being x itself, so elements would be overwritten before "
            "they are read. Pass out=x, or an array of its own."
        )


def forward(
    x: Array, spec: LRNSpec, axis: int | None = None, *, dtype: Any = None, out: Any = None
) -> Array:
    """y[c] = x[c] * D[c]**-beta along `axis`; see `lrnorm.local_response_norm`.

    >>> import numpy as np, lrnorm.numpy
    >>> x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    >>> lrnorm.numpy.forward(x, lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2), axis=0).round(4)
    array([-1.4142, -0.6742,  0.    ,  0.6742,  1.4142])
    """
    axis = resolve_axis(axis, x.ndim)
    scale, beta, bias = spec.scale, spec.beta, spec.bias
    before, after = spec.before, spec.after
    if before is None or after is None or before > 2**31 or after > 2**31:
        scale, beta, bias, before, after = _coefficients(spec, x.shape[axis])
    if dtype is None and out is None and x.dtype in _NATIVE and x.dtype.isnative:
        y = np.empty_like(x, subok=False)
        if _core.forward(x, y, scale, beta, bias, before, after, axis):
            return y
    natural = _result_dtype(x.dtype)
    result = natural if dtype is None else _requested_dtype(dtype)
    if out is not None:
        _check_out(out, x, result)
    working = _wider(natural, result)
    source = _aligned(x, working)
    if out is not None and out.dtype == working and out.flags.aligned:
        _core.forward(source, _bits(out), scale, beta, bias, before, after, axis)
        return out  # type: ignore[no-any-return]
    y = _empty_like(x, working)
    _core.forward(source, _bits(y), scale, beta, bias, before, after, axis)
    with np.errstate(all="ignore"):
        if out is None:
            return y.astype(result, copy=False)
        out[...] = y
    return out  # type: ignore[no-any-return]


def _pair(x: Array, other: Array, name: str) -> tuple[Array, Array, np.dtype[Any]]:
    """x and the array that goes with it, in one type the core computes in."""
    if other.shape != x.shape:
        raise ShapeError(f"{name} must have the shape of x, {x.shape}, got {other.shape}.")
    working = _wider(_result_dtype(x.dtype), _result_dtype(other.dtype))
    return _aligned(x, working), _aligned(other, working), working


def _derivative(
    verb: Callable[..., bool], x: Array, other: Array, name: str, spec: LRNSpec, axis: int | None
) -> Array:
    axis = resolve_axis(axis, x.ndim)
    source, second, working = _pair(x, other, name)
    result = _empty_like(x, working)
    verb(source, second, _bits(result), *_coefficients(spec, x.shape[axis]), axis)
    with np.errstate(all="ignore"):
        return result.astype(_result_dtype(x.dtype), copy=False)


def vjp(x: Array, g: Array, spec: LRNSpec, axis: int | None = None) -> Array:
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)), m over the
    mirrored window; see `lrnorm.local_response_norm_vjp`.

    >>> import numpy as np, lrnorm.numpy
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> lrnorm.numpy.vjp(x, np.ones(3), lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2), axis=0).round(4)
    array([ 0.3022,  0.0913, -0.1195])
    """
    return _derivative(_core.vjp, x, g, "g", spec, axis)


def jvp(x: Array, t: Array, spec: LRNSpec, axis: int | None = None) -> Array:
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j]); see
    `lrnorm.local_response_norm_jvp`.

    >>> import numpy as np, lrnorm.numpy
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> lrnorm.numpy.jvp(x, np.ones(3), lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2), axis=0).round(4)
    array([0.351 , 0.189 , 0.027 ])
    """
    return _derivative(_core.jvp, x, t, "t", spec, axis)


def parameter_gradients(
    x: Array, g: Array, spec: LRNSpec, axis: int | None = None
) -> dict[str, float]:
    """The derivatives of sum(g * y) by scale, beta and bias, as float64.

    >>> import numpy as np, lrnorm.numpy
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> spec = lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2)
    >>> gradients = lrnorm.numpy.parameter_gradients(x, np.ones(3), spec, axis=0)
    >>> {name: round(value, 4) for name, value in gradients.items()}
    {'scale': -5.6705, 'beta': -4.1079, 'bias': -0.405}
    """
    axis = resolve_axis(axis, x.ndim)
    source, second, _ = _pair(x, g, "g")
    totals = _core.parameters(source, second, *_coefficients(spec, x.shape[axis]), axis)
    if totals is None:  # the fronts' copies are always readable
        raise KindError(f"the core cannot read an array of dtype {source.dtype}.")
    return dict(zip(("scale", "beta", "bias"), totals, strict=True))
