"""The public functions: the normalization and its derivatives, for an array of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np

import lrnorm.numpy
from lrnorm._fronts.checks import wrong_kind
from lrnorm._function.dispatch import FRONTS, Front, front_of
from lrnorm._function.keywords import ALPHA, BETA, BIAS, RADIUS, by_keywords, spec_of
from lrnorm._function.lists import array_of_lists
from lrnorm._spec.errors import KindError
from lrnorm._spec.spec import Axis, LRNSpec, WindowSize, spec_from_keywords


def local_response_norm(
    x: Any,
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    bias: float = BIAS,
    channel_window_size: WindowSize = RADIUS,
    spec: LRNSpec | None = None,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    **foreign: Any,
) -> Any:
    """Divide each value by the energy of its neighbouring channels.

        D[c] = bias + alpha/(before + after + 1) * sum(x[j]**2 for j in c-before … c+after)
        y[c] = x[c] * D[c]**-beta

    Channels beyond either end count as zero; the divisor of alpha stays the same there. With
    several axes the window is a box along them, and the divisor is the product of its widths.

    Parameters
    ----------
    x : array or nested lists
        Of NumPy, PyTorch, JAX, Dask, xarray or any library of the array API standard; of float16,
        bfloat16, float32, float64, integers or booleans, in any layout. What comes back has the
        same shape, kind, dtype, device and memory order, as far as the library lets it be chosen;
        integers and booleans give what ``x / 2`` gives. Lists give lists. Tensors stay
        differentiable.
    alpha, beta, bias : float
        Any finite numbers. Where D is not positive the result follows IEEE: nan or inf, without
        a warning. ``bias=0`` over a window of zeros gives nan, which is what 0 · ∞ is.
    channel_window_size : int, (int, int) or a list of them
        A radius: 2 averages over 5 channels. A pair (before, after) gives a window that leans.
        For several axes it holds for each, or a list gives one for each in order.
    spec : LRNSpec
        In place of the four numbers.
    axis : int or tuple of int
        The axis of the channels, or the axes of a box: (2, 3) averages within each channel. Left
        out it is the third from the last, at rank 3 and 4.
    dtype : dtype
        Of the result. The arithmetic is that of the wider of x and dtype.
    out : array
        Where to write; may be x itself. It is also what is returned.

    Returns
    -------
    Of the kind of x. float32 and float64 are within max(4, 3 + 2|beta|) units in the last place of
    the formula, float16 and bfloat16 within one, for alpha and bias not negative.

    Raises
    ------
    ShapeError (a ValueError), ParameterError (a ValueError), OutputError (a ValueError),
    KindError (a TypeError): each names the rule, the value and the way out.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 3.3; the parameters are those of
    Wolfram's LocalResponseNormalizationLayer.

    Examples
    --------
    >>> import lrnorm
    >>> y = lrnorm.local_response_norm([-2.0, -1.0, 0.0, 1.0, 2.0], axis=0)
    >>> [round(value, 4) for value in y]
    [-1.4142, -0.6742, 0.0, 0.6742, 1.4142]
    >>> rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
    >>> y = lrnorm.local_response_norm(rows, alpha=9, beta=1, channel_window_size=1, axis=(0, 1))
    >>> y[0][0] == 1 / 47, y[1][1] == 5 / 286
    (True, True)
    """
    if foreign or spec is not None:
        function = "local_response_norm"
        spec = spec_of(function, alpha, beta, bias, channel_window_size, spec, foreign, axis)
    else:
        spec = spec_from_keywords(alpha, beta, bias, channel_window_size, axis)
    front = FRONTS.get(type(x)) or front_of(x)
    if front is not None:
        return front.forward(x, spec, axis, dtype=dtype, out=out)
    y = lrnorm.numpy.forward(array_of_lists(x), spec, axis, dtype=dtype, out=out)
    return y if out is not None else y.tolist()


def local_response_norm_vjp(
    x: Any,
    g: Any,
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    bias: float = BIAS,
    channel_window_size: WindowSize = RADIUS,
    spec: LRNSpec | None = None,
    axis: Axis = None,
    parameters: bool = False,
    out: Any = None,
    **foreign: Any,
) -> Any:
    """The gradient: what a small change of x does to sum(g * y), y = local_response_norm(x, …).

        dx[c] = g[c] D[c]**-beta - 2 s beta x[c] sum(g[m] x[m] D[m]**(-beta-1))

    with s = alpha/(before + after + 1) and m over the mirrored window, c-after … c+before.

    `g` has the shape of x. The result has the kind and dtype of x. `parameters=True` returns
    (dx, gradients), a dict of floats for alpha, beta and bias; for scale, beta and bias where
    `spec` was given. `out` takes dx; it may be x itself, and must not overlap g. Other arguments
    and errors are those of `local_response_norm`.

    dx is within 8 units in the last place of the sum of the magnitudes of its terms.

    Source: the derivative of the formula in Krizhevsky et al. (2012), section 3.3.

    >>> import lrnorm
    >>> dx = lrnorm.local_response_norm_vjp([1.0, 2.0, 3.0], [0.0, 0.0, 1.0], axis=0)
    >>> [round(value, 4) for value in dx]
    [-0.081, -0.162, 0.27]
    >>> import numpy as np
    >>> x, g = np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0])
    >>> lrnorm.local_response_norm_vjp(x, g, axis=0, out=x) is x
    True
    >>> x.round(4)
    array([-0.081, -0.162,  0.27 ])
    """
    function = "local_response_norm_vjp"
    if not isinstance(parameters, (bool, np.bool_)):
        raise KindError("parameters", "must be True or False", value=parameters)
    by_scale = spec is not None
    spec = spec_of(function, alpha, beta, bias, channel_window_size, spec, foreign, axis)
    front, x, g = _pair(x, g, "g")
    compute: Front = front or lrnorm.numpy
    if parameters and compute is lrnorm.numpy:
        dx, gradients = lrnorm.numpy.vjp_and_gradients(x, g, spec, axis, out=out)
    else:  # the gradients first: out may be x
        gradients = compute.parameter_gradients(x, g, spec, axis) if parameters else {}
        dx = compute.vjp(x, g, spec, axis, out=out)
    result = dx if front or out is not None else dx.tolist()
    if not parameters:
        return result
    return result, gradients if by_scale else by_keywords(gradients, spec)


def local_response_norm_jvp(
    x: Any,
    t: Any,
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    bias: float = BIAS,
    channel_window_size: WindowSize = RADIUS,
    spec: LRNSpec | None = None,
    axis: Axis = None,
    out: Any = None,
    **foreign: Any,
) -> Any:
    """The directional derivative of y = local_response_norm(x, …) at x along t.

        dy[c] = t[c] D[c]**-beta - 2 s beta x[c] D[c]**(-beta-1) sum(x[j] t[j])

    with s = alpha/(before + after + 1) and j over the window of c. `t` has the shape of x; the
    result has the kind and dtype of x. `out` takes dy; it may be x itself, and must not overlap t.
    Other arguments and errors are those of `local_response_norm`.

    dy is within 8 units in the last place of the sum of the magnitudes of its terms.

    Source: the derivative of the formula in Krizhevsky et al. (2012), section 3.3.

    >>> import lrnorm
    >>> dy = lrnorm.local_response_norm_jvp([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], axis=0)
    >>> [round(value, 4) for value in dy]
    [0.351, 0.189, 0.027]
    """
    function = "local_response_norm_jvp"
    spec = spec_of(function, alpha, beta, bias, channel_window_size, spec, foreign, axis)
    front, x, t = _pair(x, t, "t")
    dy = (front or lrnorm.numpy).jvp(x, t, spec, axis, out=out)
    return dy if front or out is not None else dy.tolist()


def _pair(x: Any, other: Any, name: str) -> tuple[Front | None, Any, Any]:
    """The front, None where x is nested lists, and both as arrays."""
    front, other_front = front_of(x), front_of(other, name)
    if front in (None, lrnorm.numpy) and other_front not in (None, lrnorm.numpy):
        rule = "must be a NumPy array or nested lists, as x is"
        raise wrong_kind(name, rule, other, "Give both in one kind.")
    x = x if front else array_of_lists(x)
    return front, x, other if other_front else array_of_lists(other, name)
