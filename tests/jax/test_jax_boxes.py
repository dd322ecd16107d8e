"""Windows over several axes under every transformation of JAX, in the core and without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

import lrnorm.jax  # noqa: E402
from lrnorm import LRNSpec  # noqa: E402
from lrnorm._fronts.jax import formula, front  # noqa: E402
from lrnorm._spec import reference  # noqa: E402

BOXES = {
    (2, 3): LRNSpec(0.7, 0.75, 1.0, (1, 0), (0, 2)),
    (-1, 1): LRNSpec(0.5, 0.6, 1.2, (None, 1), (1, 0)),
}
every_box = pytest.mark.parametrize(("axis", "spec"), BOXES.items(), ids=str)


def sample(seed: int = 0, shape: Any = (2, 3, 4, 3)) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@every_box
def test_derivatives_of_any_order(axis: Any, spec: LRNSpec) -> None:
    def f(x: Any) -> Any:
        return lrnorm.jax.local_response_norm(x, spec=spec, axis=axis)

    check_grads(f, (sample(),), order=2, rtol=2e-2, atol=2e-2)


@every_box
def test_plain_operations_give_the_same(axis: Any, spec: LRNSpec) -> None:
    x, g = sample(1), sample(2)
    window = front.window_of(jnp.asarray(x), spec, axis)
    numbers = spec.scale, spec.beta, spec.bias
    plain = formula.forward(jnp.asarray(x), numbers, window)
    np.testing.assert_allclose(plain, reference.forward(x, spec, axis), rtol=2e-6, atol=1e-7)
    plain = formula.vjp(jnp.asarray(x), jnp.asarray(g), numbers, window)
    np.testing.assert_allclose(plain, reference.vjp(x, g, spec, axis), rtol=1e-5, atol=1e-6)


@every_box
def test_vmap_and_jit(axis: Any, spec: LRNSpec) -> None:
    def f(x: Any) -> Any:
        return lrnorm.jax.local_response_norm(x, spec=spec, axis=axis)

    x = np.stack([sample(3), sample(4)], 2)
    y = jax.jit(jax.vmap(f, in_axes=2, out_axes=2))(x)
    for i in range(2):
        assert np.array_equal(y[:, :, i], f(x[:, :, i]))


def test_a_traced_alpha_is_divided_by_the_volume() -> None:
    x = sample(5)

    def f(alpha: Any) -> Any:
        how = {"alpha": alpha, "channel_window_size": [1, (2, 0)], "axis": (2, 3)}
        return lrnorm.jax.local_response_norm(x, **how).sum()

    _, by = lrnorm.local_response_norm_vjp(
        x, np.ones_like(x), channel_window_size=[1, (2, 0)], axis=(2, 3), parameters=True
    )
    np.testing.assert_allclose(jax.grad(f)(1.0), by["alpha"], rtol=1e-4)
