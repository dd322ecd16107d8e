"""jax.export with symbolic sizes: any axis but the channels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrnorm
from lrnorm import ShapeError


def exported(shape: str) -> jax.export.Exported:
    sizes = jax.export.symbolic_shape(shape)
    x = jax.ShapeDtypeStruct(sizes, jnp.float32)
    return jax.export.export(jax.jit(lambda v: lrnorm.local_response_norm(v, axis=1)))(x)


def test_a_symbolic_batch():
    x = np.random.default_rng(0).normal(size=(2, 7, 3)).astype(np.float32)
    y = exported("b, 7, w").call(x)
    np.testing.assert_allclose(y, lrnorm.local_response_norm(x, axis=1), rtol=1e-6)


def test_a_symbolic_number_of_channels_is_refused():
    with pytest.raises(ShapeError, match=r"\(axis 1 of x\) must be a known number, got the sym"):
        exported("b, c, w")
