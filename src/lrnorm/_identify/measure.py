"""Measures a callable: the checks, the fit and the verification, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lrnorm._identify import exact, fitting, independence, single_channel, window
from lrnorm._identify.found import Identification, Remark
from lrnorm._identify.remarks import remarks
from lrnorm._identify.single_channel import Estimate
from lrnorm._identify.subject import Array, Subject
from lrnorm._spec.errors import IdentificationError, ParameterError, ShapeError
from lrnorm._spec.spec import LRNSpec, is_integer

# Sizes of the axes beside the channels: all different, so that a confusion of axes shows.
OTHERS = {0: (), 1: (64,), 2: (5, 13), 3: (3, 5, 6), 4: (2, 3, 3, 5), 5: (2, 3, 1, 3, 5)}


def identify(
    f: Callable[[Any], Any],
    *,
    channels: int = 16,
    axis: int = 1,
    ndim: int = 4,
    dtype: Any = "float32",
    shape: tuple[int, ...] | None = None,
) -> Identification:
    """Measure what a callable computes, as the five numbers of an LRN.

        y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

    One channel of many sizes gives scale, beta and bias; channels ten times as large as the others
    give the window; thousands of random values give the numbers to the precision of the callable,
    and others verify the result against the exact formula.

    Parameters
    ----------
    f : callable
        Takes an array and returns one of the same shape: NumPy, PyTorch or JAX arrays, a module,
        a Keras layer, a session in a lambda. It is called about 30 times, 200 at most, and gets
        fresh arrays. A PyTorch module is run as it is: call `.eval()` first.
    channels : int
        Size of the channel axis. A window is seen whole only if it is shorter than that: an end
        that is not seen is None.
    axis, ndim : int
        The axis of the channels, and the number of axes of the arrays.
    dtype : str, or a dtype of NumPy or PyTorch
        "float16", "bfloat16", "float32" or "float64".
    shape : tuple of int, optional
        The whole shape, in place of channels and ndim, for a callable that takes only one.

    Returns
    -------
    Identification
        `.spec`, `.words`, `.max_ulp`, `.remarks`, `.uncertainty`; it prints as a table.

    Errors: IdentificationError (a ValueError) for what is not an LRN; its `.reason` says what was
    seen, and its `.code` is one of raises, shape, random, not_odd, other_pixels, size_law,
    unequal_weights, edge_divisor, unverified. KindError (a TypeError) for what is not callable.

    Source: the derivation in the documentation, "Measure what a function computes".

    >>> import lrnorm, numpy as np
    >>> def normalized(x):
    ...     padded = np.pad(x**2, [(0, 0), (1, 1), (0, 0), (0, 0)])
    ...     return x / (2 + 0.1 * (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:])) ** 0.75
    >>> found = lrnorm.identify(normalized)
    >>> found.spec
    LRNSpec(scale=0.1, beta=0.75, bias=2.0, before=1, after=1)
    >>> lrnorm.identify(np.tanh)
    Traceback (most recent call last):
        ...
    lrnorm.IdentificationError: this is not a local response normalization: ...
    """
    shape, axis = _shape(channels, axis, ndim, shape)
    subject = Subject(f, shape, axis, dtype)
    independence.check(subject)
    found = single_channel.measure(subject)
    if found.is_constant:
        return _constant(subject, found)
    before, after = window.measure(subject, found)
    open_spec = LRNSpec(found.scale, found.beta, found.bias, before, after)
    data = fitting.observe(
        subject, _columns(subject, found, open_spec, 1e-2, 1e3, 6000, 1), open_spec
    )
    values, uncertainty, rest = fitting.as_decimals(
        data, found, (before, after), subject.channels, subject.precision.eps
    )
    spec = LRNSpec(**values, before=before, after=after)
    return _verified(subject, found, spec, uncertainty, rest)


def _shape(
    channels: Any, axis: Any, ndim: Any, shape: tuple[int, ...] | None
) -> tuple[tuple[int, ...], int]:
    """The shape of every array, and the axis of the channels from 0."""
    if shape is not None:
        if not isinstance(shape, (tuple, list)) or not all(is_integer(n) and n > 0 for n in shape):
            way_out = "Pass for example shape=(2, 16, 5, 6)."
            raise ShapeError(
                "shape", "must be a tuple of positive integers", value=shape, way_out=way_out
            )
        ndim = len(shape)
    for name, value in (("channels", channels), ("ndim", ndim)):
        if not is_integer(value) or value < 1:
            raise ParameterError(name, "must be a positive integer", value=value)
    if not is_integer(axis) or not -ndim <= axis < ndim:
        raise ShapeError("axis", f"must be an integer in {-ndim} … {ndim - 1}", value=axis)
    axis = int(axis) % ndim
    if shape is not None:
        return tuple(int(size) for size in shape), axis
    if ndim - 1 not in OTHERS:
        raise ParameterError(
            "ndim", f"must be at most {max(OTHERS) + 1}", value=ndim, way_out="Pass shape=…."
        )
    others = OTHERS[ndim - 1]
    return (*others[:axis], int(channels), *others[axis:]), axis


def _columns(
    subject: Subject,
    found: Estimate,
    spec: LRNSpec,
    low: float,
    high: float,
    values: int,
    seed: int,
) -> Array:
    """Random columns that fill whole arrays, about so many values, in at most twenty calls."""
    limit = 20 if subject.columns > 1 else values // 300  # one column a call: 20, 10 and 5 calls
    calls = min(limit, max(1, round(values / (subject.channels * subject.columns))))
    return fitting.random_columns(
        found, spec, subject.channels, calls * subject.columns, low, high, seed
    )


def _verified(
    subject: Subject, found: Estimate, spec: LRNSpec, uncertainty: dict[str, float], rest: float
) -> Identification:
    """The answer, once fresh random values agree with the exact formula."""
    precision = subject.precision
    dense = _columns(subject, found, spec, 1e-4, 1e4, 3000, 11)
    sparse = _columns(subject, found, spec, 1e-2, 1e2, 1500, 12)
    if found.bias * found.scale > 0:
        sparse = sparse * (np.random.default_rng(13).random(sparse.shape) < 0.4)
    columns = precision.rounded(np.concatenate([dense, sparse]))
    y, right = subject(columns), exact.forward(columns, spec)
    with np.errstate(all="ignore"):
        shown = np.isfinite(right) & (np.abs(right) >= 4 * precision.tiny)
        shown &= np.abs(right) <= precision.largest
        error = np.abs(y - right)
        relative = np.where(shown, error / np.abs(right), 0)
        ulp = np.where(shown, error / precision.spacing(right), 0)
    tolerance = max(64 * precision.eps * (1 + abs(spec.beta)), 8 * max(rest, found.noise))
    worst = np.unravel_index(np.argmax(np.where(np.isnan(relative), np.inf, relative)), y.shape)
    if not relative[worst] <= tolerance:
        raise IdentificationError(
            f"the best fit is {spec}, but on random values it is off by {relative[worst]:.2g}, "
            f"relative: {y[worst]:.7g} in place of {float(right[worst]):.7g}",
            "unverified",
        )
    if np.any((columns == 0) & (y != 0) & ~np.isnan(y)):
        raise IdentificationError("a channel that is 0 does not stay 0", "not_odd")
    max_ulp = float(ulp.max())
    typical = precision.rounded(
        fitting.random_columns(found, spec, subject.channels, subject.columns, 0.5, 2.0, 14)
    )
    said = tuple(remarks(subject, found, spec, typical, tolerance, max_ulp))
    return Identification(
        spec=spec,
        max_ulp=max_ulp,
        remarks=said,
        uncertainty=uncertainty,
        dtype=precision.name,
        channels=subject.channels,
        values=int(np.count_nonzero(shown)),
        calls=subject.calls,
        max_error=float(relative[worst]),
    )


def _constant(subject: Subject, found: Estimate) -> Identification:
    """A constant factor: beta or scale is 0. Nothing can be said of a window that has no effect."""
    rng = np.random.default_rng(15)
    x = rng.standard_normal((subject.columns, subject.channels))
    size = np.sqrt(found.low * found.high)
    x = subject.precision.rounded(
        x * np.geomspace(size / 1e2, size * 1e2, subject.columns)[:, None]
    )
    y = subject.full(x)
    with np.errstate(all="ignore"):
        factor = float(np.median(x / y))
    uncertainty = 2 * subject.precision.eps * abs(factor)
    factor, _ = fitting.shortest(factor, uncertainty)
    right = x / factor
    error = np.abs(y - right) / np.abs(right)
    if not error.max() <= 64 * subject.precision.eps:
        raise IdentificationError(
            "a channel alone is only multiplied by a constant, but its neighbours change it: its "
            "own square does not count",
            "unequal_weights",
        )
    spec = LRNSpec(0.0, found.beta, factor if found.beta else 1.0, 0, 0)
    return Identification(
        spec=spec,
        max_ulp=float((np.abs(y - right) / subject.precision.spacing(right)).max()),
        remarks=(
            Remark("constant_factor", f"it only divides by {factor:.7g}, whatever the input"),
        ),
        uncertainty={"bias": uncertainty},
        dtype=subject.precision.name,
        channels=subject.channels,
        values=x.size,
        calls=subject.calls,
        max_error=float(error.max()),
    )
