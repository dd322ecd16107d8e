"""The functions of `lrnorm` for JAX, with alpha, beta and bias that may be traced."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from lrnorm._fronts.checks import wrong_kind
from lrnorm._fronts.jax import front
from lrnorm._fronts.jax.front import Coefficients
from lrnorm._function.dispatch import front_of
from lrnorm._function.keywords import ALPHA, BETA, BIAS, RADIUS, by_keywords, spec_of, width_of
from lrnorm._function.lists import array_of_lists
from lrnorm._spec.errors import ParameterError
from lrnorm._spec.spec import Axis, LRNSpec, WindowSize, spec_from_keywords

Number = float | Array


def local_response_norm(
    x: Any,
    *,
    alpha: Number = ALPHA,
    beta: Number = BETA,
    bias: Number = BIAS,
    channel_window_size: WindowSize = RADIUS,
    spec: LRNSpec | None = None,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    **foreign: Any,
) -> Array:
    """`lrnorm.local_response_norm` for JAX arrays and tracers.

        D[c] = bias + alpha/(before + after + 1) * sum(x[j]**2 for j in c-before … c+after)
        y[c] = x[c] * D[c]**-beta

    Parameters
    ----------
    x : array
        Of float16, bfloat16, float32, float64, integers or booleans; these give what ``x / 2``
        gives. The result has the shape and dtype of x.
    alpha, beta, bias : float or array
        Numbers become part of the compiled program. Arrays of one element may be traced: they are
        not checked, may change from call to call, and get gradients.
    channel_window_size, spec, axis
        As in `lrnorm.local_response_norm`; static under jit.
    dtype : dtype
        Of the result.

    Differentiable to any order in both modes; works under jit, vmap, scan, checkpoint, shard_map
    and automatic sharding, where only the axes of the window are gathered. Of the forward pass x
    alone is kept. On the CPU the compiled core computes, elsewhere and in programs that
    `jax.export` writes plain JAX operations do.

    Errors: ShapeError and ParameterError (ValueErrors), KindError (a TypeError), also for `out`:
    JAX arrays never change.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 3.3.

    >>> import jax, jax.numpy as jnp, lrnorm.jax
    >>> x = jnp.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    >>> lrnorm.jax.local_response_norm(x, axis=0).round(4)
    Array([-1.4142, -0.6742,  0.    ,  0.6742,  1.4142], dtype=float32)
    >>> def loss(alpha):
    ...     return lrnorm.jax.local_response_norm(x, alpha=alpha, axis=0)[0]
    >>> jax.jit(jax.grad(loss))(1.0).round(4)
    Array(0.3536, dtype=float32, weak_type=True)
    """
    front.refuse_out(out)
    function, numbers = "local_response_norm", (alpha, beta, bias)
    coefficients, spec = _read(function, numbers, channel_window_size, spec, axis, foreign)
    return front.normalized(_array(x, "x"), coefficients, spec, axis, dtype)


def local_response_norm_vjp(
    x: Any,
    g: Any,
    *,
    alpha: Number = ALPHA,
    beta: Number = BETA,
    bias: Number = BIAS,
    channel_window_size: WindowSize = RADIUS,
    spec: LRNSpec | None = None,
    axis: Axis = None,
    parameters: bool = False,
    out: None = None,
    **foreign: Any,
) -> Any:
    """`lrnorm.local_response_norm_vjp` for JAX arrays and tracers: the gradient of sum(g * y).

        dx[c] = g[c] D[c]**-beta - 2 s beta x[c] sum(g[m] x[m] D[m]**(-beta-1))

    with s = alpha/(before + after + 1) and m over the mirrored window, c-after … c+before.

    `g` has the shape of x; the result has its dtype. `parameters=True` returns (dx, gradients), a
    dict of the derivatives by alpha, beta and bias, or by scale, beta and bias where `spec` was
    given. Arguments and errors are otherwise those of `local_response_norm`.

    Source: the derivative of the formula in Krizhevsky et al. (2012), section 3.3.

    >>> import jax.numpy as jnp, lrnorm.jax
    >>> x, g = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.0, 0.0, 1.0])
    >>> lrnorm.jax.local_response_norm_vjp(x, g, axis=0).round(3)
    Array([-0.081, -0.162,  0.27 ], dtype=float32)
    """
    front.refuse_out(out)
    numbers = (alpha, beta, bias)
    by_scale = spec is not None
    coefficients, spec = _read(
        "local_response_norm_vjp", numbers, channel_window_size, spec, axis, foreign
    )
    operands = _array(x, "x"), _array(g, "g"), coefficients, spec, axis
    dx = front.derivative("vjp", *operands)
    if not parameters:
        return dx
    totals = front.derivative("parameters", *operands)
    gradients = dict(zip(("scale", "beta", "bias"), totals, strict=True))
    return dx, gradients if by_scale else by_keywords(gradients, spec)


def local_response_norm_jvp(
    x: Any,
    t: Any,
    *,
    alpha: Number = ALPHA,
    beta: Number = BETA,
    bias: Number = BIAS,
    channel_window_size: WindowSize = RADIUS,
    spec: LRNSpec | None = None,
    axis: Axis = None,
    out: None = None,
    **foreign: Any,
) -> Array:
    """`lrnorm.local_response_norm_jvp` for JAX arrays and tracers: the derivative of y along t.

        dy[c] = t[c] D[c]**-beta - 2 s beta x[c] D[c]**(-beta-1) sum(x[j] t[j])

    with s = alpha/(before + after + 1) and j over the window of c. `t` has the shape of x; the
    result has its dtype. Arguments and errors are those of `local_response_norm`.

    Source: the derivative of the formula in Krizhevsky et al. (2012), section 3.3.

    >>> import jax.numpy as jnp, lrnorm.jax
    >>> x = jnp.array([1.0, 2.0, 3.0])
    >>> [f"{v:.3f}" for v in lrnorm.jax.local_response_norm_jvp(x, jnp.ones(3), axis=0)]
    ['0.351', '0.189', '0.027']
    """
    front.refuse_out(out)
    numbers = (alpha, beta, bias)
    coefficients, spec = _read(
        "local_response_norm_jvp", numbers, channel_window_size, spec, axis, foreign
    )
    operands = _array(x, "x"), _array(t, "t")
    return front.derivative("jvp", *operands, coefficients, spec, axis)


def _array(x: Any, name: str) -> Any:
    """A JAX array as it is; NumPy's and nested lists, which JAX takes too."""
    if isinstance(x, Array):
        return x
    found = front_of(x, name)  # which refuses what is no array
    if found is not None and not isinstance(x, np.ndarray):
        way_out = "For other arrays call lrnorm.local_response_norm."
        raise wrong_kind(name, "must be a JAX array", x, way_out)
    return array_of_lists(x, name)


