"""LRN nodes of ONNX models: read, written, rewritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import helper  # noqa: E402
from onnx_models import (  # noqa: E402
    CAFFE,
    STRONG,
    call,
    example,
    function,
    loop,
    lrn,
    model_of,
    run,
    with_branches,
)

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


# Reading


@pytest.mark.parametrize(
    ("name", "nodes", "scale", "bias"),
    [
        ("light_bvlc_alexnet", ["n2", "n6"], 1e-4 / 5, 1.0),
        ("light_inception_v1", ["n3", "n8"], 1e-4 / 5, 1.0),
        ("light_zfnet512", ["n2", "n6"], 5e-4 / 5, 2.0),
    ],
)
def test_architectures_of_the_onnx_package(name, nodes, scale, bias):
    found = lrnorm.onnx.specs(LIGHT / f"{name}.onnx")
    assert found == {node: LRNSpec(scale, 0.75, bias, 2, 2) for node in nodes}
    assert list(found) == nodes


def test_path_bytes_and_proto_read_alike(tmp_path):
    model = model_of([lrn("x", "y", name="a", size=5)])
    onnx.save(model, tmp_path / "m.onnx")
    expected = {"a": CAFFE}
    assert lrnorm.onnx.specs(model) == expected
    assert lrnorm.onnx.specs(model.SerializeToString()) == expected
    assert lrnorm.onnx.specs(tmp_path / "m.onnx") == expected
    assert lrnorm.onnx.specs(str(tmp_path / "m.onnx")) == expected


@pytest.mark.parametrize(
    ("size", "before", "after"), [(1, 0, 0), (2, 0, 1), (3, 1, 1), (4, 1, 2), (6, 2, 3)]
)
def test_window_of_a_size(size, before, after):
    found = lrnorm.onnx.specs(model_of([lrn("x", "y", name="a", size=size, alpha=1.0)]))["a"]
    assert (found.before, found.after, found.scale) == (before, after, 1.0 / size)


@pytest.mark.parametrize("alpha", [1e-4, 3e-4, 0.1, 1 / 3, 2e-38])
def test_float32_reads_as_its_shortest_decimal(alpha):
    found = lrnorm.onnx.specs(model_of([lrn("x", "y", name="a", size=1, alpha=alpha)]))["a"]
    assert np.float32(found.scale) == np.float32(alpha)
    assert len(repr(found.scale)) <= len(repr(float(np.float32(alpha))))
    assert alpha == 1 / 3 or found.scale == alpha


def test_names_of_nodes_without_one_and_with_a_doubled_one():
    nodes = [
        lrn("x", "p", size=1),
        lrn("p", "q", name="twice", size=3),
        lrn("q", "r", name="twice", size=5),
        lrn("r", "y", name="p", size=7),
    ]
    found = lrnorm.onnx.specs(model_of(nodes))
    assert [spec.before for spec in found.values()] == [0, 1, 2, 3]
    assert list(found) == ["p:p", "twice:q", "twice:r", "p:y"]
    assert list(lrnorm.onnx.specs(model_of(nodes[:1], result="p"))) == ["p"]


def test_branches_by_path():
    found = lrnorm.onnx.specs(with_branches())
    assert {name: spec.after for name, spec in found.items()} == {
        "outer/then_branch/inner": 1,
        "outer/else_branch/inner": 2,
    }


def test_a_loop_reads_and_is_rewritten():
    model = loop()
    assert lrnorm.onnx.specs(model) == {"again/body/inner": LRNSpec(0.3, 0.75, 1.0, 1, 1)}
    changed = lrnorm.onnx.rewrite(model, {"again/body/inner": STRONG})
    x = example()
    twice = lrnorm.local_response_norm(x, spec=STRONG, axis=1)
    twice = lrnorm.local_response_norm(twice, spec=STRONG, axis=1)
    np.testing.assert_allclose(run(changed, x), twice, rtol=1e-6, atol=1e-6)


def test_attributes_of_a_function_come_from_each_call():
    nodes = [call("x", "m", "one", strength=0.5), call("m", "y", "two", strength=2.0)]
    found = lrnorm.onnx.specs(model_of(nodes, functions=[function()]))
    assert {name: spec.scale for name, spec in found.items()} == {
        "one/inner": 0.1,
        "two/inner": 0.4,
    }


def test_attributes_of_a_function_have_defaults():
    default = helper.make_attribute("strength", 0.25)
    model = model_of([call("x", "y", "one")], functions=[function(defaults=[default])])
    assert lrnorm.onnx.specs(model)["one/inner"].scale == 0.05
    # Neither the call nor the function gives it: then it is the operator's own default.
    model = model_of([call("x", "y", "one")], functions=[function()])
    assert lrnorm.onnx.specs(model)["one/inner"].scale == 1e-4 / 5


def test_functions_in_functions_and_uncalled_ones():
    outer = helper.make_function(
        "own",
        "Outer",
        ["a"],
        ["b"],
        [call("a", "b", "mid", strength=1.0)],
        [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
    )
    node = helper.make_node("Outer", ["x"], ["y"], name="top", domain="own")
    assert list(lrnorm.onnx.specs(model_of([node], functions=[outer, function()]))) == [
        "top/mid/inner"
    ]
    assert lrnorm.onnx.specs(model_of([lrn("x", "y", size=1)], functions=[function()])).keys() == {
        "y"
    }


def broken(**attributes):
    return model_of([lrn("x", "y", name="a", **attributes)])


def referring():
    model = broken(size=3)
    model.graph.node[0].attribute.add(
        name="alpha", ref_attr_name="strength", type=onnx.AttributeProto.FLOAT
    )
    return model


def recursive():
    inner = call("v", "w", "again")
    made = helper.make_function("own", "Block", ["v"], ["w"], [inner], [])
    return model_of([call("x", "y", "one")], functions=[made])


@pytest.mark.parametrize(
    ("model", "kind", "text"),
    [
        (broken(), ValueError, "size of the LRN a must be a positive integer, got None"),
        (broken(size=0), ValueError, "size of the LRN a must be a positive integer, got 0"),
        (broken(size=3.0), ValueError, "size of the LRN a must be an integer, got .* FLOAT"),
        (broken(size=3, beta=1), ValueError, "beta of the LRN a must be a float, got .* INT"),
        (broken(size=3, bias=np.inf), ValueError, "a: bias must be a finite real number, got inf"),
        (referring(), ValueError, "alpha of the LRN a refers to 'strength', .* is in no function"),
        (recursive(), ValueError, "function 'Block' calls itself, at one/again"),
        (b"", OSError, "the model is not an ONNX model: it has no graph"),
        (b"nonsense", OSError, "the bytes are not an ONNX model: .* They may be cut short"),
        (broken(size=3).SerializeToString()[:-20], OSError, "the bytes are not an ONNX model"),
        (3, TypeError, "model must be a path, bytes or an onnx.ModelProto, got int"),
        ("no/such.onnx", OSError, "no/such.onnx does not exist"),
        (os.curdir, OSError, "is a folder"),
    ],
)
def test_what_is_no_model_is_refused(model, kind, text):
    with pytest.raises(lrnorm.LRNormError, match=text) as caught:
        lrnorm.onnx.specs(model)
    assert isinstance(caught.value, kind)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(lrnorm.FileError, match=r"m\.onnx is not a readable \.onnx file"):
        lrnorm.onnx.specs(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(lrnorm.FileError, match=r"m\.onnx is not an ONNX model: it has no graph"):
        lrnorm.onnx.specs(tmp_path / "m.onnx")


# Without the package


def test_loaded_on_first_use():
    code = (
        "import sys, lrnorm\nprint('onnx' in sys.modules, 'onnx' in dir(lrnorm))\n"
        "sys.modules['onnx'] = None\n"
        "try:\n    lrnorm.onnx\nexcept ImportError as error:\n"
        "    print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "False True",
        "MissingDependencyError lrnorm.onnx needs the package onnx. "
        "Run pip install 'lrnorm[onnx]'.",
    ]
