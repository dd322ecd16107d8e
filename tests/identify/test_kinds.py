"""`lrnorm.identify` takes callables of each framework."""

from __future__ import annotations

import numpy as np
import pytest

from lrnorm import identify
from lrnorm._spec.spec import LRNSpec

ALEXNET = LRNSpec(2e-5, 0.75, 1.0, 2, 2)


def test_torch_module_and_function():
    torch = pytest.importorskip("torch")
    for f in (
        torch.nn.LocalResponseNorm(5),
        lambda x: torch.nn.functional.local_response_norm(x, 5),
    ):
        found = identify(f)
        assert found.spec == ALEXNET
        assert {remark.code for remark in found.remarks} == {"overflows"}
    leaning = torch.nn.LocalResponseNorm(4, alpha=0.4).bfloat16()
    assert identify(leaning, dtype="float64").spec == LRNSpec(0.1, 0.75, 1.0, 2, 1)


def test_jax_function():
    jax = pytest.importorskip("jax")

    @jax.jit
    def f(x):
        return x * (1 + 0.1 * x * x) ** -0.75

    found = identify(f, channels=5, ndim=2)
    assert found.spec == LRNSpec(0.1, 0.75, 1.0, 0, 0)


def test_onnxruntime_session():
    lrnorm_onnx = pytest.importorskip("lrnorm.onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = lrnorm_onnx.to_onnx(ALEXNET).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert identify(lambda x: session.run(None, {"Input": x})[0]).spec == ALEXNET


@pytest.mark.parametrize("dtype", [np.float64, np.dtype("float64"), np.dtype(">f8"), "float64"])
def test_dtypes_are_taken_as_numpy_takes_them(dtype):
    found = identify(lambda x: x / np.sqrt(1 + x * x), dtype=dtype)
    assert found.dtype == "float64"
    assert found.spec.before == 0
