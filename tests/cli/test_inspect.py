"""`lrnorm inspect`: what it prints of a model, and which mistakes it knows."""

from __future__ import annotations

import functools
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from refusals import check_parts

from lrnorm import FileError, LRNSpec, ParameterError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402
from onnx_models import CAFFE, call, function, lrn, model_of, run, with_branches  # noqa: E402

import lrnorm.onnx  # noqa: E402

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def inspect(lrn):
    """The subcommand in this process: status, what it prints, and what it prints on stderr."""
    return functools.partial(lrn, "inspect")


@pytest.fixture
def data(inspect):
    """What --json gives."""

    def run(*words):
        status, out, err = inspect(*words, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    return run


def saved(model, name="m.onnx"):
    if isinstance(model, LRNSpec):
        model = lrnorm.onnx.to_onnx(model)
    onnx.save(model, name)
    return name


def one(shape=(1, 7, 5, 4), kind=TensorProto.FLOAT, **attributes):
    """A model of one LRN node with these attributes."""
    ports = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
    graph = helper.make_graph([lrn("x", "y", name="a", **attributes)], "g", ports[:1], ports[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def codes(entry):
    return [remark["code"] for remark in entry["findings"]]


# One model


def test_an_architecture(inspect):
    path = LIGHT / "light_zfnet512.onnx"
    assert inspect(path, "--strict") == (
        0,
        f"{path}: 2 LRNs\n"
        "  n2: float32 (1, 96, 109, 109)\n"
        "    scale 0.0001  beta 0.75  bias 2  before 2  after 2\n"
        "    in ONNX's words: size 5  alpha 0.0005  beta 0.75  bias 2\n"
        "  n6: float32 (1, 256, 25, 25)\n"
        "    scale 0.0001  beta 0.75  bias 2  before 2  after 2\n"
        "    in ONNX's words: size 5  alpha 0.0005  beta 0.75  bias 2\n",
        "",
    )
    empty = inspect(LIGHT / "light_resnet50.onnx")[1]
    assert "light_resnet50.onnx: no LRN\n  ONNX model of 415 operators (239 " in empty
    assert "searched for LRN operators, and LRNs written out in other operators" in empty


def test_the_same_as_data(data):
    path = str(LIGHT / "light_bvlc_alexnet.onnx")
    found = data(path)
    assert list(found)[:6] == ["model", "lrns", "other", "other_lrns", "expected", "differences"]
    assert (found["format"], found["operators"]["LRN"]) == ("ONNX model", 2)
    assert found["model"] == path and found["differences"] is found["other"] is None
    assert found["lrns"][0] == {
        "node": "n2",
        "nodes": 1,
        "spec": {"scale": 2e-05, "beta": 0.75, "bias": 1.0, "before": 2, "after": 2},
        "onnx": {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0},
        "dtype": "float32",
        "shape": [1, 96, 54, 54],
        "convention": "onnx",
        "words": {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0},
        "axis": 1,
        "findings": [],
        "notes": [],
    }


def test_where_they_stand(data):
    found = data(saved(with_branches()))["lrns"]
    assert {entry["node"]: entry["shape"] for entry in found} == {
        "outer/then_branch/inner": ["n", 7, 5, 4],
        "outer/else_branch/inner": ["n", 7, 5, 4],
    }
    [inner] = data(saved(model_of([call("x", "y", "one")], functions=[function()])))["lrns"]
    assert (inner["node"], inner["shape"], inner["dtype"]) == ("one/inner", None, None)


FINDINGS = [
    ({"size": 4}, ["even_window"], "1 before and 2 after, PyTorch the other way round"),
    ({"size": 4}, ["even_window"], "OpenVINO 1 on both sides, and ONNX Runtime refuses it"),
    ({"size": 15}, [], "size 15"),
    ({"size": 16}, ["even_window", "wide_window"], "size 16 is too wide for TensorRT (at most 15)"),
    ({"size": 17}, ["wide_window"], "too wide for TensorRT (at most 15) and cuDNN (at most 16)"),
    ({"size": 5, "alpha": 2e-5}, ["alpha_divided"], "alpha 2e-05 is 0.0001 / 5, a usual alpha"),
    ({"size": 3, "alpha": 1 / 3}, ["alpha_divided"], "alpha 0.333333 is 1 / 3"),
    ({"size": 5, "alpha": 5e-4}, [], "alpha 0.0005"),
    ({"size": 5, "alpha": 3e-4}, [], "alpha 0.0003"),
    ({"size": 1, "alpha": 2e-5}, [], "alpha 2e-05"),
    ({"size": 5, "bias": 0.8}, ["fractional_bias"], "cuts the bias to an integer: 0.8 becomes 0"),
    ({"size": 5, "bias": 2.0}, [], "bias 2"),
    ({"size": 5, "alpha": 0.0}, ["not_positive"], "alpha 0 is not above 0: ONNX Runtime refuses"),
    ({"size": 5, "beta": -0.5}, ["not_positive"], "beta -0.5 is not above 0: ONNX Runtime"),
    ({"size": 5, "kind": TensorProto.DOUBLE}, ["dtype"], "float64: ONNX Runtime has no LRN"),
    ({"size": 5, "kind": TensorProto.FLOAT16}, ["dtype"], "float16: ONNX Runtime computes it in"),
    ({"size": 5, "kind": TensorProto.BFLOAT16}, ["dtype"], "bfloat16: ONNX Runtime has no LRN"),
    ({"size": 5, "shape": (1, 7, 5)}, ["rank"], "the input has 3 axes: ONNX Runtime takes four"),
    ({"size": 9}, [], "note: size 9 is more than the 7 channels, which is harmless"),
]


@pytest.mark.parametrize(("model", "expected", "text"), FINDINGS)
def test_findings(inspect, data, model, expected, text):
    name = saved(one(**model))
    assert codes(data(name)["lrns"][0]) == expected
    status, out, _ = inspect(name, "--strict")
    assert text in out and out.count("warning:") == len(expected)
    assert status == (1 if expected else 0)
    assert inspect(name)[0] == 0


@pytest.mark.parametrize(
    ("model", "runs"),
    [
        ({"size": 5}, True),
        ({"size": 9}, True),
        ({"size": 17}, True),
        ({"size": 4}, False),
        ({"size": 5, "alpha": 0.0}, False),
        ({"size": 5, "beta": -0.5}, False),
        ({"size": 5, "shape": (1, 7, 5)}, False),
        ({"size": 5, "kind": TensorProto.DOUBLE}, False),
        ({"size": 5, "kind": TensorProto.FLOAT16}, True),
    ],
)
def test_what_is_said_of_onnx_runtime_is_so(model, runs):
    built = one(**model)
    port = built.graph.input[0].type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(port.elem_type)
    x = np.ones([d.dim_value for d in port.shape.dim], dtype)
    if runs:
        assert run(built, x).shape == x.shape
    else:
        with pytest.raises(Exception, match=r"LRN|size_"):
            run(built, x)


def test_an_lrn_written_out_in_other_operators(inspect, data):
    name = saved(LRNSpec(0.2, 0.75, 1.0, 2, 1))
    [entry] = data(name)["lrns"]
    assert (entry["nodes"], entry["onnx"], entry["dtype"]) == (11, None, "float32")
    assert entry["shape"] == ["batch", "channels", "height", "width"]
    assert [note["code"] for note in entry["notes"]] == ["written_out"]
    status, out, _ = inspect(name, "--strict")
    assert status == 0
    assert "note: an LRN written out as 11 nodes: it stays so, because onnx has no window" in out
    odd = lrnorm.onnx.to_onnx(LRNSpec(0.2, 0.75, 1.0, 1, 1))
    odd = lrnorm.onnx.decompose(odd, form="pool")
    out = inspect(saved(odd))[1]
    assert "an LRN written out as 11 nodes: lrnorm.onnx.fuse(model) makes it one" in out


@pytest.mark.parametrize("alpha", [0.0, -0.9])
def test_an_lrn_written_out_that_onnx_runtime_refuses_as_a_node(inspect, data, alpha):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch.nn.LocalResponseNorm(5, alpha),
            (torch.ones(1, 7, 5, 4),),
            "m.onnx",
            dynamo=False,
            opset_version=13,
        )
    [entry] = data("m.onnx")["lrns"]
    assert set(codes(entry)) == {"not_positive"}
    assert [note["code"] for note in entry["notes"]] == ["written_out"]
    status, out, _ = inspect("m.onnx", "--strict")
    assert status == 1
    assert f"warning: scale {alpha / 5:g} is not above 0: ONNX Runtime refuses such an LRN" in out
    assert "it stays so, because " in out
    assert lrnorm.onnx.fuse("m.onnx").SerializeToString() == onnx.load("m.onnx").SerializeToString()


# Two models, or a model and what is expected

EVEN = LRNSpec(0.2, 0.75, 2.0, 1, 2)
RIGHT = LRNSpec(0.2, 0.75, 2.0, 2, 2)

MISTAKES = [
    (RIGHT, LRNSpec(0.04, 0.75, 2.0, 2, 2), ["alpha_divided_twice"]),
    (RIGHT, LRNSpec(1.0, 0.75, 2.0, 2, 2), ["alpha_not_divided"]),
    (RIGHT, LRNSpec(0.2, 0.75, 1.0, 2, 2), ["bias_dropped"]),
    (LRNSpec(0.2, 0.75, 2.7, 2, 2), LRNSpec(0.2, 0.75, 2.0, 2, 2), ["bias_cut"]),
    (RIGHT, LRNSpec(0.2, 0.75, 2.0, 5, 5), ["width_read_as_radius"]),
    (RIGHT, LRNSpec(1.0 / 11, 0.75, 2.0, 5, 5), ["width_read_as_radius"]),
    (RIGHT, LRNSpec(0.2 / 11, 0.75, 2.0, 5, 5), ["width_read_as_radius", "alpha_divided_twice"]),
    (RIGHT, LRNSpec(0.5, 0.75, 2.0, 0, 1), ["radius_read_as_width"]),
    (LRNSpec(0.2, 0.75, 2.0, 1, 1), LRNSpec(0.6, 0.75, 2.0, 0, 0), ["radius_read_as_width"]),
    (LRNSpec(0.2, 0.75, 2.0, 3, 3), LRNSpec(0.2, 0.75, 2.0, 1, 1), ["radius_read_as_width"]),
    (EVEN, LRNSpec(0.2, 0.75, 2.0, 2, 1), ["leans_other_way"]),
    (EVEN, LRNSpec(0.2, 0.75, 2.0, 1, 1), ["term_dropped"]),
    (EVEN, LRNSpec(0.2, 0.75, 2.0, 2, 2), ["term_added"]),
    (
        EVEN,
        LRNSpec(0.05, 0.75, 1.0, 2, 1),
        ["leans_other_way", "alpha_divided_twice", "bias_dropped"],
    ),
    (RIGHT, LRNSpec(0.2, 0.5, 2.0, 2, 2), ["beta_default"]),
    (RIGHT, LRNSpec(0.2, 0.6, 2.0, 2, 2), []),
    (RIGHT, LRNSpec(0.3, 0.75, 2.0, 2, 2), []),
    (RIGHT, LRNSpec(0.2, 0.75, 2.0, 4, 4), []),
    (RIGHT, LRNSpec(0.2, 0.75, 2.0, 3, 3), ["half_rounded_up"]),
    (LRNSpec(0.2, 0.75, 2.0, 5, 5), LRNSpec(0.2, 0.75, 2.0, 4, 4), ["width_two_short"]),
    (LRNSpec(0.2, 0.75, 2.0, 5, 5), LRNSpec(0.2, 0.75, 2.0, 2, 3), ["radius_plus_one"]),
    (LRNSpec(0.2, 0.75, 1.0, 2, 2), LRNSpec(0.2, 0.75, 2.0, 2, 2), ["bias_default"]),
    (RIGHT, LRNSpec(2e-5, 0.75, 2.0, 2, 2), ["alpha_default"]),
]


@pytest.mark.parametrize(("expected", "found", "mistakes"), MISTAKES)
def test_mistakes_that_explain_a_difference(data, inspect, expected, found, mistakes):
    names = saved(expected, "a.onnx"), saved(found, "b.onnx")
    [difference] = data(*names)["differences"]
    assert [remark["code"] for remark in difference["mistakes"]] == mistakes
    different = [
        n
        for n in ("scale", "beta", "bias", "before", "after")
        if getattr(expected, n) != getattr(found, n)
    ]
    assert list(difference["differs"]) == different
    status, out, _ = inspect(*names, "--strict")
    assert status == 1
    assert out.count("because:") == len(mistakes)
    assert ("no known mistake explains it" in out) == (not mistakes)


def test_what_a_difference_prints(inspect):
    names = saved(RIGHT, "a.onnx"), saved(LRNSpec(0.04, 0.75, 1.0, 2, 2), "b.onnx")
    assert inspect(*names)[1].split("differences:\n")[1] == (
        "  LRN: scale 0.2 expected, 0.04 found; bias 2 expected, 1 found\n"
        "    because: alpha was divided by the size twice\n"
        "    because: the bias (k) 2 was dropped: 1 is the default\n"
    )
    assert inspect(names[0], names[0])[1].endswith("no differences\n")


def test_float32_is_no_difference(data):
    other = LRNSpec(0.2 * (1 + 3e-7), 0.75, 2.0, 2, 2)
    assert data(saved(RIGHT, "a.onnx"), saved(other, "b.onnx"))["differences"] == []


def chain_of(*named):
    """LRN nodes one after the other: (name, size) each."""
    values = ["x", *(f"v{i}" for i in range(1, len(named))), "y"]
    return model_of(
        [
            lrn(values[i], values[i + 1], name=name, size=size)
            for i, (name, size) in enumerate(named)
        ]
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([("a", 3), ("b", 5)], [("b", 5), ("a", 3)], []),
        ([("a", 3), ("b", 5)], [("c", 3), ("d", 5)], []),
        ([("a", 3), ("b", 5)], [("c", 5)], [("a", "the other model")]),
        ([("b", 5)], [("c", 3), ("d", 5)], [("c", "the first model")]),
        ([("a", 3), ("b", 5)], [("a", 3)], [("b", "the other model")]),
    ],
)
def test_which_belong_together(data, first, second, expected):
    names = saved(chain_of(*first), "a.onnx"), saved(chain_of(*second), "b.onnx")
    found = [
        (d["node"], d["mistakes"][0]["text"].removeprefix("there is no such LRN in "))
        for d in data(*names)["differences"]
    ]
    assert found == expected


def test_a_chain_and_the_node_it_became_are_the_same(data):
    written = onnx.load(saved(LRNSpec(0.2, 0.75, 1.0, 2, 1)))
    names = saved(written, "a.onnx"), saved(LRNSpec(0.2, 0.75, 1.0, 1, 2), "b.onnx")
    [difference] = data(*names)["differences"]
    assert [remark["code"] for remark in difference["mistakes"]] == ["leans_other_way"]
    assert data(names[0], names[0])["differences"] == []


def test_expectations_in_a_framework_s_words(inspect, data):
    name = saved(CAFFE)
    assert data(name, "--expect", "caffe", "local_size=5", "alpha=1e-4")["differences"] == []
    said = data(name, "--expect", "tensorflow", "depth_radius=2", "alpha=1e-4", "beta=0.75")
    assert said["expected"]["scale"] == 1e-4
    [difference] = said["differences"]
    [cause] = difference["mistakes"]
    assert cause["code"] == "alpha_not_multiplied"
    assert (
        "TensorFlow does not divide alpha and ONNX does: alpha had to be multiplied by"
        in cause["text"]
    )
    plain = LIGHT / "light_resnet50.onnx"
    status, out, _ = inspect(plain, "--strict", "--expect", "caffe", "local_size=5")
    assert status == 1 and "LRN: missing\n    because: there is no such LRN in the model\n" in out


# Bad input


@pytest.mark.parametrize(
    ("words", "kind", "subject", "rule", "more"),
    [
        ([], ParameterError, "", "are required: MODEL", {"way_out": "See lrnorm inspect --help."}),
        (["no.onnx"], FileError, "no.onnx", "does not exist", {"way_out": "Check its name"}),
        (
            *(["."], FileError, ".", "is a folder of no format that is read"),
            {"way_out": "Name a file in it: "},
        ),
        (["bad.onnx"], FileError, "bad.onnx", "is not a readable ONNX model: ", {}),
        (
            *(["x.npy"], FileError, "x.npy", "is an array"),
            {"way_out": "lrnorm apply normalizes it."},
        ),
        (["m.onnx", "bad.onnx"], FileError, "bad.onnx", "is not a readable ONNX model: ", {}),
        (
            *(["m.onnx", "--for", "toaster"], ParameterError, "--for"),
            *("must be one of arm_compute, ", {"value": "toaster"}),
        ),
        (
            *(["m.onnx", "m.onnx", "--expect", "caffe"], ParameterError, ""),
            *("OTHER and --expect are two things", {}),
        ),
        (
            *(["m.onnx", "--expect", "caffe", "local_size"], ParameterError, "a parameter"),
            *("must be given as KEY=VALUE", {"value": "local_size"}),
        ),
        (
            *(["m.onnx", "--expect", "nothing", "size=5"], ParameterError, "convention"),
            *("must be a known name", {"value": "nothing"}),
        ),
        (["m.onnx", "--colour"], ParameterError, "", "unrecognized arguments: --colour", {}),
    ],
)
def test_bad_input_is_one_line(lrn_error, words, kind, subject, rule, more):
    saved(CAFFE)
    Path("bad.onnx").write_bytes(b"nonsense")
    np.save("x.npy", np.ones(3))
    check_parts(lrn_error("inspect", *words), kind, subject, rule, **more)


def test_numbers_that_break_the_rules_are_listed_with_the_reason(inspect, data):
    name = saved(one(size=0))
    [entry] = data(name)["lrns"]
    assert entry["spec"] is None and codes(entry) == ["bad_parameter"]
    assert "warning: size must be at least 1, got 0." in inspect(name)[1]
    assert inspect(name, "--strict")[0] == 1


def test_it_is_in_the_list_of_commands(lrn):
    assert re.search(r"\n  inspect +every LRN of a model file", lrn("--help")[1])
