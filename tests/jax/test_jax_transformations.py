"""JAX's transformations over lrnorm.jax: derivatives of every order, batches, loops, exports."""

# ruff: noqa: F811 - fixtures that are imported
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tolerances import assert_close

import lrnorm
from lrnorm import LRNSpec

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402
from jaxes import program, same_bits, sample, way, wide, x64  # noqa: E402, F401

import lrnorm.jax  # noqa: E402

ours = lrnorm.jax.local_response_norm
vjp, jvp = lrnorm.jax.local_response_norm_vjp, lrnorm.jax.local_response_norm_jvp
SPEC = LRNSpec(0.3, 0.75, 1.1, 2, 1)
SHAPE = (2, 5, 3)
NUMBERS = {"alpha": 1.2, "beta": 0.7, "bias": 0.9}


@pytest.mark.parametrize(
    "spec",
    [SPEC, LRNSpec(0.4, 1.5, 0.9, None, 0), LRNSpec(-0.05, 0.5, 2.0, 1, 1), LRNSpec(0, 1, 2, 1, 1)],
    ids=["leaning", "open", "negative", "nothing"],
)
def test_derivatives_by_x(spec: LRNSpec, x64: None) -> None:
    """Also at zeros, where exponents are lowest."""
    x = sample((5, 2))
    x[2, 0] = 0
    order = 2 if spec is SPEC else 1
    check_grads(lambda x: ours(x, spec=spec, axis=0), (x,), order, ("fwd", "rev"))


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_third_derivatives(mode: str, x64: None) -> None:
    x = sample((3,))
    x[1] = 0
    check_grads(lambda x: ours(x, spec=LRNSpec(0.3, 0.75, 1.1, 1, 0), axis=0), (x,), 3, (mode,))


def test_derivatives_by_traced_numbers(x64: None) -> None:
    def normalized(x: Any, numbers: Any) -> Any:
        return ours(x, axis=1, channel_window_size=(1, 0), **numbers)

    numbers = {name: jnp.float64(value) for name, value in NUMBERS.items()}
    check_grads(normalized, (sample(SHAPE), numbers), 2, ("fwd", "rev"))


@pytest.mark.parametrize("verb", [vjp, jvp])
def test_derivatives_of_the_derivatives(verb: Any, x64: None) -> None:
    x, g = sample(SHAPE), sample(SHAPE, seed=1)
    check_grads(lambda x, g: verb(x, g, spec=SPEC, axis=1), (x, g), 1, ("fwd", "rev"))
    alpha = jnp.float64(1.2)
    check_grads(lambda a: verb(x, g, alpha=a, axis=1), (alpha,), 1, ("fwd", "rev"))


def test_derivatives_of_parameter_gradients(x64: None) -> None:
    x, g = sample(SHAPE), sample(SHAPE, seed=1)

    def gradients(x: Any, g: Any) -> Any:
        return vjp(x, g, spec=SPEC, axis=1, parameters=True)[1]

    check_grads(gradients, (x, g), 1, ("fwd", "rev"))


