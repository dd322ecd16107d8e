"""Callables written from the formula alone, random parameters, and callables that are no LRN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lrnorm import conventions
from lrnorm._spec.spec import LRNSpec
from lrnorm.conventions.table import ROWS

Array = Any


def window_sums(squares: Array, before: int, after: int) -> Array:
    """Sums along the last axis."""
    sums = np.zeros_like(squares)
    channels = squares.shape[-1]
    for c in range(channels):
        sums[..., c] = squares[..., max(0, c - before) : c + after + 1].sum(-1)
    return sums


def lrn(spec: LRNSpec, axis: int = 1) -> Callable[[Array], Array]:
    """The formula in the type of its input, as a NumPy user would write it."""

    def f(x: Array) -> Array:
        kind = x.dtype.type
        x = np.moveaxis(x, axis, -1)
        sums = window_sums(x * x, *spec.ends(x.shape[-1]))
        y = x / (kind(spec.bias) + kind(spec.scale) * sums) ** kind(spec.beta)
        return np.moveaxis(y, -1, axis)

    return f


def short(rng: np.random.Generator, low: float, high: float, digits: int) -> float:
    """A random decimal of at most so many digits, spread evenly over the decades."""
    number = np.exp(rng.uniform(np.log(low), np.log(high)))
    return float(f"{number:.{rng.integers(digits)}e}")


def random_words(name: str, rng: np.random.Generator, digits: int) -> dict[str, Any]:
    """Random keywords that the convention accepts."""
    row = ROWS[name]
    while True:
        size = int(rng.integers(1, 15))
        beta = short(rng, 0.1, 3, digits) * (1 if rng.random() < 0.85 else -1)
        bias = short(rng, 0.01, 10, digits) if rng.random() < 0.85 else 0.0
        words = dict(zip(row.words, (size, short(rng, 1e-6, 1e3, digits), beta, bias), strict=True))
        try:
            spec = conventions.read(name, **words)
        except ValueError:
            continue
        if max(spec.ends(16)) < 15:
            return words


def near_misses(rng: np.random.Generator) -> dict[str, Callable[[Array], Array]]:
    """Functions of (N, C, H, W) that are almost an LRN, with random numbers."""
    n = int(rng.choice([3, 5, 7]))
    r = n // 2
    alpha, beta, k = short(rng, 1e-4, 10, 3), float(rng.choice([0.5, 0.6, 0.75, 1.5])), 2.0

    def across(weights: Array) -> Callable[[Array], Array]:
        def sums(squares: Array) -> Array:
            padded = np.pad(squares, [(0, 0), (r, r), (0, 0), (0, 0)])
            channels = squares.shape[1]
            return sum(w * padded[:, i : i + channels] for i, w in enumerate(weights))

        return sums

    plain = across(np.ones(n))
    bent = np.ones(n)
    bent[rng.integers(n)] = rng.choice([0.5, 0.9, 1.1, 2.0])
    unequal = across(bent)

    def counts(x: Array) -> Array:
        return plain(np.ones_like(x))

    share = float(rng.choice([1.0, 0.1]))

    def neighbour(x: Array) -> Array:
        squares = x * x
        sums = plain(squares) + share * np.roll(squares, 1, axis=3)
        return x / (k + alpha / n * sums) ** beta

    return {
        "edge divisor": lambda x: x / (k + alpha / counts(x) * plain(x * x)) ** beta,
        "unequal weights": lambda x: x / (k + alpha / n * unequal(x * x)) ** beta,
        "pixel neighbour": neighbour,
        "absolute values": lambda x: x / (k + alpha / n * plain(np.abs(x))) ** beta,
        "bias outside": lambda x: x / (k + (alpha / n * plain(x * x)) ** beta),
        "power of the sum": lambda x: x / (k + alpha / n * plain(x * x) ** beta),
        "square of the sum": lambda x: x / (k + alpha / n * plain(x) ** 2) ** beta,
        "power of the pixel's mean": lambda x: (
            x / (k + alpha / n * (x * x).mean(axis=(2, 3), keepdims=True)) ** beta
        ),
    }
