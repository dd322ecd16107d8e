"""The JAX front: arrays and tracers.

    y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

`lrnorm.local_response_norm` passes JAX arrays to it. `lrnorm.jax` holds the same functions, which
also take traced numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jax import Array

from lrnorm._fronts.checks import FLOATS, check_shape, wrong_dtype, wrong_request
from lrnorm._fronts.jax import primitives
from lrnorm._fronts.jax.formula import Window
from lrnorm._spec.errors import KindError, ShapeError
from lrnorm._spec.spec import Axis, LRNSpec, resolve_axes, window_in


def checked(array: Any, name: str) -> Array:
    """The array in the dtype of half of it, if that is one that is computed."""
    x = array if isinstance(array, Array) else jnp.asarray(array)
    if x.dtype.name in FLOATS:
        return x
    if jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == jnp.bool_:
        whole: Array = x / 1
        return whole
    is_complex = jnp.issubdtype(x.dtype, jnp.complexfloating)
    conversion = f"{name}.astype('float32')"
    raise wrong_dtype(name, x.dtype, is_complex=is_complex, conversion=conversion)


def _requested(dtype: Any) -> Any:
    has_float64 = jnp.result_type(float) == jnp.float64
    works = FLOATS if has_float64 else FLOATS[:-1]
    try:
        wanted = jnp.dtype(dtype)
    except TypeError:
        raise wrong_request(dtype, works) from None
    if wanted.name == "float64" and not has_float64:
        raise KindError(
            "dtype",
            "float64 needs JAX's 64-bit mode",
            value=dtype,
            got="",
            way_out="Call jax.config.update('jax_enable_x64', True) first.",
        )
    if wanted.name not in works:
        raise wrong_request(wanted, works)
    return wanted


def window_of(x: Array, spec: LRNSpec, axis: Axis) -> Window:
    """The window of a spec on x; no end reaches farther than x, which gives the same sums."""
    for one in resolve_axes(axis, x.ndim):
        if not isinstance(x.shape[one], int):  # a symbol of jax.export
            raise ShapeError(
                f"the number of channels (axis {one} of x)",
                "must be a known number",
                value=x.shape[one],
                got=f"the symbol {x.shape[one]}",
                way_out="Keep the other axes symbolic, and write the number of channels, for "
                "example jax.export.symbolic_shape('b, 96, h, w').",
            )
    return Window(*window_in(x.shape, spec, axis)).within(x.shape)


class Coefficients:
    """scale, beta and bias: those that are known numbers, and those that are traced."""

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
    """y; the window is that of `spec`."""
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
    check_shape(x, other, name)
    window = window_of(x, spec, axis)
    working = jnp.promote_types(x.dtype, other.dtype)
    y = _run(verb, [x.astype(working), other.astype(working)], coefficients, window)
    return y if verb == "parameters" else y.astype(x.dtype)


def forward(
    x: Array, spec: LRNSpec, axis: Axis = None, *, dtype: Any = None, out: Any = None
) -> Array:
    """y[c] = x[c] * D[c]**-beta along `axis`; see `lrnorm.local_response_norm`."""
    refuse_out(out)
    return normalized(x, Coefficients.of(spec), spec, axis, dtype)


def refuse_out(out: Any) -> None:
    """Raise where `out` is given."""
    if out is not None:
        way_out = "Leave it out, and use the array that is returned."
        raise KindError(
            "out", "cannot be given for JAX arrays, which never change", way_out=way_out
        )


def vjp(x: Array, g: Any, spec: LRNSpec, axis: Axis = None, *, out: Any = None) -> Array:
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)), m over the
    mirrored window; see `lrnorm.local_response_norm_vjp`."""
    refuse_out(out)
    return derivative("vjp", x, g, Coefficients.of(spec), spec, axis)


def jvp(x: Array, t: Any, spec: LRNSpec, axis: Axis = None, *, out: Any = None) -> Array:
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j]); see
    `lrnorm.local_response_norm_jvp`."""
    refuse_out(out)
    return derivative("jvp", x, t, Coefficients.of(spec), spec, axis)


def parameter_gradients(x: Array, g: Any, spec: LRNSpec, axis: Axis = None) -> dict[str, Array]:
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
