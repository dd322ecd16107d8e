"""What must hold for every input, whatever the numbers: laws of the formula."""

from __future__ import annotations

import dataclasses
from typing import Any

import exact
import ml_dtypes
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tolerances import assert_close, for_forward

import lrnorm
from lrnorm import LRNSpec

DTYPES = [np.dtype(t) for t in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)]

laws = settings(deadline=None, max_examples=150, derandomize=True)

# Parameters near 1, where a wrong one shows.
numbers = st.fixed_dictionaries(
    {
        "scale": st.floats(0.1, 1.5),
        "beta": st.sampled_from([0.25, 0.5, 0.75, 1.0, 0.6, 1.7, -0.5]),
        "bias": st.floats(0.5, 1.5),
    }
)
ends = st.tuples(*[st.one_of(st.none(), st.integers(0, 6))] * 2)


@st.composite
def specs(draw: Any) -> LRNSpec:
    before, after = draw(ends)
    return LRNSpec(**draw(numbers), before=before, after=after)


@st.composite
def arrays(draw: Any, count: int = 1, lowest: int = 1) -> tuple[Any, ...]:
    """Arrays of one type, shape (batch, channels, height, width), and the axis to call channels:
    sizes that differ from each other, of lengths around those of vectors."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = [draw(st.sampled_from([1, 2, 3, 5, 8, 9, 17])) for _ in range(3)]
    axis = draw(st.integers(0, 2))
    shape[axis] = draw(st.integers(lowest, 20))
    assume(len(set(shape)) == 3)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    some = [(rng.normal(size=shape) * 1.5).astype(dtype) for _ in range(count)]
    if draw(st.booleans()):
        some = [np.asfortranarray(a) for a in some]
    return (*some, axis)


def same(a: Any, b: Any) -> bool:
    """Bit for bit; 0 and -0 count as one."""
    return bool(a.dtype == b.dtype and np.array_equal(a, b))


def forward(x: Any, spec: LRNSpec, axis: int) -> Any:
    return lrnorm.local_response_norm(x, spec=spec, axis=axis)


def vjp(x: Any, g: Any, spec: LRNSpec, axis: int) -> Any:
    return lrnorm.local_response_norm_vjp(x, g, spec=spec, axis=axis)


def jvp(x: Any, t: Any, spec: LRNSpec, axis: int) -> Any:
    return lrnorm.local_response_norm_jvp(x, t, spec=spec, axis=axis)


@laws
@given(arrays(2), specs())
def test_odd_in_x(some: Any, spec: LRNSpec) -> None:
    x, g, axis = some
    assert same(forward(-x, spec, axis), -forward(x, spec, axis))
    assert same(vjp(-x, g, spec, axis), vjp(x, g, spec, axis))
    assert same(jvp(-x, g, spec, axis), jvp(x, g, spec, axis))
    assert same(vjp(x, -g, spec, axis), -vjp(x, g, spec, axis))
    assert same(jvp(x, -g, spec, axis), -jvp(x, g, spec, axis))


@laws
@given(arrays(2), specs(), st.randoms(use_true_random=False))
def test_pixels_and_batches_know_nothing_of_each_other(some: Any, spec: LRNSpec, dice: Any) -> None:
    x, g, axis = some
    for other in {0, 1, 2} - {axis}:
        order = list(range(x.shape[other]))
        dice.shuffle(order)

        def take(a: Any, order: list[int] = order, other: int = other) -> Any:
            return np.take(a, order, other)

        assert same(forward(take(x), spec, axis), take(forward(x, spec, axis)))
        assert same(vjp(take(x), take(g), spec, axis), take(vjp(x, g, spec, axis)))
        assert same(jvp(take(x), take(g), spec, axis), take(jvp(x, g, spec, axis)))


@laws
@given(arrays(2), specs())
def test_scale_of_zero_multiplies_by_a_constant(some: Any, spec: LRNSpec) -> None:
    x, g, axis = some
    spec = dataclasses.replace(spec, scale=0)
    factor = float(spec.bias**-spec.beta)
    name = for_forward(x.dtype, spec.beta)
    assert_close(forward(x, spec, axis), x.astype(np.float64) * factor, name)
    for verb in (vjp, jvp):
        assert_close(verb(x, g, spec, axis), g.astype(np.float64) * factor, "derivative")


@laws
@given(arrays(2), specs())
def test_beta_of_zero_changes_nothing(some: Any, spec: LRNSpec) -> None:
    x, g, axis = some
    spec = dataclasses.replace(spec, beta=0)
    assert same(forward(x, spec, axis), x)
    assert same(vjp(x, g, spec, axis), g)
    assert same(jvp(x, g, spec, axis), g)


@laws
@given(arrays(2, lowest=2), specs(), st.data(), st.sampled_from([0, 3, -1e3, np.nan, np.inf]))
def test_a_channel_outside_the_window_changes_no_bit(
    some: Any, spec: LRNSpec, data: Any, value: float
) -> None:
    x, g, axis = some
    channels = x.shape[axis]
    at = data.draw(st.integers(0, channels - 1))
    before, after = spec.ends(channels)

    def channel(a: Any, c: int) -> Any:
        return np.take(a, c, axis)

    other = np.moveaxis(x.copy(), axis, 0)
    other[at] = value
    other = np.moveaxis(other, 0, axis)
    pairs = [
        (forward(x, spec, axis), forward(other, spec, axis), before, after),
        (jvp(x, g, spec, axis), jvp(other, g, spec, axis), before, after),
        # x enters a gradient through D of every channel whose window reaches the same ones
        (vjp(x, g, spec, axis), vjp(other, g, spec, axis), before + after, before + after),
    ]
    for old, new, back, ahead in pairs:
        for c in range(channels):
            if not c - back <= at <= c + ahead:
                assert same(channel(old, c), channel(new, c))


@laws
@given(arrays(2), numbers, st.integers(0, 30), st.integers(0, 30))
def test_a_window_over_the_whole_axis_is_the_full_sum(
    some: Any, words: Any, more_before: int, more_after: int
) -> None:
    x, g, axis = some
    last = x.shape[axis] - 1
    whole = LRNSpec(**words, before=None, after=None)
    wide = LRNSpec(**words, before=last + more_before, after=last + more_after)
    for verb in (forward, lambda a, s, i: vjp(a, g, s, i), lambda a, s, i: jvp(a, g, s, i)):
        assert same(verb(x, whole, axis), verb(x, wide, axis))
    energy = np.sum(x.astype(np.float64) ** 2, axis, keepdims=True) * whole.scale + whole.bias
    expected = x.astype(np.float64) * energy**-whole.beta
    assert_close(forward(x, whole, axis), expected, for_forward(x.dtype, whole.beta))


@laws
@given(arrays(2), specs())
def test_flipped_channels_see_the_mirrored_window(some: Any, spec: LRNSpec) -> None:
    x, g, axis = some
    mirrored = dataclasses.replace(spec, before=spec.after, after=spec.before)

    def flip(a: Any) -> Any:
        return np.flip(a, axis)

    name = for_forward(x.dtype, spec.beta)
    assert_close(flip(forward(flip(x), mirrored, axis)), forward(x, spec, axis), name)
    first = np.moveaxis(x, axis, 0), np.moveaxis(g, axis, 0)
    for verb, measure in ((vjp, exact.vjp), (jvp, exact.jvp)):
        size = np.moveaxis(measure(*first, spec)[1], 0, axis)
        flipped = flip(verb(flip(x), flip(g), mirrored, axis))
        assert_close(flipped, verb(x, g, spec, axis), "derivative twice", size)


@laws
@given(arrays(3), specs())
def test_vjp_and_jvp_are_each_others_transposes(some: Any, spec: LRNSpec) -> None:
    x, g, t, axis = (a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in some)
    ahead, back = g * jvp(x, t, spec, axis), vjp(x, g, spec, axis) * t
    first = [np.moveaxis(a, axis, 0) for a in (x, g, t)]
    size = np.sum(np.abs(first[1]) * exact.jvp(first[0], first[2], spec)[1])
    assert_close(ahead.sum(), back.sum(), "transposed", float(size))


@laws
@given(arrays(3), specs(), st.floats(-2, 2))
def test_derivatives_are_linear(some: Any, spec: LRNSpec, factor: float) -> None:
    x, g, t, axis = (a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in some)
    first = [np.moveaxis(a, axis, 0) for a in (x, np.abs(g) + abs(factor) * np.abs(t))]
    for verb, measure in ((vjp, exact.vjp), (jvp, exact.jvp)):
        size = np.moveaxis(measure(*first, spec)[1], 0, axis)
        apart = verb(x, g, spec, axis) + factor * verb(x, t, spec, axis)
        assert_close(verb(x, g + factor * t, spec, axis), apart, "derivative twice", size)


@laws
@given(arrays(1), specs(), st.floats(0.5, 2))
def test_scaling_x_scales_the_energy(some: Any, spec: LRNSpec, factor: float) -> None:
    """f x under scale / f² has the D of x under scale."""
    x, axis = some[0].astype(np.float64), some[1]
    other = dataclasses.replace(spec, scale=spec.scale / factor**2)
    assert_close(forward(x * factor, other, axis), forward(x, spec, axis) * factor, "steep forward")
