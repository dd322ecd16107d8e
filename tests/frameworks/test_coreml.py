"""coremltools: the files it writes, read by lrnorm.models.

Nothing runs them on Linux: Core ML is part of Apple's systems, and coremltools has no reference of
its own for this operator. In place of a run stand the values that coremltools' own tests expect of
Core ML (converters/mil/mil/ops/tests/iOS14/test_normalization.py, test_numpy_nn_layers.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec, models

ct = pytest.importorskip("coremltools")
from coremltools.converters.mil import Builder  # noqa: E402
from coremltools.models import datatypes, neural_network  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of coremltools itself
SPEC = LRNSpec(0.18, 0.6, 2.0, 2, 2)


@pytest.fixture
def program() -> Any:
    @Builder.program(input_specs=[Builder.TensorSpec((2, 7, 5, 4))])
    def net(x: Any) -> Any:
        return Builder.local_response_norm(x=x, size=5, alpha=0.9, beta=0.6, k=2.0, name="norm1")

    return net


def test_a_network(tmp_path: Path) -> None:
    shape = datatypes.Array(7, 5, 4)
    builder = neural_network.NeuralNetworkBuilder([("x", shape)], [("y", shape)])
    builder.add_lrn("norm1", "x", "y", alpha=0.9, beta=0.6, local_size=5, k=2.0)
    ct.models.MLModel(builder.spec).save(str(tmp_path / "net.mlmodel"))
    [found] = models.find(tmp_path / "net.mlmodel")
    assert (found.name, found.spec, found.axis) == ("norm1", SPEC, -3)


@pytest.mark.parametrize("precision", ["FLOAT16", "FLOAT32"])
def test_a_program(program: Any, precision: str, tmp_path: Path) -> None:
    path = tmp_path / "net.mlpackage"
    kind = getattr(ct.precision, precision)
    ct.convert(program, convert_to="mlprogram", compute_precision=kind).save(str(path))
    [found] = models.find(path)
    assert found.name.startswith("norm1")
    assert (found.spec, found.shape) == (SPEC, (2, 7, 5, 4))


def test_a_pipeline(tmp_path: Path) -> None:
    shape = datatypes.Array(7, 5, 4)
    parts = []
    for name, inner in (("first", "xy"), ("second", "yz")):
        ports = [(port, shape) for port in inner]
        builder = neural_network.NeuralNetworkBuilder(ports[:1], ports[1:])
        builder.add_lrn(name, *inner, alpha=0.9, beta=0.6, local_size=5, k=2.0)
        parts.append(ct.models.MLModel(builder.spec))
    ct.utils.make_pipeline(*parts).save(str(tmp_path / "net.mlmodel"))
    found = models.find(tmp_path / "net.mlmodel")
    assert [lrn.name.split("/")[-1] for lrn in found] == ["first", "second"]
    assert all(lrn.spec == SPEC for lrn in found)


EXPECTED = {
    2: [[0.99996257, -6.98716545], [4.99531746, -5.99191284], [-2.99898791, -4.99531746]],
    3: [[0.99997497, -6.99143696], [4.99687672, -5.99460602], [-2.99932504, -4.99687672]],
}


@pytest.mark.parametrize("size", EXPECTED)
def test_the_values_that_core_ml_gives(size: int, tmp_path: Path) -> None:
    """They show that the channels are axis -3 of programs too, also at rank 3."""
    x = np.array([[[1.0, -7.0], [5.0, -6.0], [-3.0, -5.0]]], np.float32)

    @Builder.program(input_specs=[Builder.TensorSpec(x.shape)])
    def net(x: Any) -> Any:
        return Builder.local_response_norm(x=x, size=size)

    path = tmp_path / "net.mlpackage"
    ct.convert(net, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32).save(str(path))
    [found] = models.find(path)
    assert found.words["size"] == size
    y = lrnorm.local_response_norm(x, spec=found.spec, axis=found.axis)
    np.testing.assert_allclose(y[0], EXPECTED[size], rtol=1e-7)


def test_the_values_of_a_network(tmp_path: Path) -> None:
    shape = datatypes.Array(1, 3, 3)
    builder = neural_network.NeuralNetworkBuilder([("x", shape)], [("y", shape)])
    builder.add_lrn("n", "x", "y", alpha=2, beta=3, local_size=1, k=8)
    ct.models.MLModel(builder.spec).save(str(tmp_path / "net.mlmodel"))
    [found] = models.find(tmp_path / "net.mlmodel")
    y = lrnorm.local_response_norm(np.ones((1, 3, 3)), spec=found.spec, axis=found.axis)
    np.testing.assert_allclose(y, 1e-3, rtol=1e-15)
