"""The front for any library of the array API standard, by an LRNSpec."""

from lrnorm._fronts.array_api import (
    converted,
    forward,
    joined,
    jvp,
    ones_like,
    parameter_gradients,
    vjp,
)

__all__ = ["converted", "forward", "joined", "jvp", "ones_like", "parameter_gradients", "vjp"]
