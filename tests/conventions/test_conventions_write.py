"""Every framework's words: how a spec is written in them, what they cannot say, and round trips."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import BOXES, EVEN_FOUR, LINES, TABLE, refused, words

from lrnorm import ConventionError, KindError, LRNSpec, ParameterError, conventions
from lrnorm._spec import reference as reference

# Writing


def test_the_words_come_in_order() -> None:
    spec = conventions.read("torch", size=5, alpha=1e-4, beta=0.75, k=2.0)
    assert spec == LRNSpec(2e-5, 0.75, 2.0, 2, 2)
    written = {"depth_radius": 2, "alpha": 2e-05, "beta": 0.75, "bias": 2.0}
    assert list(conventions.write("tensorflow", spec).items()) == list(written.items())


def test_words_that_do_not_change_the_numbers_are_not_written() -> None:
    spec = LRNSpec(0.25, 0.75, 1.0, 2, 2)
    for name in LINES:
        beside = {"arm_compute": ["is_scaled"], "opencv": ["norm_by_size"], "openvino": ["axes"]}
        expected = TABLE[name][0].split() + beside.get(name, [])
        assert list(conventions.write(name, spec)) == expected


def test_an_odd_number_is_nearer_than_an_even_one() -> None:
    """Where both have the same window: it reads alike everywhere."""
    for name, word in (("alexnet_paper", "n"), ("ncnn", "local_size"), ("onednn", "local_size")):
        assert refused(conventions.write, name, LRNSpec(0.25, 0.75, 1.0, 2, 1)).nearest[word] == 5


def test_what_is_written_is_what_was_read() -> None:
    """Also where a neighbour of alpha would give the same quotient: the shortest is written."""
    for alpha in (1e-4, 5e-4, 0.001, 0.3, 0.7, 1.0, 2.2):
        for n in range(1, 12):
            given = words("onnx", n, alpha, 0.75, 1.0)
            assert conventions.write("onnx", conventions.read("onnx", **given)) == given


@pytest.mark.parametrize("name", LINES)
def test_a_leaning_window_is_said_or_refused(name: str) -> None:
    for ends in ((2, 1), (1, 2)):
        spec = LRNSpec(0.25, 0.75, 1.0, *ends)
        if name == "lrnorm" or EVEN_FOUR.get(TABLE[name][2]) == ends:
            assert conventions.read(name, **conventions.write(name, spec)) == spec
            continue
        error = refused(conventions.write, name, spec)
        assert f"{name} has no window of before={ends[0]}, after={ends[1]}: " in error.reason
        near = conventions.read(name, **error.nearest)
        assert near.ends(9) == (2, 2) and near.scale == 0.25


@pytest.mark.parametrize("name", BOXES)
def test_nothing_along_the_channels_is_a_box(name: str) -> None:
    error = refused(conventions.write, name, LRNSpec(0.25, 0.75, 1.0, 2, 2))
    assert error.reason.startswith(f"{name} sums over a ")
    assert error.reason.endswith("not along one axis")


@pytest.mark.parametrize("name", LINES)
def test_the_whole_axis_has_no_number(name: str) -> None:
    error = refused(conventions.write, name, LRNSpec.divisive(0.9))
    assert f"{name} cannot say a window that reaches to the end of the axis" in error.reason
    assert "for N channels put N - 1 for None" in error.reason
    near = conventions.read(name, **error.nearest)
    assert min(near.ends(9)) >= 7 and near.scale == 1.0


def test_a_window_of_one_is_refused_where_there_is_none() -> None:
    alone = LRNSpec(0.9, 0.6, 1.25, 0, 0)
    assert refused(conventions.write, "wolfram", alone).nearest["channel_window_size"] == 1
    error = refused(conventions.write, "lrnorm", alone)
    assert f"lrnorm.local_response_norm(x, spec={alone}) says it" in error.reason
    assert conventions.write("torch", alone) == {"size": 1, "alpha": 0.9, "beta": 0.6, "k": 1.25}


def test_a_width_beyond_the_limit_becomes_the_limit() -> None:
    wide = LRNSpec(0.25, 0.75, 1.0, 20, 20)
    assert refused(conventions.write, "tensorrt", wide).nearest["windowSize"] == 15
    assert refused(conventions.write, "cudnn", wide).nearest["lrnN"] == 16


def test_every_reason_is_told_at_once() -> None:
    error = refused(conventions.write, "cudnn", LRNSpec(0.25, 0.001, 0.0, 2, 1))
    assert [part.split()[1] for part in error.reason.split("; ") if part.startswith("cudnn")] == [
        *("has", "takes", "takes")
    ]
    assert error.nearest == words("cudnn", 5, 1.25, 0.01, 1e-5)


def test_an_alpha_beyond_float64_is_refused() -> None:
    error = refused(conventions.write, "torch", LRNSpec(-1e308, 0.75, 1.0, 2, 2))
    assert error.reason == "alpha = -1e+308 · 5 is infinite"
    assert error.nearest["alpha"] == -math.nextafter(math.inf, 0)
    assert conventions.write("tf", LRNSpec(-1e308, 0.75, 1.0, 2, 2))["alpha"] == -1e308


def test_a_window_wider_than_any_float_spreads_alpha_to_nothing() -> None:
    assert conventions.read("onnx", size=10**400, alpha=1.0).scale == 0.0


def test_only_a_spec_can_be_written() -> None:
    with pytest.raises(KindError, match=r"^write takes an LRNSpec, got \{'size': 5\}"):
        conventions.write("torch", {"size": 5})  # type: ignore[arg-type]


def test_the_error_travels_between_processes() -> None:
    error = refused(conventions.write, "tf", LRNSpec(0.25, 0.75, 1.0, 2, 1))
    twin = pickle.loads(pickle.dumps(error))
    assert (str(twin), twin.reason, twin.nearest) == (str(error), error.reason, error.nearest)
    assert str(ConventionError("no reason")) == "no reason." and isinstance(error, ParameterError)


# Round trips

FINITE = st.floats(-1e300, 1e300)
SCALES = st.one_of(FINITE, st.floats(1e-6, 10.0), st.integers(1, 999).map(lambda i: i / 1000))
SPECS = st.builds(
    LRNSpec,
    SCALES,
    st.one_of(FINITE, st.floats(0, 3)),
    st.one_of(FINITE, st.floats(0, 3)),
    st.none() | st.integers(0, 20),
    st.none() | st.integers(0, 20),
) | st.builds(lambda s, r: LRNSpec(s, 0.75, 1.0, r, r), SCALES, st.integers(0, 9))


def can_be_met(name: str, spec: LRNSpec) -> bool:
    """Whether some alpha gives this scale to the bit, tried one by one, and some width."""
    if TABLE[name][3] == "1" or name in ("opencv", "arm_compute"):
        return True
    width = spec.before + spec.after + 1
    others = {"S-": [width + 1], "S+": [width - 1]}.get(TABLE[name][2], [])
    for n in [width, *others]:
        alpha = spec.scale * n
        for _ in range(4):
            alpha = math.nextafter(alpha, -math.inf)
        for _ in range(9):
            if n and alpha / n == spec.scale:
                return True
            alpha = math.nextafter(alpha, math.inf)
    return False


@settings(max_examples=40, deadline=None)
@given(spec=SPECS)
@pytest.mark.parametrize("name", sorted(TABLE))
def test_there_and_back_is_exact_or_refused(name: str, spec: LRNSpec) -> None:
    try:
        said = conventions.write(name, spec)
    except ConventionError as error:
        assert error.reason and set(error.nearest) >= set(TABLE[name][0].split())
        near = conventions.read(name, **error.nearest)  # words that work
        assert conventions.read(name, **conventions.write(name, near)).isclose(near, rel_tol=3e-16)
        return
    back = conventions.read(name, **said)
    if can_be_met(name, spec):
        assert back == spec
    else:  # one unit in the last place of the scale, the rest to the bit
        assert back.scale in (math.nextafter(spec.scale, d) for d in (-math.inf, math.inf))
        assert back == LRNSpec(back.scale, spec.beta, spec.bias, spec.before, spec.after)


def test_some_scales_have_no_alpha() -> None:
    """0.1 is not a / 3 for any float64 a: two neighbours a have quotients on either side of it."""
    assert 0.3 / 3 < 0.1 < math.nextafter(0.3, 1) / 3
    spec = LRNSpec(0.1, 0.5, 1.0, 1, 1)
    assert conventions.write("torch", spec)["alpha"] == 0.3
    assert conventions.write("onednn", spec) == words("onednn", 4, 0.4, 0.5, 1.0)
    assert conventions.write("opencv", spec)["norm_by_size"] is False
    assert conventions.read("opencv", **conventions.write("opencv", spec)) == spec


@pytest.mark.parametrize(
    ("before", "after"), [((0, 0), (0, 0)), ((1, 0), (1, 0)), ((0, 1), (0, 2))]
)
def test_a_box_with_an_axis_of_one_index_has_no_keywords(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    with pytest.raises(ConventionError, match=r"lrnorm has no (box|window) of before=") as caught:
        conventions.write("lrnorm", LRNSpec(1.0, 0.5, 1.0, before, after))
    assert caught.value.nearest["channel_window_size"] == 1


@settings(max_examples=15, deadline=None)
@given(
    other=st.sampled_from(sorted(TABLE)),
    alpha=st.floats(1e-5, 5.0),
    beta=st.floats(0.1, 2.0),
    bias=st.floats(0.1, 3.0),
    size=st.integers(1, 15),
)
@pytest.mark.parametrize("name", sorted(TABLE))
def test_by_way_of_another_framework_it_is_the_same_function(
    name: str, other: str, alpha: float, beta: float, bias: float, size: int
) -> None:
    try:
        spec = conventions.read(name, **words(name, size, alpha, beta, bias))
        there = conventions.read(other, **conventions.write(other, spec))
        back = conventions.read(name, **conventions.write(name, there))
    except ConventionError as error:
        assert error.reason and error.nearest
        return
    x = np.random.default_rng(size).normal(size=(40, 3))
    axes = tuple(range(spec.axes))
    y = reference.forward(x, spec, axes)
    for same in (there, back):
        np.testing.assert_allclose(reference.forward(x, same, axes), y, rtol=1e-13)


@settings(max_examples=20, deadline=None)
@given(before=st.integers(0, 24), after=st.integers(0, 24))
@pytest.mark.parametrize("name", LINES)
def test_no_window_is_nearer_than_the_nearest(name: str, before: int, after: int) -> None:
    spec = LRNSpec(0.25, 0.75, 1.0, before, after)
    try:
        conventions.write(name, spec)
    except ConventionError as error:
        near = conventions.read(name, **error.nearest)
    else:
        return

    def distance(ends: tuple[int, int]) -> int:
        return abs(ends[0] - before) + abs(ends[1] - after)

    for size in range(60):
        try:
            other = conventions.read(name, **words(name, size, 1.0, 0.75, 1.0))
        except ParameterError:
            continue
        assert distance(near.ends(99)) <= distance(other.ends(99))


def test_where_no_number_meets_the_scale_it_is_the_odd_one() -> None:
    """Among 100 scales there are some that neither 11 nor 12 can be the divisor of."""
    scales = np.random.default_rng(0).uniform(0.1, 1.0, 100)
    specs = [LRNSpec(scale, 0.5, 1.0, 5, 5) for scale in scales]
    unmet = [spec for spec in specs if not can_be_met("onednn", spec)]
    assert unmet and all(conventions.write("onednn", s)["local_size"] == 11 for s in unmet)


def test_convert_is_reading_and_writing() -> None:
    assert conventions.convert("caffe", "tf", local_size=5, alpha=1e-4, k=2.0) == {
        "depth_radius": 2,
        "alpha": 2e-05,
        "beta": 0.75,
        "bias": 2.0,
    }
