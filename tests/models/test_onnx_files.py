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
