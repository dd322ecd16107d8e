# ruff: noqa: F811 - fixtures that are imported
"""JAX arrays in the core function and in lrnorm.jax: values, types, numbers, what is refused."""

from __future__ import annotations

from typing import Any

import exact
import numpy as np
import pytest
from refusals import refusal
from tolerances import assert_close, for_forward

import lrnorm
from lrnorm import KindError, LRNSpec, ParameterError, ShapeError
from lrnorm._spec import reference as reference

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jaxes import SHAPE, every_dtype, program, same_bits, sample, way, wide, x64  # noqa: E402, F401

import lrnorm.jax  # noqa: E402
from lrnorm._fronts.jax import formula  # noqa: E402
from lrnorm._fronts.jax.front import window_of  # noqa: E402

ours = lrnorm.jax.local_response_norm
VERBS = {
    "forward": ours,
    "vjp": lrnorm.jax.local_response_norm_vjp,
    "jvp": lrnorm.jax.local_response_norm_jvp,
}
SPEC = LRNSpec(0.3, 0.75, 1.1, 2, 1)
FLOATS = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)


def expectations(x: Any, g: Any, spec: LRNSpec, axis: int) -> dict[str, tuple[Any, Any, str]]:
    """For every verb: the value, what its errors are measured by, the tolerance."""
    X, G = wide(x), wide(g)
    first = np.moveaxis(X, axis, 0), np.moveaxis(G, axis, 0)
    y = reference.forward(X, spec, axis)
    sizes = (np.moveaxis(verb(*first, spec)[1], 0, axis) for verb in (exact.vjp, exact.jvp))
    dx, dy = reference.vjp(X, G, spec, axis), reference.jvp(X, G, spec, axis)
    return {
        "forward": (y, y, for_forward(x.dtype, spec.beta)),
        "vjp": (dx, next(sizes), "derivative"),
        "jvp": (dy, next(sizes), "derivative"),
    }


def check(x: Any, g: Any, spec: LRNSpec, axis: int) -> None:
    """Every verb against the reference."""
    for verb, (value, size, name) in expectations(x, g, spec, axis).items():
        arrays = (x,) if verb == "forward" else (x, g)
        got = VERBS[verb](*arrays, spec=spec, axis=axis)
        assert isinstance(got, jax.Array)
        assert got.dtype == x.dtype
        assert_close(got, value, name, size, (verb, spec, axis))


@every_dtype
@pytest.mark.parametrize("shape", [SHAPE, (2, 1, 3, 9)], ids=str)
def test_values(kind: str, shape: Any, specs: dict[str, LRNSpec], x64: None) -> None:
    x, g = (sample(shape, kind, seed) for seed in (0, 1))
    for i, spec in enumerate(specs.values()):
        for axis in range(4) if kind == "float32" else [(i + len(kind)) % 4]:
            check(x, g, spec, axis)


