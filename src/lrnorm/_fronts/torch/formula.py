"""The formula and its derivatives in plain torch operations: for whatever the kernels do not
serve (transforms of transforms, learned numbers under one, devices without a kernel).

    D[c] = bias + scale * sum(x[j]**2 for j in c-before … c+after)
    y[c] = x[c] * D[c]**-beta

Every operation here can be differentiated, mapped and traced to any order, so these can too.
16 and 32 bits are computed in float64 where the device has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lrnorm._spec import spec


class Window(spec.Window):
    """Where a window lies, and sums over it: along one axis after the other."""

    __slots__ = ()

    def sum(self, v: Tensor) -> Tensor:
        for before, after, axis in zip(*self, strict=True):
            v = _sum_along(v, before, after, axis)
        return v


def _sum_along(v: Tensor, before: int, after: int, axis: int) -> Tensor:
    size = v.shape[axis]
    before, after = min(before, size - 1), min(after, size - 1)
    padded = F.pad(v, (*(0, 0) * (v.ndim - 1 - axis), before, after))
    total = padded.narrow(axis, 0, size)
    for shift in range(1, before + after + 1):
        total = total + padded.narrow(axis, shift, size)
    return total


def _working(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64


def _in_working_precision(formula: Callable[..., Any]) -> Callable[..., Tensor]:
    """Tensors go in wide, and the result comes back in the type of x."""

    @wraps(formula)
    def wide(x: Tensor, *arguments: Any) -> Tensor:
        if x.numel() == 0:
            return x * 1
        working = _working(x)
        others = [
            a.to(device=x.device, dtype=working) if isinstance(a, Tensor) else a for a in arguments
        ]
        result: Tensor = formula(x.to(working), *others)
        return result.to(x.dtype)

    return wide


def _energy(x: Tensor, scale: Any, bias: Any, window: Window) -> Any:
    return bias + scale * window.sum(x * x)


@_in_working_precision
def forward(x: Tensor, coefficients: Any, window: Window) -> Any:
    """y; `coefficients` are three numbers, or a tensor of scale, beta and bias."""
    scale, beta, bias = coefficients
    return x * _energy(x, scale, bias, window) ** -beta


@_in_working_precision
def vjp(x: Tensor, g: Tensor, coefficients: Any, window: Window) -> Any:
    """dx = g D^-beta - 2 scale beta x W'(g x D^(-beta-1)), W' the sum over the mirrored window."""
    scale, beta, bias = coefficients
    energy = _energy(x, scale, bias, window)
    through = window.mirrored().sum(g * x * energy ** (-beta - 1))
    return g * energy**-beta - 2 * scale * beta * x * through


@_in_working_precision
def jvp(x: Tensor, t: Tensor, coefficients: Any, window: Window) -> Any:
    """dy = t D^-beta - 2 scale beta x D^(-beta-1) W(x t)"""
    scale, beta, bias = coefficients
    energy = _energy(x, scale, bias, window)
    return t * energy**-beta - 2 * scale * beta * x * energy ** (-beta - 1) * window.sum(x * t)


@_in_working_precision
def by_coefficients(x: Tensor, direction: Tensor, coefficients: Any, window: Window) -> Any:
    """What y gains as (scale, beta, bias) move along `direction`."""
    scale, beta, bias = coefficients
    squares = window.sum(x * x)
    energy = bias + scale * squares
    by_energy = -beta * x * energy ** (-beta - 1)
    return (
        direction[0] * by_energy * squares
        - direction[1] * x * energy**-beta * energy.log()
        + direction[2] * by_energy
    )


@_in_working_precision
def hessian(x: Tensor, g: Tensor, t: Tensor, coefficients: Any, window: Window) -> Any:
    """The derivative by x of sum(g * jvp(x, t)), which is that of sum(t * vjp(x, g)):

    -2 s b [ x W'(g t q) + g q W(x t) + t W'(g x q) - 2 s (b + 1) x W'(g x r W(x t)) ]

    with q = D^(-b-1), r = D^(-b-2).
    """
    scale, beta, bias = coefficients
    energy = _energy(x, scale, bias, window)
    q, r = energy ** (-beta - 1), energy ** (-beta - 2)
    mirrored = window.mirrored()
    along = window.sum(x * t)
    return (-2 * scale * beta) * (
        x * mirrored.sum(g * t * q)
        + g * q * along
        + t * mirrored.sum(g * x * q)
        - 2 * scale * (beta + 1) * x * mirrored.sum(g * x * r * along)
    )


@_in_working_precision
def curvature(x: Tensor, t: Tensor, u: Tensor, coefficients: Any, window: Window) -> Any:
    """The second derivative of y along t and u:

    -2 s b [ t q W(x u) + u q W(x t) + x q W(t u) - 2 s (b + 1) x r W(x t) W(x u) ]
    """
    scale, beta, bias = coefficients
    energy = _energy(x, scale, bias, window)
    q, r = energy ** (-beta - 1), energy ** (-beta - 2)
    by_t, by_u = window.sum(x * t), window.sum(x * u)
    return (-2 * scale * beta) * (
        q * (t * by_u + u * by_t + x * window.sum(t * u))
        - 2 * scale * (beta + 1) * x * r * by_t * by_u
    )


def parameters(x: Tensor, g: Tensor, coefficients: Any, window: Window) -> Tensor:
    """The derivatives of sum(g * y) by scale, beta and bias, as one tensor of three."""
    working = _working(x)
    x, g = x.to(working), g.to(working)
    if isinstance(coefficients, Tensor):
        coefficients = coefficients.to(device=x.device, dtype=working)
    scale, beta, bias = coefficients
    squares = window.sum(x * x)
    energy = bias + scale * squares
    by_energy = -beta * g * x * energy ** (-beta - 1)
    return torch.stack(
        [
            (by_energy * squares).sum(),
            -(g * x * energy**-beta * energy.log()).sum(),
            by_energy.sum(),
        ]
    )
