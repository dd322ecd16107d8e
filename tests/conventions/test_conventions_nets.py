"""Nets that people know, in five numbers, and outputs that others publish or compute."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

import lrnorm
from lrnorm import conventions

X = [-80.0, 3.5, 120.0, 0.25, -41.0, 64.0, 7.0, -210.0, 33.0, 0.0, 95.0, -12.5]
NETS: dict[str, tuple[str, dict[str, Any], tuple[str, str, str, str, int]]] = {
    # name: the convention, the words as published, (scale over, by, beta, bias, radius)
    "AlexNet's paper": ("alexnet_paper", {}, ("1e-4", "1", ".75", "2", 2)),
    "BVLC AlexNet": ("caffe", {"local_size": 5, "alpha": 1e-4}, ("1e-4", "5", ".75", "1", 2)),
    "BVLC GoogLeNet": (
        "caffe",
        {"local_size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1},
        ("1e-4", "5", ".75", "1", 2),
    ),
    "Inception5h": (
        "tensorflow",
        {"depth_radius": 5, "bias": 2.0, "alpha": 1e-4, "beta": 0.5},
        ("1e-4", "1", ".5", "2", 5),
    ),
    "ZFNet512": (
        "onnx",
        {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0},
        ("1e-4", "5", ".75", "1", 2),
    ),
    "Wolfram's defaults": ("wolfram", {}, ("1", "5", ".5", "1", 2)),
}


@pytest.mark.parametrize("net", NETS)
def test_nets_that_people_know(net: str) -> None:
    name, given, (alpha, divisor, beta, bias, r) = NETS[net]
    spec = conventions.read(name, **given)
    numbers = (Fraction(alpha) / Fraction(divisor), Fraction(beta), Fraction(bias))
    assert (spec.scale, spec.beta, spec.bias) == tuple(map(float, numbers))
    assert (spec.before, spec.after) == (r, r)
    y = lrnorm.local_response_norm(np.array(X), spec=spec, axis=0)
    with mpmath.workdps(40):
        for c, value in enumerate(X):
            window = X[max(0, c - r) : c + r + 1]
            energy = mpmath.mpf(bias) + mpmath.mpf(alpha) / mpmath.mpf(divisor) * mpmath.fsum(
                mpmath.mpf(v) ** 2 for v in window
            )
            expected = mpmath.mpf(value) / energy ** mpmath.mpf(beta)
            assert abs(mpmath.mpf(float(y[c])) - expected) <= 2e-15 * abs(expected)


@pytest.mark.parametrize(
    ("given", "y"),
    [
        ((20, 1.0, 0.0), [-0.55, 0.3, 0.35, 0.6, -0.35, 0.05]),
        ((20, 4.0, 0.0), [-0.275, 0.15, 0.175, 0.3, -0.175, 0.025]),
        ((20, 4.0, 9.0), [-0.22, 0.12, 0.14, 0.24, -0.14, 0.02]),
        ((2, 4.0, 9.0), [-0.264926, 0.125109, 0.140112, 0.267261, -0.161788, 0.0244266]),
    ],
)
def test_what_tensorflow_lite_publishes(given: tuple[int, float, float], y: list[float]) -> None:
    """From its local_response_norm_test.cc, beta 0.5."""
    radius, alpha, bias = given
    spec = conventions.read("tflite", depth_radius=radius, alpha=alpha, beta=0.5, bias=bias)
    x = np.array([-1.1, 0.6, 0.7, 1.2, -0.7, 0.1], np.float32)
    np.testing.assert_allclose(lrnorm.local_response_norm(x, spec=spec, axis=0), y, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 15])
def test_what_pytorch_computes(size: int) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(size).normal(size=(2, 7, 3, 4))
    y = torch.nn.functional.local_response_norm(torch.from_numpy(x), size, 0.9, 0.6, 1.25).numpy()
    spec = conventions.read("torch", size=size, alpha=0.9, beta=0.6, k=1.25)
    np.testing.assert_allclose(lrnorm.local_response_norm(x, spec=spec), y, rtol=1e-13)
