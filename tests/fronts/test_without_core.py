"""Without the compiled core NumPy computes in its place, with the same promises and one warning.

Each test runs in a process of its own in which `lrnorm._core` cannot be imported.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"
HIDDEN = """
import sys, warnings
sys.modules["lrnorm._core"] = None
import ml_dtypes
import numpy as np
import lrnorm
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HIDDEN + code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join([str(HELPERS), *filter(None, sys.path)]), "PATH": ""},
    )


def succeed(code: str) -> str:
    done = run(code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_call_warns_once_and_says_how_to_get_the_core() -> None:
    out = succeed(
        """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        y = lrnorm.local_response_norm([-2.0, -1.0, 0.0, 1.0, 2.0], axis=0)
assert len(caught) == 1, caught
print(caught[0].message)
np.testing.assert_allclose(y, [-1.41421356, -0.67419986, 0, 0.67419986, 1.41421356], atol=5e-9)
"""
    )
    assert "computes with NumPy, many times slower" in out
    assert "pip install --force-reinstall --no-cache-dir lrnorm" in out


def test_importing_does_not_warn_and_the_configuration_says_what_computes() -> None:
    out = succeed(
        """
warnings.simplefilter("error")
lrnorm.set_num_threads(3)
config = lrnorm.show_config()
print(config["core"], config["isa"], config["isa_available"], config["threads"])
"""
    )
    assert out.startswith("computing with NumPy: ")
    assert out.strip().endswith("numpy ('numpy',) 3")


def test_with_the_core_the_configuration_says_compiled() -> None:
    import lrnorm

    assert lrnorm.show_config()["core"] == "compiled"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_values_and_derivatives_are_within_the_same_bounds(dtype: str) -> None:
    succeed(
        f"""
warnings.simplefilter("ignore")
import exact
from lrnorm import LRNSpec
dtype = np.dtype({dtype!r})
rng = np.random.default_rng(0)
largest, tiny = (float(getattr(ml_dtypes.finfo(dtype), name)) for name in ("max", "tiny"))
shape = (24, 17)
inputs = [
    rng.standard_normal(shape),
    rng.standard_normal(shape) * np.exp(rng.uniform(-8, 8, shape)),
    rng.uniform(0.1, 1, shape) * largest,
    rng.uniform(0.1, 8, shape) * tiny,
]
g = rng.standard_normal(shape).astype(dtype)
for x in inputs:
    x = x.astype(dtype)
    for numbers in ((0.2, 0.75, 1, 2, 2), (0.3, 0.6, 1e-3, 9, 3), (1, 2, 0.5, 1, 0)):
        spec = LRNSpec(*numbers)
        bound = 1 if dtype.itemsize == 2 else max(4, 3 + 2 * spec.beta)
        y = lrnorm.local_response_norm(x, spec=spec, axis=0)
        assert y.dtype == dtype
        assert exact.worst_ulp(y, exact.forward(x, spec)) <= bound, spec
        for name in ("vjp", "jvp"):
            verb = getattr(lrnorm, "local_response_norm_" + name)
            true, size = getattr(exact, name)(x, g, spec)
            assert exact.worst_ulp(verb(x, g, spec=spec, axis=0), true, size) <= 8, (name, spec)
"""
    )


def test_parameter_gradients_and_outputs_in_place() -> None:
    succeed(
        """
warnings.simplefilter("ignore")
x = np.arange(1.0, 13.0).reshape(4, 3)
expected = lrnorm.local_response_norm(x, axis=0)
y = x.copy()
assert lrnorm.local_response_norm(y, axis=0, out=y) is y
np.testing.assert_array_equal(y, expected)
g = np.cos(x)
for verb in (lrnorm.local_response_norm_vjp, lrnorm.local_response_norm_jvp):
    for axis in (0, (0, 1)):
        y, expected = x.copy(), verb(x, g, axis=axis)
        assert verb(y, g, axis=axis, out=y) is y
        np.testing.assert_array_equal(y, expected)
y = x.copy()
expected = lrnorm.local_response_norm_vjp(x, g, axis=0, parameters=True)
assert lrnorm.local_response_norm_vjp(y, g, axis=0, parameters=True, out=y)[1] == expected[1]
np.testing.assert_array_equal(y, expected[0])
step = 1e-6
_, by = lrnorm.local_response_norm_vjp(x, np.ones_like(x), axis=0, parameters=True)
for name, value in dict(alpha=1.0, beta=0.5, bias=1.0).items():
    low, high = (
        lrnorm.local_response_norm(x, axis=0, **{name: value + d}).sum() for d in (-step, step)
    )
    np.testing.assert_allclose(by[name], (high - low) / (2 * step), rtol=1e-6)
"""
    )


def test_an_instruction_set_asked_for_is_refused() -> None:
    done = run(
        """
import os
os.environ["LRNORM_ISA"] = "avx2"
lrnorm.local_response_norm([1.0], axis=0)
"""
    )
    assert done.returncode == 1
    assert "LRNORM_ISA must be one of numpy on this processor, got 'avx2'" in done.stderr
