"""LRN nodes written out in other operators compute the same."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec, ParameterError
from lrnorm.cli import main

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402
from onnx_models import kinds, lrn, run, value, with_branches  # noqa: E402

FORMS = ("conv", "pool", "slices")
SHAPE = (2, 7, 5, 4)


def model_of(words, *, sizes=SHAPE, kind=TensorProto.FLOAT, opset=17):
    graph = helper.make_graph(
        [lrn("x", "y", name="norm", **words)],
        "g",
        [value("x", sizes, kind)],
        [value("y", sizes, kind)],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def sample(shape=SHAPE, dtype="float32"):
    return (np.random.default_rng(4).standard_normal(shape) * 3).astype(dtype)


def agree(model, form, x, tolerance=1e-6):
    written = lrnorm.onnx.decompose(model, form=form)
    onnx.checker.check_model(written, full_check=True)
    assert "LRN" not in kinds(written)
    [spec] = lrnorm.onnx.specs(model).values()
    right = lrnorm.local_response_norm(x.astype(np.float64), spec=spec, axis=1)
    y = run(written, x)
    assert y.shape == x.shape
    np.testing.assert_allclose(y, right, rtol=tolerance, atol=tolerance)
    return written


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9, 15])
def test_windows(form, size):
    agree(model_of({"size": size, "alpha": 0.9, "bias": 1.5}), form, sample())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("beta", [0.25, 0.5, 0.75, 1.0, 1.5, 0.6, 3.0, -0.5, 0.0])
def test_powers(form, beta):
    agree(model_of({"size": 3, "alpha": 0.9, "beta": beta, "bias": 1.5}), form, sample())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("alpha", [-0.01, 0.0, 3.0])
def test_alphas(form, alpha):
    agree(model_of({"size": 3, "alpha": alpha, "bias": 1.5}), form, sample())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        (("n", 7, "h", "w"), SHAPE),
        (("n", "c", "h", "w"), SHAPE),
        (("n", 7), (3, 7)),
        (("n", 7, "l"), (2, 7, 6)),
        ((2, 7, 3, 4, 5), (2, 7, 3, 4, 5)),
        (("n", "c", 3, 4, 5), (2, 7, 3, 4, 5)),
    ],
)
def test_ranks_and_unknown_sizes(form, sizes, shape):
    agree(model_of({"size": 5, "alpha": 0.9}, sizes=sizes), form, sample(shape))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12, 13, 18])
def test_operator_sets(form, opset):
    agree(model_of({"size": 5, "alpha": 0.9}, opset=opset), form, sample())


@pytest.mark.parametrize("form", FORMS)
def test_float16_squares_stay_in_the_type(form):
    model = model_of({"size": 5, "alpha": 1e-3}, kind=TensorProto.FLOAT16)
    x = np.full(SHAPE, 3000, np.float16)  # whose square is far beyond float16
    agree(model, form, x, 4e-3)


def test_nan_stays_in_its_window_but_for_conv():
    x = sample()
    x[0, 0, 0, 0] = np.nan
    model = model_of({"size": 3})
    for form, count in (("conv", 7), ("pool", 2), ("slices", 2)):
        y = run(lrnorm.onnx.decompose(model, form=form), x)
        assert np.count_nonzero(np.isnan(y)) == count


def test_huge_values_have_a_result():
    x = np.full(SHAPE, 1e20, np.float32)
    agree(model_of({"size": 5}), "conv", x, 1e-5)


def test_auto_is_the_fastest_form_of_the_runtime(caplog):
    model = model_of({"size": 5})
    assert "Conv" in kinds(lrnorm.onnx.decompose(model, runtime="onnxruntime"))
    with caplog.at_level(logging.INFO, "lrnorm.onnx"):
        same = lrnorm.onnx.decompose(model, runtime="openvino")
    assert kinds(same) == ["LRN"]
    assert "norm stays: the LRN node is the fastest form in openvino" in caplog.text
    assert "Slice" in kinds(lrnorm.onnx.decompose(model, runtime="openvino", form="slices"))


def test_too_many_channels_for_a_band_are_pooled():
    model = model_of({"size": 5}, sizes=(1, 2000, 2, 2))
    assert "AveragePool" in kinds(lrnorm.onnx.decompose(model, runtime="onnxruntime"))


def test_nodes_in_branches_and_the_model_given():
    model = with_branches()
    before = model.SerializeToString()
    written = lrnorm.onnx.decompose(model, form="slices")
    assert model.SerializeToString() == before
    assert lrnorm.onnx.specs(written) == {}
    assert len(lrnorm.onnx.specs(model)) == 2


def test_nodes_beside_a_branch_and_inside_it():
    model = with_branches()
    model.graph.node.insert(0, lrn("x", "beside", name="beside", size=3))
    model.graph.output.append(value("beside", None))
    assert len(lrnorm.onnx.specs(model)) == 3
    assert lrnorm.onnx.specs(lrnorm.onnx.decompose(model, form="slices")) == {}


def test_what_is_written_is_found_again():
    model = model_of({"size": 5, "alpha": 0.9, "bias": 1.5})
    [spec] = lrnorm.onnx.specs(model).values()
    for form in FORMS:
        written = lrnorm.onnx.decompose(model, form=form)
        [chain] = lrnorm.onnx.chains(written).values()
        assert chain.spec.isclose(spec)
        assert kinds(lrnorm.onnx.fuse(written)) == ["LRN"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"runtime": None}, "runtime must be given for the form auto"),
        ({"form": "fft"}, "form must be auto, conv, pool, slices, got 'fft'"),
        ({"runtime": "abacus"}, "runtime must be one of"),
    ],
)
def test_wrong_arguments(words, text):
    with pytest.raises(ParameterError, match=text):
        lrnorm.onnx.decompose(model_of({"size": 5}), **words)


def test_the_default_runtime_is_onnx_runtime():
    model = model_of({"size": 5})
    assert lrnorm.onnx.decompose(model) == lrnorm.onnx.decompose(model, runtime="onnxruntime")
    assert "LRN" not in kinds(lrnorm.onnx.decompose(model))


def test_command(tmp_path, capsys):
    source, target = tmp_path / "m.onnx", tmp_path / "n.onnx"
    onnx.save(model_of({"size": 5}), source)
    words = ["decompose", str(source), "--for", "onnxruntime", "-o", str(target)]
    assert main(words) == 0
    assert "norm: conv in place of the LRN node" in capsys.readouterr().out
    assert "Conv" in kinds(onnx.load(target))
    assert main(words) == 2
    assert "exists and is left as it is. To replace it pass --force" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0
    capsys.readouterr()
    for wrong, text in (
        ([], "--for must be given for the form auto"),
        (["--for", "abacus"], "--for must be one of arm_compute, "),
        (["--form", "fft"], "--form must be auto, conv, pool, slices, got 'fft'."),
    ):
        assert main(["decompose", str(source), "-o", str(tmp_path / "o.onnx"), *wrong]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(f"lrnorm: {text}") and err.count("\n") == 1


def test_spec_that_onnx_leans():
    model = model_of({"size": 4, "alpha": 0.8})
    assert lrnorm.onnx.specs(model) == {"norm": LRNSpec(0.2, 0.75, 1.0, 1, 2)}
    agree(model, "conv", sample())
