"""One output written out: the numbers are right, and so is what is shown."""

from __future__ import annotations

import math
import re
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest

import lrnorm
from lrnorm import KindError, LRNSpec, ShapeError

X = np.random.default_rng(3).normal(size=(2, 9, 3, 4))
SHOWN = r"-?[\d.]+(?:e[+-]\d+)?"


def lines(text: str) -> dict[str, str]:
    """Label → the rest of each line under the title."""
    found = {}
    for line in text.splitlines()[1:]:
        label, cells = re.split(r"\s{2,}", line.strip(), maxsplit=1)
        found[label] = cells
    return found


def by_hand(values: list[float], c: int, spec: LRNSpec) -> tuple[list[Any], Any, Any, Any, Any]:
    """Squares, sum, D, power and result, with 40 digits."""
    before, after = spec.ends(len(values))
    with mpmath.workdps(40):
        squares = [mpmath.mpf(v) ** 2 for j, v in enumerate(values) if c - before <= j <= c + after]
        total = mpmath.fsum(squares)
        energy = mpmath.mpf(spec.bias) + mpmath.mpf(spec.scale) * total
        power = energy ** -mpmath.mpf(spec.beta)
        return squares, total, energy, power, mpmath.mpf(values[c]) * power


def test_the_seed_s_example() -> None:
    text = repr(lrnorm.explain([-2.0, -1.0, 0.0, 1.0, 2.0], -1, axis=0))
    assert text.splitlines()[0] == (
        "y[4] = x[4] · D^-beta,  D = bias + scale · Σ x[j]²,  channel 4 of 5 on axis 0"
    )
    assert lines(text) == {
        "scale": "0.2",
        "beta": "0.5",
        "bias": "1.0",
        "window": "2 … 4",
        "x[2]² = (0)²": "0",
        "x[3]² = (1)²": "1",
        "x[4]² = (2)²": "4",
        "Σ": "5",
        "D": "1 + 0.2 · 5 = 2",
        "D^-beta": "(2)^-0.5 = 0.7071067812",
        "y": "2 · 0.7071067812 = 1.414213562",
    }


@pytest.mark.parametrize("index", [(0, 0, 0, 0), (1, 4, 2, 3), (-1, -1, -1, -1), (0, 8, 1, 2)])
def test_each_number_is_rounded_once(spec: LRNSpec, index: tuple[int, ...]) -> None:
    shown = lrnorm.explain(X, index, spec=spec)
    n, c, i, j = (k % size for k, size in zip(index, X.shape, strict=True))
    squares, total, energy, power, result = by_hand(X[n, :, i, j].tolist(), c, spec)
    [column] = shown.columns
    assert list(column.squares) == [float(q) for q in squares]
    assert (column.sum, column.energy) == (float(total), float(energy))
    assert (column.power, column.result) == (float(power), float(result))
    assert list(column.channels) == [
        k for k in range(9) if c - spec.ends(9)[0] <= k <= c + spec.ends(9)[1]
    ]
    y = lrnorm.local_response_norm(X, spec=spec)[index]
    assert math.isclose(column.result, y, rel_tol=3e-15)


def test_the_digits_shown_are_right(spec: LRNSpec) -> None:
    index = (1, 5, 0, 1)
    squares, total, energy, power, result = by_hand(X[1, :, 0, 1].tolist(), 5, spec)
    text = lines(repr(lrnorm.explain(X, index, spec=spec)))
    found = [float(text[label]) for label in text if label.startswith("x[")]
    found += [float(text["Σ"])]
    found += [float(re.findall(SHOWN, text[label])[-1]) for label in ("D", "D^-beta", "y")]
    for number, exact in zip(found, [*squares, total, energy, power, result], strict=True):
        assert abs(number - exact) <= 0.5001e-9 * abs(exact)
        assert number == pytest.approx(float(exact), rel=5e-9)


def test_squares_beyond_the_range_stay_right() -> None:
    [column] = lrnorm.explain([1e200, 1e-200], 0, axis=0, alpha=5.0).columns
    assert column.sum == math.inf and column.cells["Σ"] == "1e+400"
    assert column.result == 1.0
    [column] = lrnorm.explain([1e-200, 0.0], 0, axis=0, alpha=5.0, bias=0.0).columns
    assert column.sum == 0.0 and column.cells["Σ"] == "1e-400"
    assert column.result == 1.0


@pytest.mark.parametrize(
    ("x", "numbers"),
    [
        ([math.nan, 1.0], {}),
        ([math.inf, 1.0], {}),
        ([0.0, 0.0], {"bias": 0.0}),
        ([1.0, 1.0], {"bias": -3.0}),
        ([1.0, 1.0], {"bias": -3.0, "beta": 2.0}),
        ([1.0, 1.0], {"bias": -0.4, "beta": 0.0}),
        ([-0.0, 1.0], {}),
    ],
)
def test_nan_and_inf_as_the_function_has_them(x: list[float], numbers: dict[str, float]) -> None:
    [column] = lrnorm.explain(x, 0, axis=0, **numbers).columns
    y = lrnorm.local_response_norm(x, axis=0, **numbers)[0]
    assert column.result == pytest.approx(y, rel=1e-15, nan_ok=True)
    assert math.copysign(1, column.result) == math.copysign(1, y) or math.isnan(y)
    assert column.cells["y"].endswith(f" = {y:.10g}")