def _read(
    function: str, numbers: Any, size: Any, spec: Any, axis: Axis, foreign: dict[str, Any]
) -> tuple[Coefficients, LRNSpec]:
    """What to compute with, and the window: traced numbers pass the checks unseen."""
    traced = [isinstance(value, (Array, np.ndarray)) for value in numbers]
    if spec is not None or foreign or not any(traced):
        alpha, beta, bias = numbers
        spec = spec_of(function, alpha, beta, bias, size, spec, foreign, axis)
        return Coefficients.of(spec), spec
    places = list(zip(("alpha", "beta", "bias"), numbers, traced, strict=True))
    known = {name: value for name, value, is_traced in places if not is_traced}
    spec = spec_from_keywords(
        **{"alpha": 1.0, "beta": 1.0, "bias": 1.0, **known}, channel_window_size=size, axis=axis
    )
    given = {name: _number(name, value) for name, value, is_traced in places if is_traced}
    scale = given["alpha"] / width_of(spec) if "alpha" in given else spec.scale
    return Coefficients(scale, given.get("beta", spec.beta), given.get("bias", spec.bias)), spec


def _number(name: str, given: Any) -> Array:
    """An array of one element without its axes, as float32 or float64."""
    value = jnp.asarray(given)
    real = jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
    if value.size != 1 or not real:
        raise ParameterError(
            name,
            "must be a number or an array of one real element",
            value=value.shape,
            got=f"{value.dtype} of shape {value.shape}",
            way_out="For a number for each example, jax.vmap over it.",
        )
    wide = value.dtype if value.dtype == jnp.float64 else jnp.float32
    return value.reshape(()).astype(wide)
