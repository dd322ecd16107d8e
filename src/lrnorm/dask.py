"""LRN of Dask arrays: lazy, with chunks of any size.

    y[c] = x[c] * (bias + alpha/(2r+1) * sum(x[j]**2 for j in c-r … c+r)) ** -beta

Each chunk is computed by the front for its own kind of array (NumPy, CuPy). Chunks along batch
and pixels are independent; chunks along the axes of the window fetch its edge from their
neighbours. `lrnorm.local_response_norm` takes Dask arrays too, and is lazy in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from lrnorm._fronts.checks import wrong_kind
from lrnorm._function import functions
from lrnorm._function.dispatch import Front, front_of
from lrnorm._spec.errors import OutputError, ShapeError, missing
from lrnorm._spec.spec import Axis, LRNSpec, resolve_axes, window_in

try:
    import dask.array as da
except ImportError as error:
    raise missing("lrnorm.dask", "Dask", "'lrnorm[dask]'") from error

__all__ = ["local_response_norm", "local_response_norm_jvp", "local_response_norm_vjp"]


def local_response_norm(x: da.Array, **parameters: Any) -> da.Array:
    """Divide each value by the energy of its neighbouring channels; lazily.

        y[c] = x[c] * (bias + alpha/(2r+1) * sum(x[j]**2 for j in c-r … c+r)) ** -beta

    `parameters` are those of `lrnorm.local_response_norm`, without `out`. The result has the
    chunks of x. Sizes of chunks need to be known along the channels only. Where a chunk holds all
    channels the result is that of NumPy, bit for bit; else within the same bounds. Chunks smaller
    than the window are merged with their neighbours on the way.

    Errors: those of `lrnorm.local_response_norm`, at once and not when it is computed; KindError
    (a TypeError) for another type of array; ShapeError (a ValueError) for channels in chunks of
    unknown size.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 3.3.

    >>> import dask.array, lrnorm.dask
    >>> x = dask.array.ones((4, 96, 55, 55), chunks=(1, 32, 55, 55), dtype="float32")
    >>> y = lrnorm.dask.local_response_norm(x, alpha=1e-4, beta=0.75)
    >>> y.chunks == x.chunks, y.dtype
    (True, dtype('float32'))
    >>> round(float(y[0, 0, 0, 0].compute()), 6)
    0.999955
    """
    y: da.Array = functions.local_response_norm(_checked(x), **parameters)
    return y


def local_response_norm_vjp(x: da.Array, g: Any, **parameters: Any) -> Any:
    """The gradient of sum(g * y) by x, y = local_response_norm(x, …); lazily.

        dx[c] = g[c] D[c]**-beta - 2 s beta x[c] sum(g[m] x[m] D[m]**(-beta-1))

    over the mirrored window. `parameters` are those of `lrnorm.local_response_norm_vjp`, without
    `out`; with `parameters=True` the gradients of the numbers are Dask arrays without axes,
    computed from chunks that hold all channels. g is a Dask array of any chunks, or an array.

    Errors and source: as `local_response_norm`, and ShapeError where g does not fit x.

    >>> import dask.array, lrnorm.dask
    >>> x = dask.array.from_array([1.0, 2.0, 3.0], chunks=1)
    >>> g = dask.array.from_array([0.0, 0.0, 1.0], chunks=1)
    >>> lrnorm.dask.local_response_norm_vjp(x, g, axis=0).compute().round(4)
    array([-0.081, -0.162,  0.27 ])
    """
    return functions.local_response_norm_vjp(_checked(x), g, **parameters)


def local_response_norm_jvp(x: da.Array, t: Any, **parameters: Any) -> da.Array:
    """The directional derivative of y = local_response_norm(x, …) at x along t.

        dy[c] = t[c] D[c]**-beta - 2 s beta x[c] D[c]**(-beta-1) sum(x[j] t[j])

    `parameters` are those of `lrnorm.local_response_norm_jvp`, without `out`. Errors and source:
    as `local_response_norm_vjp`.

    >>> import dask.array, lrnorm.dask
    >>> x, t = (dask.array.from_array(a, chunks=1) for a in ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]))
    >>> lrnorm.dask.local_response_norm_jvp(x, t, axis=0).compute().round(4)
    array([0.351, 0.189, 0.027])
    """
    dy: da.Array = functions.local_response_norm_jvp(_checked(x), t, **parameters)
    return dy


def _checked(x: Any) -> da.Array:
    if isinstance(x, da.Array):
        return x
    way_out = "For other arrays call lrnorm.local_response_norm, or pass dask.array.from_array(x)."
    raise wrong_kind("x", "must be a Dask array", x, way_out)


# The front, which lrnorm._function calls with a spec.


def forward(
    x: da.Array, spec: LRNSpec, axis: Axis = None, *, dtype: Any = None, out: Any = None
) -> Any:
    """y[c] = x[c] * D[c]**-beta along `axis`; see `lrnorm.local_response_norm`."""
    _refuse_out(out)
    return _along(_edges(x, spec, axis), "forward", [x], spec, dtype=dtype, out=None)


def _refuse_out(out: Any) -> None:
    if out is not None:
        raise OutputError(
            "out",
            "cannot be given for a Dask array, which is computed later",
            way_out="Leave it out. y.compute(), y.store(target) or y.to_zarr(path) say where the "
            "result goes.",
        )


def vjp(x: da.Array, g: Any, spec: LRNSpec, axis: Axis = None, *, out: Any = None) -> Any:
    """See `lrnorm.local_response_norm_vjp`."""
    _refuse_out(out)
    edges = _edges(x, spec, axis)
    g = _fitted(g, x, "g")
    # The mirrored window reaches `after` back and `before` ahead; each D there has its own window.
    reach = {axis: (sum(edge), sum(edge)) for axis, edge in edges.items()}
    return _along(reach, "vjp", [x, g], spec)


def jvp(x: da.Array, t: Any, spec: LRNSpec, axis: Axis = None, *, out: Any = None) -> Any:
    """See `lrnorm.local_response_norm_jvp`."""
    _refuse_out(out)
    edges = _edges(x, spec, axis)
    t = _fitted(t, x, "t")
    return _along(edges, "jvp", [x, t], spec)


def parameter_gradients(
    x: da.Array, g: Any, spec: LRNSpec, axis: Axis = None
) -> dict[str, da.Array]:
    """The derivatives of sum(g * y) by scale, beta and bias, as float64 without axes."""
    axes = tuple(_edges(x, spec, axis))
    # Beyond a piece of the channels D is not known, and 0 times an unknown D may be nan: whole
    # channels need no edge.
    x, g = (a.rechunk(dict.fromkeys(axes, -1)) for a in (x, _fitted(g, x, "g")))
    _normalize(x._meta, g._meta, verb="vjp", spec=spec, axis=axes, options={})  # for its errors
    totals = da.map_blocks(
        _totals,
        x,
        g,
        spec=spec,
        axis=axes,
        dtype="float64",
        chunks=(*((1,) * blocks for blocks in x.numblocks), (3,)),
        new_axis=x.ndim,
    ).sum(axis=tuple(range(x.ndim)))
    return dict(zip(("scale", "beta", "bias"), totals, strict=True))


def converted(x: da.Array, dtype: str) -> Any:
    """x in the type of that name."""
    return x.astype(dtype)


def ones_like(x: da.Array) -> Any:
    """Ones, of the shape, dtype and chunks of x."""
    return da.ones_like(x)


def joined(pieces: Iterable[da.Array], like: da.Array) -> Any:
    """Pieces of a batch as one array."""
    return da.concatenate(list(pieces))


# The reach of a window before and after an element, along each of its axes.
_Edges = dict[int, tuple[int, int]]


def _edges(x: da.Array, spec: LRNSpec, axis: Axis) -> _Edges:
    """The reach of the window along each of its axes, at most the axis."""
    axes = resolve_axes(axis, x.ndim)
    for one in axes:
        if math.isnan(x.shape[one]):
            raise ShapeError(
                f"the chunks of x along the channels, axis {one},",
                "must be of known size",
                value=x.chunks[one],
                way_out="Call x.compute_chunk_sizes() first, or x.rechunk before the sizes are "
                "lost.",
            )
    last = {one: max(x.shape[one] - 1, 0) for one in axes}
    return {
        one: (min(before, last[one]), min(after, last[one]))
        for before, after, one in zip(*window_in(x.shape, spec, axes), strict=True)
    }


def _fitted(other: Any, x: da.Array, name: str) -> Any:
    """The array that goes with x, in the same chunks."""
    if not isinstance(other, da.Array):
        if any(map(math.isnan, x.shape)):
            raise ShapeError(
                name,
                "must be a Dask array in the chunks of x where their sizes are unknown",
                value=type(other),
                got=type(other).__qualname__,
                way_out="Call x.compute_chunk_sizes() first.",
            )
        other = da.asarray(other)
    sizes = zip(other.shape, x.shape, strict=False)
    if other.ndim != x.ndim or any(a != b for a, b in sizes if not math.isnan(a + b)):
        rule = f"must have the shape of x, {x.shape}"
        raise ShapeError(name, rule, value=other.shape, way_out=f"Pass {name} of that shape.")
    known = {i: chunks for i, chunks in enumerate(x.chunks) if not any(map(math.isnan, chunks))}
    lost = [i for i in range(x.ndim) if i not in known or math.isnan(other.shape[i])]
    if any(other.numblocks[i] != x.numblocks[i] for i in lost):
        raise ShapeError(
            name,
            "must have the chunks of x where their sizes are unknown",
            value=other.numblocks,
            got=f"{other.numblocks} of them where x has {x.numblocks}",
            way_out="Call compute_chunk_sizes() of both first.",
        )
    return other.rechunk({i: chunks for i, chunks in known.items() if i not in lost})


def _along(edges: _Edges, verb: str, arrays: list[da.Array], spec: LRNSpec, **options: Any) -> Any:
    """A verb on every chunk, by the front for the kind of the chunks. Each chunk is extended on
    either side by its edge, which its result leaves out: with the edge (2, 1) the chunk 4 5 6 is
    computed from 2 3 4 5 6 7. The result has the chunks of the first array."""
    work: dict[str, Any] = {"verb": verb, "spec": spec, "axis": tuple(edges), "options": options}
    meta = _normalize(*(a._meta for a in arrays), **work)  # raises errors now, not at the end
    work |= {"meta": meta, "dtype": meta.dtype}
    x = arrays[0]
    cut = [axis for axis in edges if len(x.chunks[axis]) > 1]
    return _in_pieces(cut, edges, arrays, x.chunks, {}, work)


def _in_pieces(
    axes: list[int],
    edges: _Edges,
    arrays: list[da.Array],
    chunks: tuple[Any, ...],
    keep: dict[int, slice],
    work: dict[str, Any],
) -> Any:
    """The verb on arrays that are in chunks along `axes`, one axis after the other. `chunks` are
    those of the result, `keep` what it takes of the axes that are one piece already."""
    if not axes:
        kept = tuple(keep.get(axis, slice(None)) for axis in range(len(chunks)))
        return da.map_blocks(_normalize, *arrays, chunks=chunks, keep=kept, **work)
    axis, *rest = axes
    before, after = edges[axis]
    whole = (slice(None),) * axis
    start, pieces = 0, []
    for size in _merged(chunks[axis], before + after):
        low, stop = max(0, start - before), start + size
        cut = [a[(*whole, slice(low, stop + after))].rechunk({axis: -1}) for a in arrays]
        own = (*chunks[:axis], (size,), *chunks[axis + 1 :])
        inner = {**keep, axis: slice(start - low, stop - low)}
        pieces.append(_in_pieces(rest, edges, cut, own, inner, work))
        start = stop
    y = da.concatenate(pieces, axis=axis, allow_unknown_chunksizes=True)
    return y.rechunk({axis: chunks[axis]})


def _merged(sizes: tuple[int, ...], edge: int) -> list[int]:
    """Chunk sizes, neighbours merged until none is smaller than its edges: otherwise more would be
    computed twice than once. With edge=4, the sizes 2 2 2 2 become 4 4."""
    merged = [sizes[0]]
    for size in sizes[1:]:
        if merged[-1] < edge:
            merged[-1] += size
        else:
            merged.append(size)
    if len(merged) > 1 and merged[-1] < edge:
        merged[-2:] = [merged[-2] + merged[-1]]
    return merged


def _normalize(
    *arrays: Any, verb: str, spec: LRNSpec, axis: Axis, options: dict[str, Any], keep: Any = ...
) -> Any:
    """A verb on one chunk, by the front for its kind."""
    return getattr(front_of(arrays[0]), verb)(*arrays, spec, axis, **options)[keep]


def _totals(x: Any, g: Any, *, spec: LRNSpec, axis: Axis) -> Any:
    front = cast(Front, front_of(x))
    totals = front.parameter_gradients(x, g, spec, axis)
    return np.array([float(total) for total in totals.values()]).reshape((1,) * x.ndim + (3,))
