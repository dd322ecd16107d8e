"""The formula in float64 NumPy, as plainly as it can be written: the oracle.

    D[c] = bias + scale * sum(x[j]**2 for j in window(c))       window(c) = c-before … c+after
    y[c] = x[c] * D[c]**-beta

The window of a box is one along each of its axes, and sums are taken along one after the other.
Nothing here is fast, and nothing guards against squares that leave the range of float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lrnorm._spec.spec import Axis, LRNSpec, Window, window_in

Array = npt.NDArray[np.float64]


def _window_sum(terms: Array, window: Window) -> Array:
    for before, after, axis in zip(*window, strict=True):
        terms = np.moveaxis(terms, axis, 0)
        size = len(terms)
        sums = np.zeros_like(terms)
        for c in range(size):
            for j in range(max(0, c - before), min(size - 1, c + after) + 1):
                sums[c] += terms[j]
        terms = np.moveaxis(sums, 0, axis)
    return terms


def _energy(x: Array, spec: LRNSpec, window: Window) -> tuple[Array, Array]:
    sums = _window_sum(x * x, window)
    return spec.bias + spec.scale * sums, sums


def _array(x: Any) -> Array:
    return np.asarray(x, dtype=np.float64)


def forward(x: Any, spec: LRNSpec, axis: Axis) -> Array:
    """y[c] = x[c] D[c]**-beta"""
    x = _array(x)
    energy, _ = _energy(x, spec, window_in(x.shape, spec, axis))
    y: Array = x * energy**-spec.beta
    return y


def vjp(x: Any, g: Any, spec: LRNSpec, axis: Axis) -> Array:
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)),
    where m runs over the mirrored window, c-after … c+before."""
    x, g = _array(x), _array(g)
    window = window_in(x.shape, spec, axis)
    energy, _ = _energy(x, spec, window)
    through = _window_sum(g * x * energy ** (-spec.beta - 1), window.mirrored())
    dx: Array = g * energy**-spec.beta - 2 * spec.scale * spec.beta * x * through
    return dx


def jvp(x: Any, t: Any, spec: LRNSpec, axis: Axis) -> Array:
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j])"""
    x, t = _array(x), _array(t)
    window = window_in(x.shape, spec, axis)
    energy, _ = _energy(x, spec, window)
    change = (
        2 * spec.scale * spec.beta * x * energy ** (-spec.beta - 1) * _window_sum(x * t, window)
    )
    dy: Array = t * energy**-spec.beta - change
    return dy


def parameter_gradients(x: Any, g: Any, spec: LRNSpec, axis: Axis) -> dict[str, float]:
    """d/d scale = -beta sum(g x D**(-beta-1) S), d/d bias the same without S, and
    d/d beta = -sum(g x D**-beta ln D), where S is the window's sum of squares."""
    x, g = _array(x), _array(g)
    energy, sums = _energy(x, spec, window_in(x.shape, spec, axis))
    slope = -spec.beta * g * x * energy ** (-spec.beta - 1)
    return {
        "scale": float(np.sum(slope * sums)),
        "beta": float(-np.sum(g * x * energy**-spec.beta * np.log(energy))),
        "bias": float(np.sum(slope)),
    }
