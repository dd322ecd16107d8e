"""LRNSpec: a value that prints itself, and the one home of what parameters may be."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from refusals import refusal

import lrnorm
from lrnorm import KindError, LRNormError, LRNSpec, ParameterError
from lrnorm._spec.spec import spec_from_keywords, window_ends

SPEC = LRNSpec(scale=0.25, beta=0.75, bias=1.5, before=2, after=1)


# A value


def test_fields_are_floats_and_integers() -> None:
    spec = LRNSpec(Fraction(1, 4), np.float32(0.75), True + 1, np.int64(2), np.uint8(1))
    assert dataclasses.astuple(spec) == (0.25, 0.75, 2.0, 2, 1)
    assert [type(value) for value in dataclasses.astuple(spec)] == [float, float, float, int, int]


def test_frozen() -> None:
    for name in ("scale", "before", "something_else"):
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(SPEC, name, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del SPEC.beta
    assert LRNSpec(0.25, 0.75, 1.5, 2, 1) == SPEC


def test_equal_and_hashable_by_value() -> None:
    other = LRNSpec(0.25, 0.75, 1.5, np.int8(2), 1)
    assert other == SPEC
    assert hash(other) == hash(SPEC)
    different = [dataclasses.replace(SPEC, **{f.name: 4}) for f in dataclasses.fields(SPEC)]
    assert len({SPEC, other, *different}) == 6
    assert dataclasses.astuple(SPEC) != SPEC


def test_prints_in_keywords_and_reads_back() -> None:
    text = "LRNSpec(scale=0.25, beta=0.75, bias=1.5, before=2, after=1)"
    assert repr(SPEC) == str(SPEC) == text
    for spec in (SPEC, LRNSpec.divisive(0.1), LRNSpec(1 / 3, 2e-5, -1e300, None, 0)):
        assert eval(repr(spec)) == spec


def test_survives_pickle_and_copy() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(SPEC, protocol)) == SPEC
    assert copy.copy(SPEC) == copy.deepcopy(SPEC) == SPEC


def test_made_of_its_five_numbers_and_nothing_else() -> None:
    assert dataclasses.astuple(SPEC) == (0.25, 0.75, 1.5, 2, 1)
    assert LRNSpec(*dataclasses.astuple(SPEC)) == LRNSpec(**dataclasses.asdict(SPEC)) == SPEC


def test_replace_checks_again() -> None:
    assert dataclasses.replace(SPEC, after=None).after is None
    with pytest.raises(ParameterError, match="after must be at least 0, got -1"):
        dataclasses.replace(SPEC, after=-1)


# Windows


@pytest.mark.parametrize(
    ("before", "after", "channels", "ends"),
    [
        (2, 1, 10, (2, 1)),
        (2, 1, 1, (2, 1)),
        (None, 3, 10, (9, 3)),
        (0, None, 10, (0, 9)),
        (None, None, 1, (0, 0)),
        (None, None, 0, (0, 0)),
    ],
)
def test_ends(before: Any, after: Any, channels: int, ends: tuple[int, int]) -> None:
    assert LRNSpec(1, 1, 1, before, after).ends(channels) == ends


def test_ends_have_no_upper_limit() -> None:
    assert LRNSpec(1, 1, 1, 10**30, 0).ends(5) == (10**30, 0)


def test_divisive() -> None:
    assert LRNSpec.divisive(3) == LRNSpec(1.0, 0.5, 9.0, None, None)
    with pytest.raises(ParameterError, match=r"^sigma must be at least 0, got -0\.5\."):
        LRNSpec.divisive(-0.5)
    for sigma in (True, "1", None):
        with refusal(KindError, f"sigma must be a finite real number, got {sigma!r}."):
            LRNSpec.divisive(sigma)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("window", "scale", "before", "after"),
    [
        (1, 1.0, 1, 1),
        (2, 0.6, 2, 2),
        ((2, 1), 0.75, 2, 1),
        ([0, 3], 0.75, 0, 3),
        ((1, 0), 1.5, 1, 0),
        (np.int16(7), 0.2, 7, 7),
        (10**12, 3 / (2 * 10**12 + 1), 10**12, 10**12),
    ],
)
def test_from_keywords(window: Any, scale: float, before: int, after: int) -> None:
    spec = LRNSpec.from_keywords(3.0, 0.7, 1.1, window)
    assert spec == LRNSpec(scale, 0.7, 1.1, before, after)
    assert spec == LRNSpec.from_keywords(alpha=3.0, beta=0.7, bias=1.1, channel_window_size=window)
    assert [type(end) for end in (spec.before, spec.after)] == [int, int]


def test_defaults_are_the_seeds() -> None:
    assert LRNSpec.from_keywords() == LRNSpec(1 / 5, 0.5, 1.0, 2, 2)


# Closeness


def test_isclose_allows_float32_and_no_more() -> None:
    spec = LRNSpec(2e-5, 0.7, 1.1, 2, 2)
    rounded = LRNSpec(*(float(np.float32(v)) for v in (2e-5, 0.7, 1.1)), 2, 2)
    assert rounded != spec
    assert spec.isclose(rounded)
    assert rounded.isclose(spec)
    assert not spec.isclose(rounded, rel_tol=1e-12)


@pytest.mark.parametrize("name", ["scale", "beta", "bias"])
def test_isclose_sees_each_number(name: str) -> None:
    value = getattr(SPEC, name)
    near, far = (dataclasses.replace(SPEC, **{name: value * f}) for f in (1 + 1e-7, 1 + 1e-5))
    assert SPEC.isclose(near)
    assert not SPEC.isclose(far)
    assert SPEC.isclose(far, rel_tol=1e-4)


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 1), (1, 2), (None, 1), (2, None)])
def test_isclose_wants_the_same_window(before: Any, after: Any) -> None:
    assert not SPEC.isclose(dataclasses.replace(SPEC, before=before, after=after))


# Refusals


@pytest.mark.parametrize("name", ["scale", "beta", "bias"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, KindError),
        (np.True_, KindError),
        ("1", KindError),
        (None, KindError),
        (1j, KindError),
        ([1.0], KindError),
        (Decimal(1), KindError),
        (np.array([1.0]), KindError),
        (math.nan, ParameterError),
        (math.inf, ParameterError),
        (np.float32("-inf"), ParameterError),
        (10**400, ParameterError),
        (Fraction(10**400), ParameterError),
    ],
)
def test_numbers_are_finite_and_real(name: str, value: Any, kind: type[LRNormError]) -> None:
    with refusal(kind, f"{name} must be a finite real number, got {value!r}."):
        dataclasses.replace(SPEC, **{name: value})
    keyword = "alpha" if name == "scale" else name
    with refusal(kind, f"{keyword} must be a finite real number, got {value!r}."):
        LRNSpec.from_keywords(**{keyword: value})


@pytest.mark.parametrize("value", [0, -2, 1e-300, 1e300, Fraction(1, 3), np.float16(0.1)])
def test_any_finite_number_will_do(value: Any) -> None:
    assert LRNSpec(value, value, value, 0, 0).beta == float(value)


@pytest.mark.parametrize("name", ["before", "after"])
def test_ends_of_a_spec(name: str) -> None:
    for value in (True, 2.0, "2", np.float64(1)):
        with refusal(
            KindError,
            f"{name} must be an integer, or None for the end of the axis, got {value!r}.",
        ):
            dataclasses.replace(SPEC, **{name: value})
    with refusal(
        ParameterError, f"{name} must be at least 0, got -1. It counts channels from the centre."
    ):
        dataclasses.replace(SPEC, **{name: -1})
    assert LRNSpec(1, 1, 1, 0, 0).ends(4) == (0, 0)


def test_the_sentence_of_the_house() -> None:
    """architecture.md prints this one, word for word."""
    sentence = (
        "channel_window_size must be a positive integer, got 2.5. "
        "It is a radius: 2 averages over 5 channels."
    )
    with refusal(ParameterError, sentence):
        LRNSpec.from_keywords(channel_window_size=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=re.escape(sentence)):
        window_ends(2.5)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0, ParameterError),
        (-1, ParameterError),
        (2.0, ParameterError),
        (math.nan, ParameterError),
        (Fraction(5, 2), ParameterError),
        (True, ParameterError),
        ("2", KindError),
        (None, KindError),
        (2j, KindError),
        ({2}, KindError),
        (np.array(2.0), KindError),
    ],
)
def test_a_radius_is_a_positive_integer(value: Any, kind: type[LRNormError]) -> None:
    with refusal(
        kind,
        f"channel_window_size must be a positive integer, got {value!r}. "
        "It is a radius: 2 averages over 5 channels.",
    ):
        LRNSpec.from_keywords(channel_window_size=value)


@pytest.mark.parametrize(
    ("pair", "kind", "text"),
    [
        ((0, 0), ParameterError, "must not be (0, 0): a window of one channel averages over none"),
        ((1, 2, 3), ParameterError, "or a pair (before, after), got 3 numbers: (1, 2, 3)."),
        ((), ParameterError, "got 0 numbers: ()."),
        ((2,), ParameterError, "got 1 numbers: (2,)."),
        ((1, -1), ParameterError, "channel_window_size[1] must be at least 0, got -1."),
        ((-3, 1), ParameterError, "channel_window_size[0] must be at least 0, got -3."),
        ((1.0, 2), KindError, "channel_window_size[0] must be an integer"),
        ((1, "2"), KindError, "channel_window_size[1] must be an integer"),
        ((True, 2), KindError, "channel_window_size[0] must be an integer"),
        ((None, 2), KindError, "use spec=LRNSpec(…, before=None, after=None)"),
        ((2, None), KindError, "must hold integers, got (2, None)"),
    ],
)
def test_pairs(pair: Any, kind: type[LRNormError], text: str) -> None:
    with pytest.raises(kind, match=re.escape(text)):
        LRNSpec.from_keywords(channel_window_size=pair)


def test_errors_are_the_built_in_kinds() -> None:
    assert issubclass(ParameterError, ValueError)
    assert issubclass(KindError, TypeError)
    assert issubclass(ParameterError, LRNormError)
    assert issubclass(KindError, LRNormError)


# What is remembered from call to call


def test_remembered_specs_are_the_same_object() -> None:
    first = spec_from_keywords(1.25, 0.5, 1.0, (2, 1))
    assert spec_from_keywords(1.25, 0.5, 1.0, (2, 1)) is first
    assert first == LRNSpec.from_keywords(1.25, 0.5, 1.0, (2, 1))
    assert spec_from_keywords(1.25, 0.5, 1.0, (1, 2)) != first
    assert spec_from_keywords(1.25, 0.5, 1.0, [2, 1]) == first


@pytest.mark.parametrize(
    ("good", "equal_but_wrong"),
    [
        ((1, 1, 1, 2), (True, 1, 1, 2)),
        ((1, 1, 1, 2), (1, True, 1, 2)),
        ((1, 1, 1, 2), (1, 1, True, 2)),
        ((1, 1, 1, 1), (1, 1, 1, True)),
        ((1, 1, 1, 2), (1, 1, 1, 2.0)),
        ((1, 1, 1, (1, 2)), (1, 1, 1, (True, 2))),
        ((1, 1, 1, (1, 2)), (1, 1, 1, (1, 2.0))),
    ],
)
def test_remembering_good_numbers_lets_no_equal_ones_in(good: Any, equal_but_wrong: Any) -> None:
    """1 == True == 1.0, and all three have one hash."""
    spec_from_keywords(*good)
    assert good == equal_but_wrong
    with pytest.raises(LRNormError):
        spec_from_keywords(*equal_but_wrong)


def test_numbers_beyond_any_float_are_told_apart() -> None:
    wide = LRNSpec.from_keywords(channel_window_size=10**400)
    assert (wide.scale, wide.before) == (0.0, 10**400)
    with pytest.raises(ParameterError, match="sigma must have a finite square, got 1e\\+200"):
        LRNSpec.divisive(1e200)
    with pytest.raises(KindError, match="isclose compares with an LRNSpec, got 3"):
        wide.isclose(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_tensor_of_one_number_is_told_where_it_may_go(framework):
    module = pytest.importorskip(framework if framework == "torch" else "jax.numpy")
    value = module.asarray(1.0)
    with pytest.raises(TypeError, match=rf"goes to lrnorm\.{framework}\.local_response_norm"):
        lrnorm.local_response_norm([1.0], alpha=value, axis=0)


def test_the_cache_of_boxes_tells_types_apart():
    numbers = (1e-4, 0.75, 1.0)
    spec = spec_from_keywords(*numbers, [1, 2], (0, 1))
    assert spec_from_keywords(*numbers, [1, 2], [0, 1]) is spec
    assert spec.before == (1, 2)
    pair = spec_from_keywords(*numbers, (1, 2), (0, 1))  # for each axis
    assert (pair.before, pair.after) == ((1, 1), (2, 2))
    assert spec_from_keywords(*numbers, [(1, 0), 2], (0, 1)).after == (0, 2)
    for size in ([1.0, 2], [True, 2], [(1.0, 0), 2]):
        with pytest.raises(LRNormError):
            spec_from_keywords(*numbers, size, (0, 1))
