"""ONNX files with the package onnx and without it: the same LRNs under the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

onnx: Any = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_models import CAFFE, call, function, lrn, model_of, with_branches  # noqa: E402

import lrnorm.onnx  # noqa: E402
from lrnorm import models  # noqa: E402
from lrnorm.models.onnx import read_plainly  # noqa: E402
from lrnorm.models.source import Source  # noqa: E402

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def plain(path: Any) -> dict[str, Any]:
    return {found.name: found.spec for found in read_plainly(Source(path)).lrns}


@pytest.mark.parametrize("name", ["bvlc_alexnet", "inception_v1", "zfnet512", "resnet50"])
def test_real_architectures(name: str) -> None:
    path = LIGHT / f"light_{name}.onnx"
    assert plain(path) == lrnorm.onnx.specs(path)
    assert {found.name: found.spec for found in models.find(path)} == lrnorm.onnx.specs(path)


MODELS = {
    "one": lambda: lrnorm.onnx.to_onnx(CAFFE),
    "branches": with_branches,
    "a function, called twice": lambda: model_of(
        [call("x", "h", "one"), call("h", "y", "two")], functions=[function()]
    ),
    "names that occur twice": lambda: model_of(
        [lrn("x", "a", name="n", size=3), lrn("a", "b", name="n", size=5), lrn("b", "y", size=7)]
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_names_are_those_of_lrnorm_onnx(save: Any, name: str) -> None:
    model = MODELS[name]()
    path = save("net.onnx", model.SerializeToString())
    assert plain(path) == lrnorm.onnx.specs(path)
    assert list(plain(path)) == list(lrnorm.onnx.specs(path))


def test_an_lrn_written_out_is_found_with_the_package(save: Any) -> None:
    spec = lrnorm.LRNSpec(0.2, 0.75, 1.0, 2, 1)
    path = save("net.onnx", lrnorm.onnx.to_onnx(spec).SerializeToString())
    [found] = models.find(path)
    assert (found.spec, found.axis, found.convention) == (spec, 1, None)
    assert [remark.code for remark in found.remarks] == ["written_out"]
    assert plain(path) == {}


def with_alpha(**fields: Any) -> Any:
    model = model_of([lrn("x", "y", name="a", size=5)])
    model.graph.node[0].attribute.add(name="alpha", **fields)
    return model


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"type": 2, "i": 1}, "alpha must be a float, got an attribute of type INT"),
        ({"type": 1, "ref_attr_name": "strength"}, "alpha refers to 'strength', an attribute of"),
    ],
)
def test_an_attribute_that_says_no_number(save: Any, fields: Any, text: str) -> None:
    """It is a remark where files are listed, an error where numbers are asked for."""
    path = save("net.onnx", with_alpha(**fields).SerializeToString())
    [found] = models.find(path)
    assert (found.spec, found.remarks[0].code) == (None, "bad_parameter")
    assert text in found.remarks[0].text
    with pytest.raises(lrnorm.ParameterError, match="alpha of the LRN a"):
        lrnorm.onnx.specs(path)


def test_the_first_version_of_the_format_has_no_types_of_attributes(save: Any) -> None:
    path = save("net.onnx", with_alpha(f=0.5).SerializeToString())
    assert plain(path) == lrnorm.onnx.specs(path)
    assert plain(path)["a"].scale == 0.1


def test_a_graph_that_comes_in_parts(save: Any) -> None:
    """Protocol buffers join the parts of one message."""
    first = model_of([lrn("x", "h", name="a", size=5)]).SerializeToString()
    second = onnx.ModelProto(graph=onnx.GraphProto(node=[lrn("h", "z", name="b", size=3)]))
    path = save("net.onnx", first + second.SerializeToString())
    assert list(plain(path)) == list(lrnorm.onnx.specs(path)) == ["a", "b"]
