"""From what people hold and write to a front and a spec.

Which kind an array is is asked of the modules already loaded; nothing is imported to find out.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np

import lrnorm.numpy
from lrnorm._spec.errors import KindError, ShapeError
from lrnorm._spec.spec import LRNSpec, is_integer, spec_from_keywords


class Front(Protocol):
    """What every computing front has."""

    def forward(self, x: Any, spec: LRNSpec, axis: int | None, *, dtype: Any, out: Any) -> Any: ...
    def vjp(self, x: Any, g: Any, spec: LRNSpec, axis: int | None) -> Any: ...
    def jvp(self, x: Any, t: Any, spec: LRNSpec, axis: int | None) -> Any: ...
    def parameter_gradients(
        self, x: Any, g: Any, spec: LRNSpec, axis: int | None
    ) -> dict[str, Any]: ...

    # What a layer needs besides: a conversion, ones, the pieces of a batch put together.
    def converted(self, x: Any, dtype: str) -> Any: ...
    def ones_like(self, x: Any) -> Any: ...
    def joined(self, pieces: Iterable[Any], like: Any) -> Any: ...


# Defaults are told from equal values by identity, so that a number given beside spec= is seen.
ALPHA = float("1.0")
BETA = float("0.5")
BIAS = float("1.0")


class _Radius(int):
    """An int with an identity of its own: Python shares small ones."""


RADIUS = _Radius(2)

_FRONTS: dict[type, Front] = {np.ndarray: lrnorm.numpy, np.memmap: lrnorm.numpy}

# The array of a framework, by module and class, and its front: imported when the first one comes,
# by which time the framework has long been imported.
_FRONT_MODULES = {
    ("torch", "Tensor"): "lrnorm._fronts.torch.front",
    ("jaxlib._jax", "ArrayImpl"): "lrnorm._fronts.jax.front",
    ("jax._src.core", "Tracer"): "lrnorm._fronts.jax.front",
    ("cupy", "ndarray"): "lrnorm.array_api",
    ("dask.array.core", "Array"): "lrnorm.dask",
    ("xarray.core.dataarray", "DataArray"): "lrnorm.xarray",
}

# What NumPy would swallow and spoil: the way to an array. Kinds that have a front are refused
# inside nested lists only.
_WAYS_OUT = {
    "torch": "pass x.detach().cpu().numpy()",
    "jax": "pass numpy.asarray(x)",
    "jaxlib": "pass numpy.asarray(x)",
    "tensorflow": "pass x.numpy()",
    "pandas": "pass x.to_numpy()",
    "xarray": "pass x.to_numpy()",
    "xarray.core.dataset": "pass x.map(lrnorm.xarray.local_response_norm, dim=…)",
    "dask": "pass x.compute()",
    "zarr": "pass x[...]",
    "numpy.ma": "pass x.filled(0): masked entries have no energy to give",
    "scipy": "pass x.toarray()",
    "cupy": "pass cupy.asnumpy(x)",
    "cupyx": "pass x.toarray()",
    "sparse": "pass x.todense()",
}

# The same for any library of the array API standard.
_COPIED = "pass numpy.from_dlpack(x), of a copy on the CPU if it lies elsewhere"

# Words of other frameworks, and how to say the same here.
_FOREIGN = {
    "size": "size is a width in PyTorch: here {leaning}, or "
    "lrnorm.torch.local_response_norm(x, {value})",
    "local_size": "local_size is a width in Caffe: here {radius}, a radius",
    "n": "n is a width in the AlexNet paper: here channel_window_size={half}, a radius, and "
    "alpha=alpha * {paper_width}, because the paper does not divide alpha by the width",
    "nsize": "nsize is a width in MXNet: here {radius}, a radius",
    "depth_radius": "depth_radius is TensorFlow's word: here channel_window_size={value}, and "
    "alpha=alpha * {width}, because TensorFlow does not divide alpha by the width",
    "k": "k is called bias here: bias={value}",
    "knorm": "knorm is called bias here: bias={value}",
    "kappa": "kappa is called bias here: bias={value}",
    "Alpha": "write alpha={value}",
    "Beta": "write beta={value}",
    "Bias": "write bias={value}",
    "ChannelWindowSize": "write channel_window_size={value}",
    "scale": "scale is a number of LRNSpec: pass spec=LRNSpec(…), or "
    "alpha = scale * (2 * channel_window_size + 1)",
    "before": "pass channel_window_size=(before, after), or spec=LRNSpec(…)",
    "after": "pass channel_window_size=(before, after), or spec=LRNSpec(…)",
    "dim": "write axis=NUMBER; dim={value}, a name, is for lrnorm.xarray.local_response_norm",
    "channel_axis": "write axis={value}",
    "data_format": "write axis=-1 for channels last, axis=1 for channels first",
}


def _window_of_width(width: int | None, *, may_lean: bool) -> str:
    """A window of that width in our words; an even one leans to the front, as PyTorch's."""
    if width == 1:
        return "spec=LRNSpec(…, before=0, after=0)"
    if width is None or (width % 2 == 0 and not may_lean):
        return "channel_window_size=(width - 1) // 2"
    return f"channel_window_size={width // 2 if width % 2 else (width // 2, width // 2 - 1)}"