def test_second_derivatives_of_tiny_values_are_finite() -> None:
    """Where mantissas are furthest from their values."""
    t = np.float32([3, 200, 5])

    def normalized(x: Any) -> Any:
        return ours(x, spec=SPEC, axis=0)

    def backward(x: Any) -> Any:
        return jax.jvp(jax.grad(lambda x: normalized(x).sum()), (x,), (t.astype(x.dtype),))[1]

    def forward(x: Any) -> Any:
        def along(x: Any) -> Any:
            return jax.jvp(normalized, (x,), (t.astype(x.dtype),))[1]

        return jax.jvp(along, (x,), (t.astype(x.dtype),))[1]

    for second in (backward, forward):
        with jax.enable_x64(True):
            expected = second(np.float64([1, 0, 2]))
        for tiny in (0.0, 1e-37, 1e-30, 1e-22, 1e-19):
            np.testing.assert_allclose(second(np.float32([1, tiny, 2])), expected, 2e-5)


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "bfloat16"])
def test_parameter_gradients(way: str, kind: str, x64: None) -> None:
    x, g = sample((3, 6, 4, 4), kind), sample((3, 6, 4, 4), kind, 1)
    expected = lrnorm.numpy.parameter_gradients(wide(x), wide(g), SPEC)
    dx, got = vjp(x, g, spec=SPEC, parameters=True)
    assert same_bits(dx, vjp(x, g, spec=SPEC))
    assert got.keys() == expected.keys()
    size = {"scale": 300.0, "beta": 300.0, "bias": 300.0}  # of the terms, roughly
    for name, value in got.items():
        assert value.dtype == jnp.float64
        exact = kind == "float64" or way == "core"
        unit = 1e-13 if kind == "float64" else 1e-9 if exact else 1e-6
        assert abs(float(value) - expected[name]) <= size[name] * unit, name
    by_alpha = vjp(
        x, g, alpha=0.3 * 4, beta=0.75, bias=1.1, channel_window_size=(2, 1), parameters=True
    )[1]
    assert by_alpha.keys() == {"alpha", "beta", "bias"}
    np.testing.assert_allclose(by_alpha["alpha"] * 4, got["scale"], 1e-12)

    def total(alpha: Any, beta: Any, bias: Any) -> Any:
        y = ours(x, alpha=alpha, beta=beta, bias=bias, channel_window_size=(2, 1))
        return (y.astype(float) * wide(g)).sum()

    if way == "core" and kind == "float64":
        three = jax.grad(total, (0, 1, 2))(1.2, 0.75, 1.1)
        np.testing.assert_allclose(three, [by_alpha[n] for n in ("alpha", "beta", "bias")], 1e-12)
    through_core = "lrnorm_parameters" in program(jax.grad(total), 1.2, 0.75, 1.1)
    assert through_core == (way == "core")


def test_x_alone_is_kept_for_the_backward_pass() -> None:
    x = jnp.asarray(sample((2, 9, 5, 5), "float32"))
    _, backward = jax.vjp(lambda x: ours(x, spec=SPEC), x)
    kept = [leaf for leaf in jax.tree.leaves(backward) if getattr(leaf, "size", 0) > 1]
    assert len(kept) == 1
    assert same_bits(kept[0], x)


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4, -1])
def test_batches_over_any_axis(at: int) -> None:
    x, g = sample((3, 6, 4, 2), "float32"), sample((3, 6, 4, 2), "float32", 1)
    xs = jnp.stack([x, 2 * x], at)

    def every(x: Any, g: Any) -> Any:
        return ours(x, spec=SPEC), vjp(x, g, spec=SPEC), jvp(x, g, spec=SPEC), vjp(g, x, spec=SPEC)

    got = jax.jit(jax.vmap(every, in_axes=(at, None)))(xs, g)
    for i in range(2):
        alone = every(xs.take(i, at), g)
        for batched, single in zip(got, alone, strict=True):
            assert same_bits(batched[i], single)
    out = jax.vmap(lambda x: ours(x, spec=SPEC), in_axes=at, out_axes=at)(xs)
    assert out.shape == xs.shape


def test_batches_of_two_axes_and_of_cotangents() -> None:
    x, g = sample((2, 3, 6, 4, 2), "float32"), sample((3, 6, 4, 2, 2), "float32", 1)
    twice = jax.vmap(jax.vmap(lambda x: ours(x, spec=SPEC, axis=0)), in_axes=1)
    assert same_bits(twice(x), ours(x, spec=SPEC, axis=2).swapaxes(0, 1))
    mixed = jax.vmap(lambda x, g: vjp(x, g, spec=SPEC), in_axes=(0, 4))(x, g)
    assert same_bits(mixed[1], vjp(x[1], g[..., 1], spec=SPEC))


@pytest.mark.parametrize("name", NUMBERS)
def test_batches_of_numbers(name: str) -> None:
    """Each example has its own: the same bits as one by one."""
    x = sample((2, 6, 3, 3), "float32")
    values = jnp.float32([0.5, 1.0, 1.5])

    def normalized(value: Any, x: Any) -> Any:
        return ours(x, **{name: value})

    got = jax.jit(jax.vmap(normalized, in_axes=(0, None)))(values, x)
    for value, y in zip(values, got, strict=True):
        assert_close(y, wide(normalized(value, x)), "half")
    both = jax.vmap(normalized)(values[:2], x.reshape(2, 1, 6, 3, 3))
    assert_close(both[1, 0], wide(normalized(values[1], x[1])), "half")
    by_value = jax.vmap(jax.grad(lambda v: normalized(v, x).sum()))(values)
    for value, slope in zip(values, by_value, strict=True):
        alone = jax.grad(lambda v: normalized(v, x).sum())(value)
        np.testing.assert_allclose(slope, alone, 1e-5)


