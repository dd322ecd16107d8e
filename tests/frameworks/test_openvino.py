"""OpenVINO itself on the CPU, and what it gets wrong."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import models

openvino = pytest.importorskip("openvino")
from openvino import opset10  # noqa: E402

Run = Callable[..., Any]
SIZES = [1, 2, 3, 4, 5, 6, 8, 15]


@pytest.fixture(scope="module")
def core() -> Any:
    return openvino.Core()


def compiled(core: Any, model: Any) -> Any:
    # The processor's own choice may be bfloat16.
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.fixture
def run(core: Any) -> Run:
    def compute(x: Any, axes: Any = (1,), **words: Any) -> Any:
        source = opset10.parameter(list(x.shape), x.dtype)
        result = opset10.lrn(source, axes=list(axes), **words)
        return compiled(core, openvino.Model([result], [source], "one"))([x])[0]

    return compute


# The bias is an integer wherever the finding is another one.
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("alpha", "beta"), [(0.9, 0.75), (1.3, 0.6), (0.7, 1.0), (1.1, 2.5)])
def test_every_size(size: int, alpha: float, beta: float, x: Any, run: Run, ours: Any) -> None:
    words = {"size": size, "alpha": alpha, "beta": beta, "bias": 2.0}
    np.testing.assert_allclose(run(x, **words), ours("openvino", x, **words), rtol=1e-5)


def test_the_defaults(x: Any, run: Run, ours: Any) -> None:
    np.testing.assert_allclose(run(x), ours("openvino", x), rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 5), (2, 7, 5), (2, 7, 3, 4, 5)], ids=str)
def test_other_ranks(shape: tuple[int, ...], run: Run, ours: Any) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 2
    words = {"size": 3, "alpha": 0.9}
    np.testing.assert_allclose(run(x, **words), ours("openvino", x, **words), rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_an_even_size_of_an_onnx_model_loses_a_channel(
    size: int, x: Any, core: Any, one_lrn: Any, ours: Any
) -> None:
    words = {"size": size, "alpha": 0.9, "beta": 0.75, "bias": 1.0}
    model = core.read_model(io.BytesIO(one_lrn(x.shape, **words)))
    y = compiled(core, model)([x])[0]
    np.testing.assert_allclose(y, ours("openvino", x, **words), rtol=1e-5)
    assert np.allclose(y, ours("onnx", x, **words), rtol=0.1) == (size % 2 == 1)


@pytest.mark.parametrize("bias", [0.8, 1.25, 2.7])
def test_the_bias_is_cut_to_an_integer(bias: float, x: Any, run: Run, ours: Any) -> None:
    words = {"size": 3, "alpha": 0.9, "beta": 0.6}
    y = run(x, bias=bias, **words)
    cut = ours("openvino", x, bias=float(int(bias)), **words)
    np.testing.assert_allclose(y, cut, rtol=1e-5)
    assert not np.allclose(y, ours("openvino", x, bias=bias, **words), rtol=0.05)


@pytest.mark.parametrize("size", SIZES)
def test_height_and_width_are_a_box(size: int, x: Any, run: Run, ours: Any) -> None:
    words = {"size": size, "alpha": 0.9, "beta": 0.75, "bias": 1.0}
    right = ours("openvino", x, axis=(2, 3), axes=[2, 3], **words)
    np.testing.assert_allclose(run(x, (2, 3), **words), right, rtol=1e-5)


def test_beside_height_and_width_the_channels_are_left_out(x: Any, run: Run, ours: Any) -> None:
    words = {"size": 3, "alpha": 0.9, "beta": 0.75, "bias": 1.0}
    y = run(x, (1, 2, 3), **words)
    np.testing.assert_allclose(y, ours("openvino", x, axis=(2, 3), axes=[2, 3], **words), rtol=1e-5)


@pytest.mark.parametrize("axes", [(0,), (2,), (3,), (-1,), (1, 2)], ids=str)
def test_other_axes_are_not_implemented(axes: tuple[int, ...], x: Any, run: Run) -> None:
    with pytest.raises(RuntimeError, match=r"(?i)not implemented"):
        run(x, axes, size=3)


def test_large_values_become_zero(huge: Any, run: Run) -> None:
    assert (run(huge, size=5, alpha=1.0, beta=0.5, bias=1.0) == 0).all()


def test_a_large_channel_spoils_nothing(spike: Any, run: Run, ours: Any) -> None:
    words = {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    np.testing.assert_allclose(run(spike, **words), ours("openvino", spike, **words), rtol=1e-5)


def test_float64_is_computed_in_float32(x: Any, run: Run, ours: Any) -> None:
    double = x.astype(np.float64) + 1e-9
    words = {"size": 3, "alpha": 0.9, "beta": 0.75, "bias": 1.0}
    y, right = run(double, **words), ours("openvino", double, **words)
    assert y.dtype == np.float64
    assert 1e-9 < np.abs(y / right - 1).max() < 1e-5


# Files that OpenVINO writes, read by lrnorm.models and run by OpenVINO


@pytest.mark.parametrize("axes", [(1,), (2, 3)], ids=str)
@pytest.mark.parametrize("size", [3, 5])
def test_an_ir_read_and_run(
    axes: tuple[int, ...], size: int, x: Any, core: Any, tmp_path: Any
) -> None:
    pytest.importorskip("defusedxml")
    source = opset10.parameter(list(x.shape), x.dtype)
    result = opset10.lrn(source, axes=list(axes), size=size, alpha=0.9, beta=0.6, bias=2.0)
    result.set_friendly_name("norm1")
    model = openvino.Model([result], [source], "one")
    openvino.save_model(model, tmp_path / "net.xml", compress_to_fp16=False)
    [found] = models.find(tmp_path / "net.xml")
    assert (found.name, found.shape, found.dtype) == ("norm1", x.shape, "float32")
    words = {"size": size, "alpha": 0.9, "beta": 0.6, "bias": 2.0, "axes": list(axes)}
    assert found.words == words
    y = lrnorm.local_response_norm(x, spec=found.spec, axis=found.axis)
    np.testing.assert_allclose(compiled(core, model)([x])[0], y, rtol=1e-5)


def test_an_onnx_model_converted_keeps_its_lrn(one_lrn: Any, core: Any, tmp_path: Any) -> None:
    """norm1 of ONNX and of the IR made from it are compared as two files."""
    pytest.importorskip("defusedxml")
    data = one_lrn((2, 7, 5, 4), size=5, alpha=0.9, beta=0.6, bias=2.0)
    (tmp_path / "net.onnx").write_bytes(data)
    openvino.save_model(core.read_model(tmp_path / "net.onnx"), tmp_path / "net.xml")
    assert models.compare(tmp_path / "net.onnx", tmp_path / "net.xml") == []
