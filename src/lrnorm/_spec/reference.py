"""The formula in float64 NumPy, as plainly as it can be written: the oracle.

    D[c] = bias + scale * sum(x[j]**2 for j in window(c))       window(c) = c-before … c+after
    y[c] = x[c] * D[c]**-beta

Nothing here is fast, and nothing guards against squares that leave the range of float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lrnorm._spec.spec import LRNSpec

Array = npt.NDArray[np.float64]


def _window_sum(terms: Array, before: int, after: int) -> Array:
    channels = len(terms)
    sums = np.zeros_like(terms)
    for c in range(channels):
        for j in range(max(0, c - before), min(channels - 1, c + after) + 1):
            sums[c] += terms[j]
    return sums


def _channels_first(x: Any, axis: int) -> Array:
    return np.moveaxis(np.asarray(x, dtype=np.float64), axis, 0)


def _energy(x: Array, spec: LRNSpec) -> tuple[Array, Array]:
    sums = _window_sum(x * x, *spec.ends(len(x)))
    return spec.bias + spec.scale * sums, sums


def forward(x: Any, spec: LRNSpec, axis: int) -> Array:
    """y[c] = x[c] D[c]**-beta"""
    x = _channels_first(x, axis)
    energy, _ = _energy(x, spec)
    return np.moveaxis(x * energy**-spec.beta, 0, axis)


def vjp(x: Any, g: Any, spec: LRNSpec, axis: int) -> Array:
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)),
    where m runs over the mirrored window, c-after … c+before."""
    x, g = _channels_first(x, axis), _channels_first(g, axis)
    energy, _ = _energy(x, spec)
    before, after = spec.ends(len(x))
    through = _window_sum(g * x * energy ** (-spec.beta - 1), after, before)
    return np.moveaxis(g * energy**-spec.beta - 2 * spec.scale * spec.beta * x * through, 0, axis)


def jvp(x: Any, t: Any, spec: LRNSpec, axis: int) -> Array:
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j])"""
    x, t = _channels_first(x, axis), _channels_first(t, axis)
    energy, _ = _energy(x, spec)
    along = _window_sum(x * t, *spec.ends(len(x)))
    change = 2 * spec.scale * spec.beta * x * energy ** (-spec.beta - 1) * along
    return np.moveaxis(t * energy**-spec.beta - change, 0, axis)


def parameter_gradients(x: Any, g: Any, spec: LRNSpec, axis: int) -> dict[str, float]:
    """d/d scale = -beta sum(g x D**(-beta-1) S), d/d bias the same without S, and
    d/d beta = -sum(g x D**-beta ln D), where S is the window's sum of squares."""
    x, g = _channels_first(x, axis), _channels_first(g, axis)
    energy, sums = _energy(x, spec)
    slope = -spec.beta * g * x * energy ** (-spec.beta - 1)
    return {
        "scale": float(np.sum(slope * sums)),
        "beta": float(-np.sum(g * x * energy**-spec.beta * np.log(energy))),
        "bias": float(np.sum(slope)),
    }