def test_gradients_of_numbers_for_each_example() -> None:
    x = sample((3, 6, 2, 2), "float32")
    slope = jax.grad(lambda alpha, x: ours(x, alpha=alpha).sum())
    got = jax.vmap(slope, in_axes=(None, 0))(jnp.float32(1), x)
    np.testing.assert_allclose(got, [slope(jnp.float32(1), item) for item in x], 1e-6)
    along = jax.vmap(lambda d: jax.jvp(lambda a: ours(x, alpha=a), (jnp.float32(1),), (d,))[1])
    tangents = along(jnp.float32([1, 2]))
    np.testing.assert_allclose(tangents[1], 2 * tangents[0], 1e-6)


def test_jacobians_and_hessians(x64: None) -> None:
    x = sample((3,))

    def normalized(x: Any) -> Any:
        return ours(x, spec=SPEC, axis=0)

    forward, backward = jax.jacfwd(normalized)(x), jax.jacrev(normalized)(x)
    np.testing.assert_allclose(forward, backward, 1e-13, 1e-15)
    hessian = jax.hessian(lambda x: (normalized(x) ** 2).sum())(x)
    np.testing.assert_allclose(hessian, hessian.T, 1e-12, 1e-14)


def test_linearize_checkpoint_scan_and_cond(way: str) -> None:
    x = jnp.asarray(sample((2, 6, 3, 3), "float32"))

    def normalized(x: Any) -> Any:
        return ours(x, spec=SPEC)

    y, push = jax.linearize(normalized, x)
    assert same_bits(y, normalized(x))
    assert_close(push(x), wide(jvp(x, x, spec=SPEC)), "derivative", np.abs(wide(x)) + 1)

    def twice(x: Any) -> Any:
        return normalized(normalized(x))

    plain = jax.grad(lambda x: twice(x).sum())(x)
    saved = jax.jit(jax.grad(lambda x: jax.checkpoint(twice)(x).sum()))(x)
    scanned, _ = jax.lax.scan(lambda x, _: (normalized(x), None), x, length=2)
    assert_close(saved, wide(plain), "derivative", np.abs(wide(plain)) + 1)
    assert_close(scanned, wide(twice(x)), "forward")
    chosen = jax.jit(lambda p, x: jax.lax.cond(p, normalized, lambda x: x, x))
    assert same_bits(chosen(False, x), x)
    assert_close(chosen(True, x), wide(normalized(x)), "forward")


def test_arrays_that_lie_otherwise() -> None:
    """Inside a program XLA may have turned them."""
    x = sample((2, 6, 3, 4), "float32")
    turned = jax.jit(lambda x: ours(x.transpose(3, 1, 0, 2), spec=SPEC).transpose(2, 1, 3, 0))
    assert same_bits(turned(x), ours(x, spec=SPEC))
    reversed_ = jax.jit(lambda x: ours(x[::-1, :, ::-1], spec=SPEC)[::-1, :, ::-1])
    assert same_bits(reversed_(x), ours(x, spec=SPEC))
    last = jax.jit(lambda x: ours(jnp.moveaxis(x, 1, -1), spec=SPEC, axis=-1))
    assert same_bits(np.moveaxis(last(x), -1, 1), ours(x, spec=SPEC))


def test_exported_programs_run_where_lrnorm_is_not() -> None:
    x = jnp.asarray(sample((2, 6, 3, 3), "float32"))
    slope = jax.jit(jax.grad(lambda x: ours(x, spec=SPEC).sum()))
    for function in (jax.jit(lambda x: ours(x, spec=SPEC)), slope):
        exported = jax.export.export(function, platforms=["cpu", "cuda"])(x)
        assert "lrnorm" not in "".join(
            line for line in exported.mlir_module().splitlines() if "custom_call" in line
        )
        read = jax.export.deserialize(exported.serialize())
        assert_close(read.call(x), wide(function(x)), "derivative", np.abs(wide(x)) + 1)


def test_exported_programs_take_batches_of_any_size() -> None:
    (size,) = jax.export.symbolic_shape("n")
    like = jax.ShapeDtypeStruct((size, 6, 3, 3), "float32")
    exported = jax.export.export(jax.jit(lambda x: ours(x, spec=SPEC)))(like)
    x = sample((5, 6, 3, 3), "float32")
    assert_close(exported.call(x), wide(ours(x, spec=SPEC)), "forward")