@every_dtype
def test_values_of_the_plain_operations(kind: str, specs: dict[str, LRNSpec], x64: None) -> None:
    """One by one: compiled, as the tests further down have them, each spec would take seconds."""
    x, g = (jnp.asarray(sample(SHAPE, kind, seed)) for seed in (0, 1))
    for i, spec in enumerate(specs.values()):
        axis = (i + len(kind)) % 4
        # Types of 16 bits differ in the conversions alone; the others take turns.
        if i % 4 if x.dtype.itemsize == 2 else (i + x.dtype.itemsize // 4) % 2:
            continue
        how = (spec.scale, spec.beta, spec.bias), window_of(x, spec, axis)
        for verb, (value, size, name) in expectations(x, g, spec, axis).items():
            got = formula.VERBS[verb](*((x,) if verb == "forward" else (x, g)), *how)
            assert got.dtype == x.dtype
            assert_close(got, value, name, size, (verb, spec, axis))


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_ranks_and_wide_axes(way: str, kind: str) -> None:
    spec = LRNSpec(0.02, 0.75, 1.0, 70, 64)
    for shape, axis in (((5,), 0), ((2, 300), 1), ((2, 3, 2, 1, 4, 3), 4)):
        check(sample(shape, kind), sample(shape, kind, 1), spec, axis)


@every_dtype
def test_the_core_gives_the_bits_of_numpy(kind: str, specs: dict[str, LRNSpec], x64: None) -> None:
    x, g = sample(dtype=kind), sample(dtype=kind, seed=1)
    for spec in specs.values():
        for verb, ours_ in VERBS.items():
            theirs = getattr(lrnorm.numpy, verb)
            arrays = (x,) if verb == "forward" else (x, g)
            assert same_bits(ours_(*arrays, spec=spec), theirs(*arrays, spec))


def test_which_way_is_taken(way: str) -> None:
    x = sample(dtype="float32")
    assert ("lrnorm_forward" in program(ours, x)) == (way == "core")
    gradient = jax.grad(lambda x: ours(x).sum())
    assert ("lrnorm_vjp" in program(gradient, x)) == (way == "core")
    assert ("lrnorm_jvp" in program(lambda x: jax.jvp(ours, (x,), (x,)), x)) == (way == "core")


def test_the_function_of_lrnorm_takes_arrays_and_tracers() -> None:
    x, g = jnp.asarray(sample(dtype="float32")), jnp.asarray(sample(dtype="float32", seed=1))
    y = lrnorm.local_response_norm(x, alpha=2.0, channel_window_size=(2, 1))
    assert isinstance(y, jax.Array)
    assert same_bits(y, ours(x, alpha=2.0, channel_window_size=(2, 1)))
    assert same_bits(jax.jit(lrnorm.local_response_norm)(x), ours(x))
    gradient = jax.grad(lambda x: (g * lrnorm.local_response_norm(x)).sum())(x)
    assert same_bits(gradient, lrnorm.local_response_norm_vjp(x, g))
    mapped = jax.vmap(lrnorm.local_response_norm)(x)
    assert same_bits(mapped, ours(x))
    assert same_bits(lrnorm.local_response_norm_jvp(x, g), jax.jvp(ours, (x,), (g,))[1])


def test_the_layer_takes_arrays() -> None:
    layer = lrnorm.LocalResponseNormalizationLayer(alpha=2.0)
    x = jnp.asarray(sample(dtype="float32"))
    assert isinstance(layer(x), jax.Array)
    assert same_bits(layer(x), ours(x, alpha=2.0))
    assert same_bits(layer([x[0], x[1]])[1], ours(x[1], alpha=2.0))
    assert same_bits(layer(x, batch_size=2), ours(x, alpha=2.0))
    assert layer(x, working_precision="Real16").dtype == jnp.float16
    assert same_bits(layer.vjp(x), lrnorm.jax.local_response_norm_vjp(x, x * 0 + 1, alpha=2.0))
    assert same_bits(jax.jit(layer)(x), layer(x))


def test_numpy_arrays_and_lists_become_arrays() -> None:
    x = sample((5, 1, 1), "float32")
    assert isinstance(ours(x), jax.Array)
    assert same_bits(ours(x.tolist()), ours(x))


@pytest.mark.parametrize("whole", ["bool", "uint8", "int8", "int32", "int64"])
@pytest.mark.parametrize("wide_mode", [False, True])
def test_integers_become_what_halving_gives(whole: str, wide_mode: bool) -> None:
    with jax.enable_x64(wide_mode):
        x = jnp.asarray((np.abs(sample()) * 3).astype(whole))
        y = ours(x, spec=SPEC)
        assert y.dtype == (x / 2).dtype
        assert same_bits(y, ours(x.astype(y.dtype), spec=SPEC))


def test_weak_types_stay_weak() -> None:
    weak = jnp.full((5,), 2.0)
    assert weak.weak_type
    assert (weak / 2).weak_type and ours(weak, axis=0).weak_type
    assert not ours(jnp.ones(5, "float32"), axis=0).weak_type


@every_dtype
def test_dtype_of_the_result(kind: str, x64: None) -> None:
    x = jnp.asarray(sample(dtype="float32"))
    y = ours(x, spec=SPEC, dtype=kind)
    assert y.dtype == kind
    wider = jnp.promote_types(x.dtype, kind)
    assert same_bits(y, ours(x.astype(wider), spec=SPEC).astype(kind))
    assert same_bits(lrnorm.local_response_norm(x, spec=SPEC, dtype=kind), y)


@every_dtype
def test_derivatives_of_mixed_types_come_back_in_that_of_x(kind: str, x64: None) -> None:
    x = jnp.asarray(sample(dtype="float32"))
    for verb in ("vjp", "jvp"):
        assert VERBS[verb](x, sample(dtype=kind)).dtype == x.dtype
        assert VERBS[verb](x.astype(kind), x).dtype == kind


def test_nothing_is_nothing(way: str) -> None:
    for shape, axis in (((0, 5, 3, 3), 1), ((2, 0, 3), 1), ((2, 5, 0), 1), ((0,), 0)):
        x = jnp.zeros(shape)

        def normalized(x: Any, a: Any, axis: int = axis) -> Any:
            return ours(x, alpha=a, axis=axis)

        assert jax.jit(normalized)(x, jnp.float32(1)).shape == shape
        dx, da = jax.grad(lambda x, a: normalized(x, a).sum(), (0, 1))(x, jnp.float32(1))
        assert (dx.shape, da) == (shape, 0)
        assert jax.jvp(normalized, (x, 1.0), (x, 1.0))[1].shape == shape


@pytest.mark.parametrize("largest", ["float32", "float64"])
def test_inputs_up_to_the_largest_number(way: str, largest: str, x64: None) -> None:
    """Values all over the range of the type, where no smaller or larger one is lost. XLA may
    flush what is smaller than a normal number; a unit of that is forgiven."""
    info = np.finfo(largest)
    exponents = np.random.default_rng(3).uniform(-1, 1, (40, 60)) * (info.maxexp - 20)
    x = (sample((40, 60)) * np.exp2(exponents)).astype(largest)
    g = sample((40, 60), largest, 1)
    for spec in (LRNSpec(0.2, 0.5, 1.0, 2, 2), LRNSpec(1.0, 0.75, 0.0, 1, 4), SPEC):
        for verb, function in VERBS.items():
            arrays = (x,) if verb == "forward" else (x, g)
            y = np.asarray(function(*arrays, spec=spec, axis=0))
            value = getattr(exact, verb)(*arrays, spec)
            value, size = (value, np.abs(value)) if verb == "forward" else value
            kept = (size > 4 * info.tiny) & (np.abs(y - value) > info.tiny)
            kept |= ~np.isfinite(y)
            bound = 3 + 2 * spec.beta if verb == "forward" else 8
            assert exact.worst_ulp(y[kept], value[kept], size[kept]) <= bound, (verb, spec)


def test_extremes_join_before_the_exponent_is_applied(way: str) -> None:
    y = ours(np.float32([1e20]), axis=0)
    assert_close(y, [5**0.5], "forward")
    small = LRNSpec(0.0, 3.0, 1e-20, 0, 0)  # a power of 1e60
    assert_close(ours(np.float32([1e-30]), spec=small, axis=0), [1e30], "steep forward")
    ones = LRNSpec(1.0, 0.5, 0.0, 1, 1)
    for size in (1e-37, 1e-32, 1e-20, 1e37):
        assert_close(ours(np.float32([size] * 2), spec=ones, axis=0), [0.5**0.5] * 2, "forward")
    halves = LRNSpec(1.0, 0.6, 0.0, 0, 0)  # float32 has no 0.6
    assert_close(ours(np.float32([1e15]), spec=halves, axis=0), [1e-3], "steep forward")


def test_one_large_value_spoils_no_later_sum(way: str) -> None:
    x = sample((64,), "float32")
    x[10] = 1e7
    check(x, sample((64,), "float32", 1), LRNSpec(0.2, 0.75, 1.0, 9, 9), 0)


def test_nan_and_inf_touch_their_windows_alone(way: str) -> None:
    clean = sample((40, 3), "float32")
    for bad in (np.nan, np.inf):
        x = clean.copy()
        x[20, 1] = bad
        for spec in (SPEC, LRNSpec(0.1, 0.6, 1.0, 9, 5)):
            y, untouched = (np.asarray(ours(v, spec=spec, axis=0)) for v in (x, clean))
            seen = np.isin(np.arange(40), range(20 - spec.after, 20 + spec.before + 1))
            touched = np.zeros(x.shape, bool)
            touched[seen, 1] = True
            assert same_bits(y[~touched], untouched[~touched])
            assert np.isnan(y[20, 1])
            with np.errstate(all="ignore"):
                expected = reference.forward(x, spec, 0)
            np.testing.assert_array_equal(y[touched], np.float32(expected[touched]))


def test_sums_that_are_not_positive_follow_ieee(way: str) -> None:
    x = np.float32([0.0, 1.0, 2.0, -3.0])
    for spec in (
        LRNSpec(1.0, 0.5, 0.0, 0, 0),
        LRNSpec(-1.0, 0.5, 1.0, 0, 0),
        LRNSpec(-1.0, 2.0, 1.0, 0, 0),
        LRNSpec(0.0, 0.75, 0.0, 1, 1),
        LRNSpec(-0.3, -1.5, 1.0, 1, 1),
    ):
        with np.errstate(all="ignore"):
            expected = reference.forward(x, spec, 0)
        np.testing.assert_allclose(ours(x, spec=spec, axis=0), expected, 1e-6)


TRACED = {"alpha": 1.3, "beta": 0.6, "bias": 0.9}


@pytest.mark.parametrize("names", [["alpha"], ["beta"], ["bias"], list(TRACED)], ids=str)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_traced_numbers(way: str, names: list[str], kind: str, x64: None) -> None:
    """As operands they give what they give as numbers."""
    x = jnp.asarray(sample(dtype=kind))
    number = jnp.float64 if kind == "float64" else jnp.float32
    given = {name: number(TRACED[name]) for name in names}
    rounded = TRACED | {name: float(value) for name, value in given.items()}

    @jax.jit
    def traced(given: Any) -> Any:
        return ours(x, **(TRACED | given))

    y = traced(given)
    expected = ours(x, **rounded)
    assert y.dtype == x.dtype
    assert_close(y, wide(expected), for_forward(x.dtype, 1.0))
    assert_close(traced({name: jnp.ones((1, 1)) * v for name, v in given.items()}), wide(y), "half")
    assert not same_bits(traced({name: v * 2 for name, v in given.items()}), y)


def test_numbers_are_told_apart_from_program_to_program() -> None:
    x = sample(dtype="float32")
    assert not same_bits(ours(x, alpha=1.0), ours(x, alpha=2.0))
    assert not same_bits(ours(x), ours(x, channel_window_size=(2, 1)))


@pytest.mark.parametrize("verb", VERBS)
def test_refusals(verb: str) -> None:
    x = jnp.ones((2, 5, 3, 3))

    def call(x: Any = x, second: Any = x, **how: Any) -> Any:
        return VERBS[verb](*((x,) if verb == "forward" else (x, second)), **how)

    with refusal(KindError, "size is a width in PyTorch: here channel_window_size=2"):
        call(size=5)
    with refusal(KindError, "got spec and alpha. Give one or the other."):
        call(spec=SPEC, alpha=jnp.float32(1))
    with refusal(ParameterError, "alpha must be a finite real number, got nan."):
        call(alpha=float("nan"))
    with refusal(ParameterError, "channel_window_size must be a positive integer, got 0."):
        call(alpha=jnp.float32(1), channel_window_size=0)
    with refusal(ParameterError, "got float32 of shape (2,). For a number for each example,"):
        call(beta=jnp.ones(2))
    with refusal(ParameterError, "bias must be a number or an array of one real element"):
        call(bias=jnp.ones((), "complex64"))
    with refusal(ShapeError, "got an array of rank 2. Pass the axis of the channels"):
        call(x[0, 0], x[0, 0])
    with refusal(ShapeError, "axis must lie in -4 … 3 for an array of rank 4, got 4."):
        call(axis=4)
    with refusal(KindError, "x must hold float16, bfloat16, float32, float64, integers or"):
        call(x.astype("complex64"))
    with refusal(KindError, "x.astype('float32')."):
        call(x.astype("float8_e4m3fn"))
    with refusal(KindError, "Pass x.filled(0)"):
        call(np.ma.masked_array(np.ones((5, 3, 3))))
    if verb != "forward":
        with refusal(ShapeError, "must have the shape of x, (2, 5, 3, 3), got (5, 3, 3)."):
            call(x, x[0])


def test_refusals_of_outputs() -> None:
    x = jnp.ones((2, 5, 3, 3))
    for module in (lrnorm, lrnorm.jax):
        for verb in (module.local_response_norm_vjp, module.local_response_norm_jvp):
            with refusal(KindError, "out cannot be given for JAX arrays, which never change."):
                verb(x, x, out=x)
    for function in (ours, lrnorm.local_response_norm):
        with refusal(KindError, "out cannot be given for JAX arrays, which never change."):
            function(x, out=x)
        with refusal(KindError, "got int8."):
            function(x, dtype="int8")
        with refusal(KindError, "got 'what'."):
            function(x, dtype="what")
        with refusal(KindError, "jax.config.update('jax_enable_x64', True)"):
            function(x, dtype="float64")


def test_tensors_are_sent_elsewhere() -> None:
    torch = pytest.importorskip("torch")
    with refusal(
        KindError,
        "x must be a JAX array, got torch.Tensor. For other arrays call",
    ):
        ours(torch.ones(1, 5, 3, 3))
