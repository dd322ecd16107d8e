"""The NumPy front, by an LRNSpec: forward, derivatives, parameter gradients."""

from lrnorm._fronts.numpy import (
    converted,
    forward,
    joined,
    jvp,
    ones_like,
    parameter_gradients,
    vjp,
    vjp_and_gradients,
)

__all__ = [
    "converted",
    "forward",
    "joined",
    "jvp",
    "ones_like",
    "parameter_gradients",
    "vjp",
    "vjp_and_gradients",
]
