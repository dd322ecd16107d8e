"""JAX in nets: the rules for its functions and arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LIBRARY = jnp


def array_of(value: Any) -> Any:
    """The JAX array as a NumPy array. Traced values stay as they are."""
    return (
        value
        if isinstance(value, jax.core.Tracer) or not isinstance(value, jax.Array)
        else np.asarray(value)
    )


def array_from(value: Any) -> Any:
    """The NumPy array as a JAX array."""
    return jnp.asarray(value)


def alike(value: Any, like: Any) -> Any:
    """The value as an array of that type."""
    return jnp.asarray(value, like.dtype)


def call_function(function: Callable[..., Any], values: Sequence[Any]) -> Any:
    """A function of JAX arrays, of arrays of any kind."""
    return function(*map(_array, values))


def vjp_of_function(function: Callable[..., Any], values: Sequence[Any], grad: Any) -> Any:
    """The gradients by the values of sum(grad * function(*values)), each of its value's kind."""
    y, back = jax.vjp(function, *(_floating(_array(value)) for value in values))
    found = zip(back(alike(_array(grad), y)), values, strict=True)
    return tuple(dx if isinstance(value, jax.Array) else array_of(dx) for dx, value in found)


def _array(value: Any) -> Any:
    return value if isinstance(value, jax.Array) else jnp.asarray(np.asarray(value))


def _floating(value: Any) -> Any:
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(float)


def unrecorded() -> Any:
    """JAX records nothing by itself."""
    return nullcontext()


def seeded(seed: int) -> Any:
    """JAX's random numbers take their seed from the function."""
    return nullcontext()
