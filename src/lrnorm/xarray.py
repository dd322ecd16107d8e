"""LRN of xarray's DataArrays, along a dimension given by its name.

    y[c] = x[c] * (bias + alpha/(2r+1) * sum(x[j]**2 for j in c-r … c+r)) ** -beta

The array in the DataArray is computed by the front for its kind: NumPy arrays at once, Dask
arrays lazily. `lrnorm.local_response_norm` takes DataArrays too, with the number of the axis;
without one it takes the dimension called "channel", where there is one, and else the channels of
(…, channels, height, width).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, cast

from lrnorm._fronts.checks import kind_name, wrong_kind
from lrnorm._function import functions
from lrnorm._function.dispatch import Front, front_of
from lrnorm._spec.errors import KindError, OutputError, ShapeError, missing
from lrnorm._spec.spec import Axis, LRNSpec, resolve_axes

try:
    import xarray as xr
except ImportError as error:
    raise missing("lrnorm.xarray", "xarray", "'lrnorm[xarray]'") from error

__all__ = ["local_response_norm", "local_response_norm_jvp", "local_response_norm_vjp"]


def local_response_norm(
    da: xr.DataArray, dim: Hashable | tuple[Hashable, ...] = "channel", **parameters: Any
) -> xr.DataArray:
    """Divide each value by the energy of its neighbours along `dim`: a dimension, or a tuple of
    them for a box, ``dim=("y", "x")``.

        y[c] = x[c] * (bias + alpha/(2r+1) * sum(x[j]**2 for j in c-r … c+r)) ** -beta

    `parameters` are those of `lrnorm.local_response_norm`, without `axis` and `out`. Coordinates,
    attributes, the name and the order of the dimensions are those of `da`; how it was encoded in
    a file is not kept. Over Dask the result is lazy, in the same chunks.

    Errors: those of `lrnorm.local_response_norm`; ShapeError (a ValueError) for a dimension that
    is not there; KindError (a TypeError) for another type of array.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 3.3.

    >>> import xarray, lrnorm.xarray
    >>> da = xarray.DataArray([[-2.0, -1.0, 0.0, 1.0, 2.0]], dims=("time", "channel"))
    >>> y = lrnorm.xarray.local_response_norm(da)
    >>> y.dims, y.values.round(4)
    (('time', 'channel'), array([[-1.4142, -0.6742,  0.    ,  0.6742,  1.4142]]))
    """
    y: xr.DataArray = functions.local_response_norm(
        da, axis=_axis(da, dim, parameters), **parameters
    )
    return y


def local_response_norm_vjp(
    da: xr.DataArray, g: Any, dim: Hashable | tuple[Hashable, ...] = "channel", **parameters: Any
) -> Any:
    """The gradient of sum(g * y) by x, y = local_response_norm(x, …).

        dx[c] = g[c] D[c]**-beta - 2 s beta x[c] sum(g[m] x[m] D[m]**(-beta-1))

    over the mirrored window. g is a DataArray of the dimensions of `da` in any order, with the
    same labels where both have some, or an array of its shape. `parameters` are those of
    `lrnorm.local_response_norm_vjp`, without `axis` and `out`. Errors and source: as
    `local_response_norm`, and ShapeError where g does not fit.

    >>> import xarray, lrnorm.xarray
    >>> x, g = (xarray.DataArray(a, dims="channel") for a in ([1.0, 2.0, 3.0], [0.0, 0.0, 1.0]))
    >>> lrnorm.xarray.local_response_norm_vjp(x, g).values.round(4)
    array([-0.081, -0.162,  0.27 ])
    """
    return functions.local_response_norm_vjp(da, g, axis=_axis(da, dim, parameters), **parameters)


def local_response_norm_jvp(
    da: xr.DataArray, t: Any, dim: Hashable | tuple[Hashable, ...] = "channel", **parameters: Any
) -> xr.DataArray:
    """The directional derivative of y = local_response_norm(x, …) at x along t.

        dy[c] = t[c] D[c]**-beta - 2 s beta x[c] D[c]**(-beta-1) sum(x[j] t[j])

    t is as g of `local_response_norm_vjp`; `parameters` are those of
    `lrnorm.local_response_norm_jvp`, without `axis` and `out`. Errors and source: as there.

    >>> import xarray, lrnorm.xarray
    >>> x, t = (xarray.DataArray(a, dims="channel") for a in ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]))
    >>> lrnorm.xarray.local_response_norm_jvp(x, t).values.round(4)
    array([0.351, 0.189, 0.027])
    """
    axis = _axis(da, dim, parameters)
    dy: xr.DataArray = functions.local_response_norm_jvp(da, t, axis=axis, **parameters)
    return dy


def _axis(da: Any, dim: Any, parameters: dict[str, Any]) -> Axis:
    """The number of the dimension, or those of a box."""
    if isinstance(da, xr.Dataset):
        way_out = (
            f"For each of its variables: ds.map(lrnorm.xarray.local_response_norm, dim={dim!r})."
        )
        raise wrong_kind("x", _KIND, da, way_out)
    if not isinstance(da, xr.DataArray):
        raise wrong_kind("x", _KIND, da, "For other arrays call lrnorm.local_response_norm.")
    if "axis" in parameters:
        axis = parameters["axis"]
        raise KindError(
            "a DataArray",
            "is normalized along a dimension by its name",
            value=axis,
            got=f"axis={axis!r}",
            way_out=f"Pass dim=NAME, one of {_names(da)}; lrnorm.local_response_norm(x, axis=…) "
            "takes its number.",
        )
    # A tuple may be the name of a dimension itself.
    several = isinstance(dim, (tuple, list)) and dim not in da.dims
    for name in (named := tuple(dim) if several else (dim,)):
        if name not in da.dims:
            rule = f"must be a dimension of x, one of {_names(da)}"
            raise ShapeError("dim", rule, value=dim, way_out="Pass dim=NAME of the channels.")
    axes = tuple(map(da.dims.index, named))
    return axes if several else axes[0]


_KIND = "must be an xarray.DataArray"


def _resolved(axis: Axis, x: xr.DataArray) -> tuple[int, ...]:
    """The axes of the window counted from 0; without any, the dimension called "channel", else that
    of (…, channels, height, width)."""
    if axis is None and _CHANNEL in x.dims:
        return (x.dims.index(_CHANNEL),)
    return resolve_axes(axis, x.ndim)


_CHANNEL = "channel"


def _names(da: xr.DataArray) -> str:
    return ", ".join(map(repr, da.dims)) or "none, as it is a single number"


# The front, which lrnorm._function calls with a spec.


def forward(
    x: xr.DataArray, spec: LRNSpec, axis: Axis = None, *, dtype: Any = None, out: Any = None
) -> xr.DataArray:
    """y[c] = x[c] * D[c]**-beta along `axis`; see `lrnorm.local_response_norm`."""
    _refuse_out(out, "local_response_norm(x.data, out=y.data)")
    axis = _resolved(axis, x)
    return _labelled(x, _front(x).forward(x.data, spec, axis, dtype=dtype, out=None))


def _refuse_out(out: Any, call: str) -> None:
    if out is not None:
        way_out = f"Leave it out, or pass the arrays: lrnorm.{call}."
        raise OutputError("out", "cannot be given for a DataArray", way_out=way_out)


def vjp(
    x: xr.DataArray, g: Any, spec: LRNSpec, axis: Axis = None, *, out: Any = None
) -> xr.DataArray:
    """See `lrnorm.local_response_norm_vjp`."""
    _refuse_out(out, "local_response_norm_vjp(x.data, g.data, out=dx.data)")
    axis = _resolved(axis, x)
    return _labelled(x, _front(x).vjp(x.data, _fitted(g, x, "g"), spec, axis))


def jvp(
    x: xr.DataArray, t: Any, spec: LRNSpec, axis: Axis = None, *, out: Any = None
) -> xr.DataArray:
    """See `lrnorm.local_response_norm_jvp`."""
    _refuse_out(out, "local_response_norm_jvp(x.data, t.data, out=dy.data)")
    axis = _resolved(axis, x)
    return _labelled(x, _front(x).jvp(x.data, _fitted(t, x, "t"), spec, axis))


def parameter_gradients(
    x: xr.DataArray, g: Any, spec: LRNSpec, axis: Axis = None
) -> dict[str, Any]:
    """The derivatives of sum(g * y) by scale, beta and bias, as what x holds gives them."""
    axis = _resolved(axis, x)
    return _front(x).parameter_gradients(x.data, _fitted(g, x, "g"), spec, axis)


def converted(x: xr.DataArray, dtype: str) -> xr.DataArray:
    """x in the type of that name."""
    return _labelled(x, _front(x).converted(x.data, dtype))


def ones_like(x: xr.DataArray) -> xr.DataArray:
    """Ones, with the labels of x."""
    return _labelled(x, _front(x).ones_like(x.data))


def joined(pieces: Iterable[xr.DataArray], like: xr.DataArray) -> xr.DataArray:
    """Pieces of a batch as one array, with the labels of `like`."""
    return _labelled(like, _front(like).joined((piece.data for piece in pieces), like.data))


def _front(x: xr.DataArray) -> Front:
    return cast(Front, front_of(x.data))  # never lists, which have no front


def _labelled(x: xr.DataArray, values: Any) -> xr.DataArray:
    """x with other values. Its encoding goes: it was chosen for the old ones, and could cut the
    new ones to integers in a file."""
    return x.copy(deep=False, data=values).drop_encoding()


def _fitted(other: Any, x: xr.DataArray, name: str) -> Any:
    """The array that goes with x's own."""
    if isinstance(other, xr.DataArray):
        other = _in_order(other, x, name)
    front = front_of(other, name)
    if front is not _front(x) and not isinstance(getattr(x, "chunks", None), tuple):
        rule = f"must hold the kind of array that x holds, {kind_name(x.data)}"
        way_out = f"Pass x.chunk() for both to be lazy, or {name}.compute()."
        raise wrong_kind(name, rule, other, way_out)
    return other


def _in_order(other: xr.DataArray, x: xr.DataArray, name: str) -> Any:
    """Its values, if its labels are those of x, with the dimensions in the order of those of x."""
    if set(other.dims) != set(x.dims):
        rule = f"must have the dimensions of x, {x.dims}"
        raise ShapeError(name, rule, value=other.dims, way_out=f"Pass {name} with those.")
    try:
        xr.align(x, other, join="exact")
    except ValueError as error:
        reason = " ".join(str(error).split())
        rule = f"must have the sizes and labels of x: {reason}"
        way_out = f"Pass {name}.reindex_like(x), or {name}.data if its labels do not matter."
        raise ShapeError(name, rule, way_out=way_out) from error
    return other.transpose(*x.dims).data
