"""coremltools: the files it writes, read by lrnorm.models.

Nothing runs them on Linux: Core ML is part of Apple's systems, and coremltools has no reference of
its own for this operator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
