"""The JAX front: arrays and tracers, with an LRNSpec.

    y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

`lrnorm.local_response_norm` comes here with a JAX array; `lrnorm.jax` has the same functions for
traced numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jax import Array

from lrnorm._fronts.jax import primitives
from lrnorm._fronts.jax.formula import Window
from lrnorm._spec.errors import KindError, ShapeError
from lrnorm._spec.spec import LRNSpec, resolve_axis

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def checked(array: Any, name: str) -> Array:
    """An array in what half of it has, if it is of a type that can be normalized."""
    x = array if isinstance(array, Array) else jnp.asarray(array)
    if x.dtype.name in _FLOATS:
        return x
    if jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == jnp.bool_:
        whole: Array = x / 1
        return whole
    way = (
        f"Normalize the real and the imaginary part, or abs({name}), as the model means."
        if jnp.issubdtype(x.dtype, jnp.complexfloating)
        else f"Convert it first, for example {name}.astype('float32')."
    )
    raise KindError(
        f"{name} must hold float16, bfloat16, float32, float64, integers or booleans, "
        f"got {x.dtype}. {way}"
    )


def _requested(dtype: Any) -> Any:
    try:
        wanted = jnp.dtype(dtype)
    except TypeError as error:
        raise KindError(
            f"dtype must name a floating-point type, got {dtype!r}. Use for example "
            "dtype='float32'."
        ) from error
    if wanted.name not in _FLOATS:
        raise KindError(
            f"dtype must be float16, bfloat16, float32 or float64, got {wanted}. "
            "These are what lrnorm computes in."
        )
    if wanted == jnp.float64 and jnp.result_type(float) != jnp.float64:
        raise KindError(
            "dtype float64 needs JAX's 64-bit mode: jax.config.update('jax_enable_x64', True)."
        )
    return wanted


def window_of(x: Array, spec: LRNSpec, axis: int | None) -> Window:
    """The ends of the window of a spec on x, and the axis from 0."""
    axis = resolve_axis(axis, x.ndim)
    before, after = spec.ends(x.shape[axis])
    last = max(x.shape[axis] - 1, 0)  # a wider window holds the same channels
    return Window(min(before, last), min(after, last), axis)


class Coefficients:
    """scale, beta and bias: numbers that are known, and those that are traced."""

    def __init__(self, scale: Any, beta: Any, bias: Any) -> None:
        every = (scale, beta, bias)
        self.numbers = tuple(None if isinstance(v, Array) else v for v in every)
        self.traced = tuple(v for v in every if isinstance(v, Array))

    @classmethod
    def of(cls, spec: LRNSpec) -> Coefficients:
        return cls(spec.scale, spec.beta, spec.bias)


def _run(verb: str, arrays: Iterable[Array], coefficients: Coefficients, window: Window) -> Array:
    numbers: Any = coefficients.numbers
    return primitives.bind(verb, *arrays, *coefficients.traced, numbers=numbers, window=window)


def normalized(x: Any, coefficients: Coefficients, spec: LRNSpec, axis: Any, dtype: Any) -> Array:
    """y; `spec` tells the window."""
    x = checked(x, "x")
    window = window_of(x, spec, axis)
    if dtype is None:
        return _run("forward", [x], coefficients, window)
    result = _requested(dtype)
    x = x.astype(jnp.promote_types(x.dtype, result))
    return _run("forward", [x], coefficients, window).astype(result)


def derivative(
    verb: str, x: Any, other: Any, coefficients: Coefficients, spec: LRNSpec, axis: Any
) -> Array:
    """vjp, jvp or parameters of x and an array of its shape."""
    name = "t" if verb == "jvp" else "g"
    x, other = checked(x, "x"), checked(other, name)
    if other.shape != x.shape:
        raise ShapeError(f"{name} must have the shape of x, {x.shape}, got {other.shape}.")
    window = window_of(x, spec, axis)
    working = jnp.promote_types(x.dtype, other.dtype)
    y = _run(verb, [x.astype(working), other.astype(working)], coefficients, window)
    return y if verb == "parameters" else y.astype(x.dtype)


def forward(
    x: Array, spec: LRNSpec, axis: int | None = None, *, dtype: Any = None, out: Any = None
) -> Array:
    """y[c] = x[c] * D[c]**-beta along `axis`; see `lrnorm.local_response_norm`."""
    refuse_out(out)
    return normalized(x, Coefficients.of(spec), spec, axis, dtype)


def refuse_out(out: Any) -> None:
    """Raise where `out` is given."""
    if out is not None:
        raise KindError(
            "out cannot be given for JAX arrays, which never change. Leave it out, and go on with "
            "what comes back."
        )


def vjp(x: Array, g: Any, spec: LRNSpec, axis: int | None = None) -> Array:
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)), m over the
    mirrored window; see `lrnorm.local_response_norm_vjp`."""
    return derivative("vjp", x, g, Coefficients.of(spec), spec, axis)


def jvp(x: Array, t: Any, spec: LRNSpec, axis: int | None = None) -> Array:
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j]); see
    `lrnorm.local_response_norm_jvp`."""
    return derivative("jvp", x, t, Coefficients.of(spec), spec, axis)


def parameter_gradients(
    x: Array, g: Any, spec: LRNSpec, axis: int | None = None
) -> dict[str, Array]:
    """The derivatives of sum(g * y) by scale, beta and bias, in the widest float that is on."""
    totals = derivative("parameters", x, g, Coefficients.of(spec), spec, axis)
    return dict(zip(("scale", "beta", "bias"), totals, strict=True))


def converted(x: Array, dtype: str) -> Array:
    """x in the type of that name."""
    return x.astype(_requested(dtype))


def ones_like(x: Array) -> Array:
    """Ones, of the shape and dtype of x."""
    return jnp.ones_like(x)


def joined(pieces: Iterable[Array], like: Array) -> Array:
    """Pieces of a batch as one array."""
    del like  # an array of JAX has no memory order to keep
    return jnp.concatenate(list(pieces))