def explain_foreign(function: str, words: dict[str, Any], known: tuple[str, ...]) -> KindError:
    """The error for keywords that `function` does not have, with what to write instead."""
    word, value = next(iter(words.items()))
    if word in _FOREIGN:
        whole = is_integer(value) and value > 0
        width = value if whole else None
        hint = _FOREIGN[word].format(
            value=repr(value),
            radius=_window_of_width(width, may_lean=False),
            leaning=_window_of_width(width, may_lean=True),
            half=value // 2
            if whole and value > 1
            else "n // 2",  # the paper's even windows are one wider
            paper_width=value // 2 * 2 + 1 if whole else "(n // 2 * 2 + 1)",
            width=2 * value + 1 if whole else "(2 * depth_radius + 1)",
        )
    else:
        hint = f"it takes {', '.join(known)}"
    return KindError(f"{function}() has no argument {word!r}: {hint}.")


NUMBERS = ("alpha", "beta", "bias", "channel_window_size")
_OTHERS = {
    "local_response_norm": ("dtype", "out"),
    "local_response_norm_vjp": ("parameters",),
    "local_response_norm_jvp": (),
}


def spec_of(
    function: str, alpha: Any, beta: Any, bias: Any, size: Any, spec: Any, foreign: dict[str, Any]
) -> LRNSpec:
    """The spec that the keywords of `function` give, each checked."""
    if foreign:
        raise explain_foreign(function, foreign, (*NUMBERS, "spec", "axis", *_OTHERS[function]))
    if spec is None:
        return spec_from_keywords(alpha, beta, bias, size)
    if not isinstance(spec, LRNSpec):
        raise KindError(f"spec must be an LRNSpec, got {spec!r}.")
    given = [
        name
        for name, value, default in zip(
            NUMBERS, (alpha, beta, bias, size), (ALPHA, BETA, BIAS, RADIUS), strict=True
        )
        if value is not default
    ]
    if given:
        raise KindError(
            f"spec replaces {', '.join(NUMBERS)}: got spec and {', '.join(given)}. "
            "Give one or the other."
        )
    return spec


def _way_out(kind: type) -> str | None:
    """What to do with an array of this kind, if NumPy would take it and spoil it. The kind and
    its parents are asked where they come from, the outermost package last."""
    for cls in kind.__mro__:
        module = cls.__module__.split(".")
        for depth in (3, 2, 1):
            if (name := ".".join(module[:depth])) in _WAYS_OUT:
                return _WAYS_OUT[name]
    if issubclass(kind, np.ndarray) and kind not in _FRONTS:
        return "pass numpy.asarray(x), if what the subclass adds may be lost"
    return None


def _follows_the_standard(kind: type) -> bool:
    """Whether arrays of this kind can be computed by the array API standard alone."""
    return (
        hasattr(kind, "__array_namespace__")
        and not issubclass(kind, (np.ndarray, np.generic))
        and _way_out(kind) is None
    )


def front_of(x: Any, name: str = "x") -> Front | None:
    """The front for x; None for nested lists, which go through NumPy and come back as lists."""
    kind = type(x)
    if kind in _FRONTS:
        return _FRONTS[kind]
    for cls in kind.__mro__:
        if (module := _FRONT_MODULES.get((cls.__module__, cls.__name__))) is not None:
            _FRONTS[kind] = cast(Front, import_module(module))
            return _FRONTS[kind]
    if isinstance(x, (list, tuple)):
        return None
    if _follows_the_standard(kind):
        _FRONTS[kind] = cast(Front, import_module("lrnorm.array_api"))
        return _FRONTS[kind]
    only_dlpack = hasattr(kind, "__dlpack__") and not hasattr(kind, "__array__")
    otherwise = "pass numpy.from_dlpack(x)" if only_dlpack else "pass numpy.asarray(x)"
    raise KindError(
        f"{name} must be an array or nested lists of numbers, got {kind.__module__}."
        f"{kind.__qualname__}: {_way_out(kind) or otherwise}."
    )


def _check_items(x: Any, name: str) -> None:
    for kind in set(map(type, x)):
        if issubclass(kind, (list, tuple)):
            for item in x:
                if isinstance(item, kind):
                    _check_items(item, name)
        elif way_out := _way_out(kind) or (_follows_the_standard(kind) and _COPIED):
            raise KindError(
                f"{name} must be nested lists of numbers or NumPy arrays, got one with a "
                f"{kind.__module__}.{kind.__qualname__} inside: for each such x, {way_out}."
            )


def array_of_lists(x: Any, name: str = "x") -> np.ndarray[Any, Any]:
    """Nested lists or tuples of numbers as an array."""
    if isinstance(x, (list, tuple)):
        try:
            _check_items(x, name)
        except RecursionError as error:
            raise ShapeError(
                f"{name} must be nested lists of numbers, got lists nested without an end. "
                "One of them holds itself: pass a copy without it."
            ) from error
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ShapeError(
            f"{name} must be nested lists of one length at each level: {error}."
        ) from error


