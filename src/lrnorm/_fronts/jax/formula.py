"""The formula and its derivatives in plain JAX operations: for devices without a kernel, for
exported programs, and for derivatives of derivatives.

    D[c] = bias + scale * sum(x[j]**2 for j in c-before … c+after)
    y[c] = x[c] * D[c]**-beta

Each verb can be differentiated to any order. float16 and bfloat16 are computed in float32, and no
square or power leaves the range (see `_wide`). `differentiated` says that a derivative will be
taken of what comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from lrnorm._fronts.jax.scaled import (
    Wide,
    constant,
    inverse_power,
    log,
    lowest_exponent,
    number,
    over,
    plus,
    settled,
    sum_over_window,
    times,
    wide,
)
from lrnorm._spec import spec


class Window(spec.Window):
    """Where a window lies, and sums over it: along one axis after the other."""

    __slots__ = ()

    def sum(self, a: Wide) -> Wide:
        for before, after, axis in zip(*self, strict=True):
            a = sum_over_window(a, before, after, axis)
        return a


# scale, beta and bias: floats, or arrays without axes.
Numbers = tuple[float | Array, float | Array, float | Array]


class _Terms:
    """What the verbs have in common."""

    def __init__(self, x: Array, numbers: Numbers, window: Window, differentiated: bool) -> None:
        scale, self.beta, bias = numbers
        self.like = x if x.dtype == jnp.float64 else x.astype(jnp.float32)
        self._lowest = lowest_exponent(self.like, differentiated=differentiated)
        self.x = self.wide(x)
        self.squares = self.settled(window.sum(times(self.x, self.x)))
        self.scale = self.wide(scale)
        self.energy = plus(self.wide(bias), times(self.scale, self.squares))
        self.power = inverse_power(self.energy, self.beta)

    def wide(self, v: float | Array) -> Wide:
        if isinstance(v, float):
            return constant(v, self.like)
        return wide(v.astype(self.like.dtype), self._lowest)

    def settled(self, a: Wide) -> Wide:
        return settled(a, self._lowest)

    def steeper(self) -> Wide:
        """D**(-beta - 1)"""
        return self.settled(over(self.power, self.settled(self.energy)))

    def minus_2_scale_beta(self) -> Wide:
        return times(self.wide(-2.0), self.scale, self.wide(self.beta))


def forward(x: Array, numbers: Numbers, window: Window, differentiated: bool = False) -> Array:
    """y"""
    terms = _Terms(x, numbers, window, differentiated)
    return number(times(terms.x, terms.power)).astype(x.dtype)


def vjp(
    x: Array, g: Array, numbers: Numbers, window: Window, differentiated: bool = False
) -> Array:
    """dx = g D^-beta - 2 scale beta x W'(g x D^(-beta-1)), W' the sum over the mirrored window."""
    terms = _Terms(x, numbers, window, differentiated)
    g_ = terms.wide(g)
    through = window.mirrored().sum(times(g_, terms.x, terms.steeper()))
    along = times(terms.minus_2_scale_beta(), terms.x, terms.settled(through))
    return number(plus(times(g_, terms.power), along)).astype(x.dtype)


def jvp(
    x: Array, t: Array, numbers: Numbers, window: Window, differentiated: bool = False
) -> Array:
    """dy = t D^-beta - 2 scale beta x D^(-beta-1) W(x t)"""
    terms = _Terms(x, numbers, window, differentiated)
    t_ = terms.wide(t)
    through = terms.settled(times(terms.x, terms.settled(window.sum(times(terms.x, t_)))))
    along = times(terms.minus_2_scale_beta(), through, terms.steeper())
    return number(plus(times(t_, terms.power), along)).astype(x.dtype)


def _by_numbers(terms: _Terms) -> list[Wide]:
    """The derivatives of y by scale, beta and bias."""
    by_bias = terms.settled(
        times(terms.wide(-1.0), terms.wide(terms.beta), terms.x, terms.steeper())
    )
    by_beta = times(terms.wide(-1.0), terms.x, terms.power, log(terms.energy))
    return [times(by_bias, terms.squares), terms.settled(by_beta), by_bias]


def parameters(
    x: Array, g: Array, numbers: Numbers, window: Window, differentiated: bool = False
) -> Array:
    """The derivatives of sum(g * y) by scale, beta and bias, as three numbers."""
    terms = _Terms(x, numbers, window, differentiated)
    g_, result = terms.wide(g), total_dtype()
    return jnp.stack([number(times(g_, v)).astype(result).sum() for v in _by_numbers(terms)])


def along(
    x: Array, direction: Array, numbers: Numbers, window: Window, differentiated: bool = False
) -> Array:
    """What y gains as (scale, beta, bias) move along `direction`, three numbers."""
    terms = _Terms(x, numbers, window, differentiated)
    steps = [
        times(terms.wide(step), v) for step, v in zip(direction, _by_numbers(terms), strict=True)
    ]
    return number(plus(plus(steps[0], steps[1]), steps[2])).astype(x.dtype)


def total_dtype() -> Any:
    """Of sums over a whole array: float64 where JAX has it."""
    return jnp.result_type(float)


VERBS: dict[str, Callable[..., Array]] = {
    "forward": forward,
    "vjp": vjp,
    "jvp": jvp,
    "parameters": parameters,
    "along": along,
}
