"""LRN for JAX, under jit, grad, vmap and shard_map, with numbers that may be traced.

    y[c] = x[c] * (bias + alpha/(2r+1) * sum(x[j]**2 for j in c-r … c+r)) ** -beta

The functions are those of `lrnorm` itself, where JAX arrays may go straight in too; these also
take alpha, beta and bias as arrays, and differentiate by them.
"""

from lrnorm._spec.errors import missing

try:
    import jax as jax
except ImportError as error:
    raise missing("lrnorm.jax", "JAX", "'lrnorm[jax]'") from error

from lrnorm.jax.functional import (
    local_response_norm,
    local_response_norm_jvp,
    local_response_norm_vjp,
)

__all__ = ["local_response_norm", "local_response_norm_jvp", "local_response_norm_vjp"]