def test_signs_are_readable() -> None:
    [column] = lrnorm.explain([1.0], 0, axis=0, alpha=-15.0, beta=-2.0).columns
    assert column.cells["D"] == "1 + -3 · 1 = -2"
    assert column.cells["D^-beta"] == "(-2)^2 = 4"


def test_two_specs_stand_side_by_side() -> None:
    one, two = LRNSpec(0.25, 0.5, 1.0, 1, 0), LRNSpec(0.5, 0.75, 2.0, 0, 2)
    shown = lrnorm.explain([1.0, 2.0, 3.0, 4.0], 1, axis=0, spec=(one, two))
    assert [column.spec for column in shown.columns] == [one, two]
    text = {label: re.split(r"\s{2,}", cells) for label, cells in lines(repr(shown)).items()}
    assert text["window"] == ["0 … 1", "1 … 3"]
    assert text["x[0]² = (1)²"] == ["1", "–"]
    assert text["x[1]² = (2)²"] == ["4", "4"]
    assert text["x[3]² = (4)²"] == ["–", "16"]
    assert text["Σ"] == ["5", "29"] and text["beta"] == ["0.5", "0.75"]
    starts = {line.find("4") for line in repr(shown).splitlines() if line.startswith("  x[1]")}
    assert len(starts) == 1  # columns line up


def test_the_middle_of_a_wide_window_is_left_out() -> None:
    x = np.arange(1.0, 41.0)
    shown = lrnorm.explain(x, 20, axis=0, channel_window_size=15)
    text = lines(repr(shown))
    assert text["…"] == "19 more channels" and len(shown.columns[0].squares) == 31
    assert [label for label in text if label.startswith("x[")] == [
        f"x[{j}]² = ({j + 1})²" for j in (*range(5, 11), *range(30, 36))
    ]
    assert float(text["Σ"]) == sum((j + 1) ** 2 for j in range(5, 36))
    assert "…" not in lines(repr(lrnorm.explain(x, 20, axis=0, channel_window_size=6)))


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", ml_dtypes.bfloat16, "int16", "bool", ">f4"]
)
def test_every_kind_that_the_function_takes(dtype: Any) -> None:
    x = (X[0] * 3).astype(dtype)
    values = x[:, 1, 2].astype(float).tolist()
    result = lrnorm.explain(x, (4, 1, 2)).columns[0].result
    assert result == float(by_hand(values, 4, LRNSpec.from_keywords())[-1])
    assert lrnorm.explain(x.tolist(), (4, 1, 2)).columns[0].result == result


def test_a_tensor_that_wants_a_gradient() -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    [column] = lrnorm.explain(x, 1, axis=0, alpha=5.0).columns
    assert column.sum == 14.0 and column.energy == 15.0


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (
            3,
            ShapeError,
            r"^index must name one output, with 4 integers for the shape \(2, 9",
        ),
        ((0, 1, 2), ShapeError, r"got \(0, 1, 2\)"),
        ((0, 9, 0, 0), ShapeError, r"^index must lie inside the shape .*, got \(0, 9, 0, 0\)"),
        ((0, 1, 2, -5), ShapeError, "^index must lie inside"),
        ((0, 1, 2, 1.0), KindError, r"^index must be an integer for each axis, got \(0, 1, 2, 1"),
        ((0, slice(None), 0, 0), KindError, "^index must be an integer for each axis"),
    ],
)
def test_an_index_names_one_output(index: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lrnorm.explain(X, index)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"size": 5}, r"^explain\(\) has no argument 'size'. size is a width in PyTorch"),
        ({"colour": 1}, "It takes alpha, beta, bias, channel_window_size, spec, axis"),
        ({"spec": "torch"}, "^spec must be an LRNSpec, got 'torch'"),
        ({"spec": ()}, r"^spec must be an LRNSpec or several of them, got \(\)"),
        ({"spec": LRNSpec.divisive(1.0), "beta": 1.0}, "^spec replaces .*, got spec and beta"),
    ],
)
def test_words_that_do_not_fit(words: dict[str, Any], message: str) -> None:
    with pytest.raises(KindError, match=message):
        lrnorm.explain(X, (0, 0, 0, 0), **words)


def test_arrays_that_the_function_refuses() -> None:
    for x in (X.astype(complex), X.astype("longdouble"), np.ma.masked_array(X)):
        with pytest.raises(KindError):
            lrnorm.explain(x, (0, 0, 0, 0))
    with pytest.raises(ShapeError, match="axis can be left out for"):
        lrnorm.explain([1.0, 2.0], 0)
