"""The formula in extended precision, for columns of channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrnorm._spec.spec import LRNSpec


def membership(spec: LRNSpec, channels: int) -> Any:
    """Row c holds 1 where a channel counts in the window of c."""
    before, after = spec.ends(channels)
    offset = np.arange(channels)[None] - np.arange(channels)[:, None]
    return (offset >= -before) & (offset <= after)


def sums(columns: Any, spec: LRNSpec) -> Any:
    """The sum of squares in the window of each channel, along the last axis."""
    x = np.asarray(columns, dtype=np.longdouble)
    squares = x * x
    channels = squares.shape[-1]
    before, after = spec.ends(channels)
    total = np.zeros_like(squares)
    for shift in range(-min(before, channels - 1), min(after, channels - 1) + 1):
        into = slice(max(0, -shift), channels - max(0, shift))
        source = slice(max(0, shift), channels - max(0, -shift))
        total[..., into] += squares[..., source]
    return total


def energy(columns: Any, spec: LRNSpec) -> Any:
    """D = bias + scale · Σ x²"""
    return np.longdouble(spec.bias) + np.longdouble(spec.scale) * sums(columns, spec)


def forward(columns: Any, spec: LRNSpec) -> Any:
    """y = x · D^-beta"""
    with np.errstate(all="ignore"):
        x = np.asarray(columns, dtype=np.longdouble)
        return x * energy(columns, spec) ** -np.longdouble(spec.beta)
