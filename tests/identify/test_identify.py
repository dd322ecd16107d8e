"""`lrnorm.identify` finds the numbers of what is an LRN, and refuses what is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from lrn_formulas import lrn, near_misses, random_words, window_sums

from lrnorm import IdentificationError, conventions, identify
from lrnorm._spec.spec import LRNSpec

CONVENTIONS = [name for name in conventions.names() if not name.endswith(("within", "divisive"))]


def check(name: str, words: dict, dtype: str) -> None:
    spec = conventions.read(name, **words)
    found = identify(lrn(spec), dtype=dtype)
    assert (found.spec.before, found.spec.after) == (spec.before, spec.after), (words, found)
    for number in ("scale", "beta", "bias"):
        right, got = getattr(spec, number), getattr(found.spec, number)
        # The last bit of alpha / n is the division's, not the callable's.
        slack = np.spacing(abs(right)) if dtype == "float64" else found.uncertainty.get(number, 0)
        assert abs(got - right) <= slack, (number, words, found)
    assert found.calls <= 200
    if dtype == "float64":
        said = conventions.read(name, **found.words[name])
        assert said.isclose(spec, rel_tol=1e-15)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_convention_is_found(name):
    rng = np.random.default_rng(CONVENTIONS.index(name))
    check(name, random_words(name, rng, 5), "float64")
    check(name, random_words(name, rng, 4), "float32")


def test_a_beta_that_float32_rounds_is_within_the_uncertainty_of_the_scale():
    words = {"depth_radius": 12, "alpha": 4.7, "beta": 0.251, "bias": 7.0}
    check("mindspore", words, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVENTIONS)
def test_convention_is_found_for_200_parameter_sets(name):
    rng = np.random.default_rng(100 + CONVENTIONS.index(name))
    for _ in range(200):
        check(name, random_words(name, rng, 6), "float64")
        check(name, random_words(name, rng, 4), "float32")


def refused(seed: int) -> None:
    for name, f in near_misses(np.random.default_rng(seed)).items():
        for dtype in ("float32", "float64"):
            with pytest.raises(IdentificationError) as caught:
                print(name, dtype, identify(f, dtype=dtype))
            assert caught.value.reason in str(caught.value)


def test_near_misses_are_refused():
    refused(0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 26))
def test_200_near_misses_are_refused(seed):
    refused(seed)


FIVE = LRNSpec(0.02, 0.6, 2.0, 1, 3)


@pytest.mark.parametrize(
    ("ndim", "axis"), [(1, 0), (2, 1), (2, 0), (3, -1), (3, 1), (4, -1), (4, 0), (5, 3)]
)
def test_any_axis(ndim, axis):
    assert identify(lrn(FIVE, axis), ndim=ndim, axis=axis).spec == FIVE


@pytest.mark.parametrize("channels", [5, 64, 200])
def test_any_number_of_channels(channels):
    found = identify(lrn(FIVE), channels=channels)
    assert found.spec == FIVE
    assert found.calls <= 200


def test_an_end_beyond_the_axis_is_open():
    assert identify(lrn(FIVE), channels=3).spec == LRNSpec(0.02, 0.6, 2.0, 1, None)
    assert identify(lrn(FIVE), channels=1).spec == LRNSpec(0.02, 0.6, 2.0, None, None)


def test_whole_axis():
    spec = LRNSpec(1 / 16, 0.5, 1e-8, None, None)
    assert identify(lrn(spec), dtype="float64").spec == spec


@pytest.mark.parametrize("bias", [0.0, -2.0])
def test_bias_that_is_not_positive(bias):
    assert identify(lrn(LRNSpec(0.02, 0.6, bias, 1, 3))).spec.isclose(
        LRNSpec(0.02, 0.6, bias, 1, 3), rel_tol=1e-5
    )


def test_negative_scale():
    spec = LRNSpec(-0.02, 0.6, 2.0, 1, 3)
    assert identify(lrn(spec), dtype="float64").spec.isclose(spec, rel_tol=1e-12)


@pytest.mark.parametrize("spec", [LRNSpec(0.02, 0.0, 2.0, 1, 1), LRNSpec(0.0, 0.75, 2.0, 1, 1)])
def test_constant_factor(spec):
    found = identify(lrn(spec))
    assert found.spec.scale == 0
    factor = found.spec.bias**found.spec.beta
    assert math.isclose(factor, spec.bias**spec.beta, rel_tol=1e-6)
    [remark] = found.remarks
    assert remark.code == "constant_factor"
    assert remark.text.startswith(f"it only divides by {factor:.3g}")


@pytest.mark.parametrize("spec", [FIVE, LRNSpec(2e-5, 0.75, 1.0, 2, 2), LRNSpec(1, 0.5, 0, 1, 1)])
@pytest.mark.parametrize("inside", ["float16", "float32"])
def test_float16(spec, inside):
    found = identify(lambda x: lrn(spec)(x.astype(inside)).astype(x.dtype), dtype="float16")
    assert (found.spec.before, found.spec.after) == (spec.before, spec.after)
    for number, spread in found.uncertainty.items():
        assert abs(getattr(found.spec, number) - getattr(spec, number)) <= 2 * spread
    assert ("low_precision" in codes(found)) == (inside == "float16")


def codes(found):
    return {remark.code for remark in found.remarks}


def running(x):
    padded = np.pad(x * x, [(0, 0), (3, 2), (0, 0), (0, 0)])
    sums = np.cumsum(padded, axis=1, dtype=x.dtype)
    return x / (1 + x.dtype.type(0.02) * (sums[:, 5:] - sums[:, :-5])) ** x.dtype.type(0.75)


def band(x):
    offset = np.arange(x.shape[1])[:, None] - np.arange(x.shape[1])
    sums = np.einsum("oc,nchw->nohw", (abs(offset) <= 2).astype(x.dtype), x * x)
    return x / (1 + x.dtype.type(0.02) * sums) ** x.dtype.type(0.75)


def test_remarks():
    assert codes(identify(running)) == {"leaks_nan", "overflows", "running_sum"}
    assert codes(identify(band)) == {"leaks_nan", "overflows"}
    assert codes(identify(lrn(FIVE))) == {"overflows"}
    careful = identify(lambda x: lrn(FIVE)(x.astype("float64")).astype(x.dtype))
    assert codes(careful) == set()
    assert careful.max_ulp <= 0.5001


def test_our_own_function_has_no_remarks():
    import lrnorm

    for dtype, most in (("float16", 1), ("float32", 4), ("float64", 4)):
        found = identify(
            lambda x: lrnorm.local_response_norm(x, spec=LRNSpec(0.2, 0.5, 1.0, 2, 2), axis=1),
            dtype=dtype,
        )
        assert found.remarks == ()
        assert found.max_ulp <= most


def test_low_precision():
    def coarse(x):
        sums = window_sums(np.moveaxis(x * x, 1, -1), 2, 2)
        power = (1 + 0.02 * np.moveaxis(sums, -1, 1)) ** -0.75
        return x * (power * (1 + 2e-5 * np.sin(1e4 * power))).astype(x.dtype)

    found = identify(coarse)
    assert "low_precision" in codes(found)
    assert found.spec.isclose(LRNSpec(0.02, 0.75, 1.0, 2, 2), rel_tol=1e-4)
    narrow = identify(lambda x: lrn(FIVE)(x.astype("float32")), dtype="float64")
    assert "low_precision" in codes(narrow)
    assert narrow.dtype == "float32"


def test_a_bias_that_is_ignored():
    class Module:
        k = 0.8

        def __call__(self, x):
            return lrn(LRNSpec(0.02, 0.75, 1.0, 2, 2))(x)

    assert "ignores_bias" in codes(identify(Module()))


def layer_norm(x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)


def crossed(x):
    return x / (1 + 0.1 * np.roll(x, 1, axis=1) ** 2)


GENERATOR = np.random.default_rng()
REFUSALS = {
    "raises": (lambda x: 1 / 0, "raises ZeroDivisionError: division by zero. If it takes arrays"),
    "shape": (lambda x: x[:1], "turns the shape .* into"),
    "a tuple": (lambda x: (x, x), "returns tuple, which is not an array"),
    "nothing": (lambda x: None, "returns None, which is not an array"),
    "random": (lambda x: x * GENERATOR.random(x.shape), "other results when it is run again"),
    "not_odd": (lambda x: np.maximum(x, 0), "is not -f"),
    "other_pixels": (
        lambda x: x / (1 + (x * x).mean((2, 3), keepdims=True)),
        "pass that as axis=",
    ),
    "size_law": (np.tanh, "one channel of size t does not give"),
    "unequal_weights": (crossed, "its own square does not count"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_refusals_say_why(code):
    f, words = REFUSALS[code]
    with pytest.raises(IdentificationError, match=words) as caught:
        identify(f)
    assert caught.value.code == {"a tuple": "shape", "nothing": "shape"}.get(code, code)
    assert isinstance(caught.value, ValueError)


def test_layer_normalization_and_batch_statistics_are_refused():
    for f in (layer_norm, lambda x: x / np.sqrt((x * x).mean(0, keepdims=True) + 1)):
        with pytest.raises(IdentificationError):
            identify(f)


def test_unequal_weights_are_given():
    def bell(x):
        padded = np.pad(x * x, [(0, 0), (1, 1), (0, 0), (0, 0)])
        return x / (1 + 0.1 * (0.25 * padded[:, :-2] + padded[:, 1:-1] + 0.25 * padded[:, 2:]))

    with pytest.raises(IdentificationError, match=r"0\.25, 1, 0\.25"):
        identify(bell)


class Layer:
    def __call__(self, x):
        return lrn(FIVE)(x)


def test_fixed_shape():
    def f(x):
        assert x.shape == (1, 24, 7, 7)
        return lrn(FIVE)(x)

    assert identify(f, shape=(1, 24, 7, 7)).spec == FIVE


def test_print_is_a_table():
    text = str(identify(lrn(LRNSpec(2e-5, 0.75, 2.0, 2, 2))))
    assert "y[c] = x[c] · (2 + 2e-05 · Σ x[j]²)^-0.75,  j from c-2 to c+2" in text
    assert "torch          size=5, alpha=0.0001, beta=0.75, k=2.0" in text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"channels": 0}, "channels must be a positive integer, got 0"),
        ({"axis": 4}, "axis must be an integer in -4 … 3, got 4"),
        ({"dtype": "int8"}, "dtype must be one of float16, bfloat16, float32, float64"),
        ({"ndim": 9}, "ndim must be at most 6, got 9"),
        ({"shape": (0, 3, 4)}, r"shape must be a tuple of positive integers, got \(0, 3, 4\)"),
        ({"shape": 5}, "shape must be a tuple of positive integers, got 5"),
    ],
)
def test_wrong_arguments(arguments, error):
    with pytest.raises(ValueError, match=error):
        identify(lrn(FIVE), **arguments)
    with pytest.raises(TypeError, match="f must be callable"):
        identify(5)
    with pytest.raises(TypeError, match="a function or an instance, got the class Layer"):
        identify(Layer)