def local_response_norm(
    x: Any,
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    bias: float = BIAS,
    channel_window_size: int | tuple[int, int] = RADIUS,
    spec: LRNSpec | None = None,
    axis: int | None = None,
    dtype: Any = None,
    out: Any = None,
    **foreign: Any,
) -> Any:
    """Divide each value by the energy of its neighbouring channels.

        D[c] = bias + alpha/(before + after + 1) * sum(x[j]**2 for j in c-before … c+after)
        y[c] = x[c] * D[c]**-beta

    Channels beyond either end count as zero; the divisor of alpha stays the same there.

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
    channel_window_size : int or (int, int)
        A radius: 2 averages over 5 channels. A pair (before, after) gives a window that leans.
    spec : LRNSpec
        In place of the four numbers.
    axis : int
        The axis of the channels. Left out it is the third from the last, at rank 3 and 4.
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
    """
    if foreign or spec is not None:
        spec = spec_of("local_response_norm", alpha, beta, bias, channel_window_size, spec, foreign)
    else:
        spec = spec_from_keywords(alpha, beta, bias, channel_window_size)
    front = _FRONTS.get(type(x)) or front_of(x)
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
    channel_window_size: int | tuple[int, int] = RADIUS,
    spec: LRNSpec | None = None,
    axis: int | None = None,
    parameters: bool = False,
    **foreign: Any,
) -> Any:
    """The gradient: what a small change of x does to sum(g * y), y = local_response_norm(x, …).

        dx[c] = g[c] D[c]**-beta - 2 s beta x[c] sum(g[m] x[m] D[m]**(-beta-1))

    with s = alpha/(before + after + 1) and m over the mirrored window, c-after … c+before.

    `g` has the shape of x. The result has the kind and dtype of x. `parameters=True` returns
    (dx, gradients), a dict of floats for alpha, beta and bias; for scale, beta and bias where
    `spec` was given. Other arguments and errors are those of `local_response_norm`.

    dx is within 8 units in the last place of the sum of the magnitudes of its terms.

    Source: the derivative of the formula in Krizhevsky et al. (2012), section 3.3.

    >>> import lrnorm
    >>> dx = lrnorm.local_response_norm_vjp([1.0, 2.0, 3.0], [0.0, 0.0, 1.0], axis=0)
    >>> [round(value, 4) for value in dx]
    [-0.081, -0.162, 0.27]
    """
    function = "local_response_norm_vjp"
    by_scale = spec is not None
    spec = spec_of(function, alpha, beta, bias, channel_window_size, spec, foreign)
    front, (x, g) = _front_of_two(x, g, "g")
    compute: Front = front or lrnorm.numpy
    dx = compute.vjp(x, g, spec, axis)
    result = dx if front else dx.tolist()
    if not parameters:
        return result
    gradients = compute.parameter_gradients(x, g, spec, axis)
    if not by_scale:
        before, after = spec.before or 0, spec.after or 0  # keywords always give both ends
        by_alpha = gradients["scale"] / (before + after + 1)
        gradients = {"alpha": by_alpha, "beta": gradients["beta"], "bias": gradients["bias"]}
    return result, gradients


def local_response_norm_jvp(
    x: Any,
    t: Any,
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    bias: float = BIAS,
    channel_window_size: int | tuple[int, int] = RADIUS,
    spec: LRNSpec | None = None,
    axis: int | None = None,
    **foreign: Any,
) -> Any:
    """The directional derivative of y = local_response_norm(x, …) at x along t.

        dy[c] = t[c] D[c]**-beta - 2 s beta x[c] D[c]**(-beta-1) sum(x[j] t[j])

    with s = alpha/(before + after + 1) and j over the window of c. `t` has the shape of x; the
    result has the kind and dtype of x. Arguments and errors are those of `local_response_norm`.

    dy is within 8 units in the last place of the sum of the magnitudes of its terms.

    Source: the derivative of the formula in Krizhevsky et al. (2012), section 3.3.

    >>> import lrnorm
    >>> dy = lrnorm.local_response_norm_jvp([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], axis=0)
    >>> [round(value, 4) for value in dy]
    [0.351, 0.189, 0.027]
    """
    function = "local_response_norm_jvp"
    spec = spec_of(function, alpha, beta, bias, channel_window_size, spec, foreign)
    front, (x, t) = _front_of_two(x, t, "t")
    dy = (front or lrnorm.numpy).jvp(x, t, spec, axis)
    return dy if front else dy.tolist()


def _front_of_two(x: Any, other: Any, name: str) -> tuple[Front | None, tuple[Any, Any]]:
    front, other_front = front_of(x), front_of(other, name)
    if front in (None, lrnorm.numpy) and other_front not in (None, lrnorm.numpy):
        kind = type(other)
        raise KindError(
            f"{name} must be a NumPy array or nested lists, as x is, got {kind.__module__}."
            f"{kind.__qualname__}. Give both in one kind."
        )
    if front is None:
        x = array_of_lists(x)
    if other_front is None:
        other = array_of_lists(other, name)
    return front, (x, other)
