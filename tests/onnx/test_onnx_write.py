"""ONNX models of a layer, and new numbers for the LRN nodes of others."""

from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import lrnorm
from lrnorm import LRNSpec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_models import CAFFE, STRONG, call, example, function, lrn, model_of, run, with_branches  # noqa: E402

DEFAULT_ATTRIBUTES = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}


# Writing


def formula(x, spec):
    """One channel at a time, in float64."""
    x = x.astype(np.float64)
    before, after = spec.ends(x.shape[1])
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        window = x[:, max(0, c - before) : c + after + 1]
        y[:, c] = x[:, c] * (spec.bias + spec.scale * np.square(window).sum(1)) ** -spec.beta
    return y


WINDOWS = [(2, 2), (0, 0), (2, 1), (3, 0), (0, 3), (1, 4), (9, 9), (8, 2), (None, None)]
WINDOWS += [(None, 0), (None, 2), (0, None), (3, None), (2, 9), (None, 8), (9, None)]


@pytest.mark.parametrize(("before", "after"), WINDOWS)
def test_every_window_runs_in_onnx_runtime(before, after):
    spec = LRNSpec(0.21, 0.6, 1.3, before, after)
    agrees(lrnorm.onnx.to_onnx(spec), spec)


@pytest.mark.parametrize("ends", [(2, 2), (2, 1), (3, 0), (1, 4), (8, 2), (9, 6), (7, 12)])
def test_every_window_of_a_layer_runs_in_onnx_runtime(ends):
    alpha = 0.21 * (sum(ends) + 1)
    layer = lrnorm.LocalResponseNormalizationLayer(
        alpha=alpha, beta=0.6, bias=1.3, channel_window_size=ends, input=(7, None, None)
    )
    agrees(lrnorm.onnx.to_onnx(layer), layer.spec)


def agrees(model, spec):
    x = example()
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(run(model, x), formula(x, spec), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        run(model, x), lrnorm.local_response_norm(x, spec=spec, axis=1), rtol=1e-6, atol=1e-6
    )


def test_a_leaning_window_that_covers_all_channels_is_one_node():
    layer = lrnorm.LocalResponseNormalizationLayer(channel_window_size=(8, 6), input=(7, 5, 4))
    assert [node.op_type for node in lrnorm.onnx.to_onnx(layer).graph.node] == ["LRN"]
    free = lrnorm.onnx.to_onnx(layer.spec)
    assert "LRN" not in [node.op_type for node in free.graph.node]


@pytest.mark.parametrize("size", [2, 4, 6])
def test_an_even_window_that_leans_to_later_channels_is_one_node(size):
    spec = LRNSpec(0.4, 0.7, 1.2, (size - 1) // 2, size // 2)
    model = lrnorm.onnx.to_onnx(spec)
    assert [node.op_type for node in model.graph.node] == ["LRN"]
    with pytest.raises(Exception, match="size_ % 2 == 1"):
        run(model, example())
    # The evaluator of the onnx package takes even sizes; it is right where batch = channels.
    from onnx.reference import ReferenceEvaluator

    x = np.random.default_rng(5).normal(size=(6, 6, 3, 3)).astype(np.float32)
    y = ReferenceEvaluator(model).run(None, {"Input": x})[0]
    np.testing.assert_allclose(y, formula(x, spec), rtol=2e-6)
    assert not np.allclose(y, formula(x, LRNSpec(0.4, 0.7, 1.2, size // 2, (size - 1) // 2)))


def test_to_onnx_names_free_sizes_and_keeps_known_ones():
    model = lrnorm.onnx.to_onnx(lrnorm.LocalResponseNormalizationLayer(input=(96, None, 55)))
    for port in (*model.graph.input, *model.graph.output):
        assert [d.dim_value or d.dim_param for d in port.type.tensor_type.shape.dim] == [
            *("batch", 96, "height", 55)
        ]
        assert port.type.tensor_type.elem_type == TensorProto.FLOAT
    assert [port.name for port in model.graph.input] == ["Input"]
    [free] = lrnorm.onnx.to_onnx(CAFFE).graph.input
    assert [d.dim_param for d in free.type.tensor_type.shape.dim] == [
        *("batch", "channels", "height", "width")
    ]


def test_there_and_back():
    for spec in (CAFFE, STRONG, LRNSpec(1e-4, 0.75, 2.0, 2, 3), LRNSpec(0.7, 1.0, 0.0, 0, 0)):
        [found] = lrnorm.onnx.specs(lrnorm.onnx.to_onnx(spec)).values()
        assert found.isclose(spec)
    node = lrnorm.onnx.to_onnx(CAFFE).graph.node[0]
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert said == {name: pytest.approx(v) for name, v in {"size": 5, **DEFAULT_ATTRIBUTES}.items()}


@pytest.mark.parametrize(
    ("layer", "kind", "text"),
    [
        (LRNSpec(1e300, 0.5, 1, 2, 2), ValueError, "scale must fit into float32, .* got 1e\\+300"),
        (LRNSpec(1e-60, 0.5, 1, 2, 2), ValueError, "scale must fit into float32"),
        (LRNSpec(1, 0.5, 1e39, 2, 2), ValueError, "bias must fit into float32, .* got 1e\\+39"),
        (3, TypeError, "to_onnx takes a layer, a net or an LRNSpec, got 3"),
        (lrnorm.NetChain, TypeError, "to_onnx takes a layer, a net or an LRNSpec, got <class"),
    ],
)
def test_what_cannot_be_written(layer, kind, text):
    with pytest.raises(lrnorm.LRNormError, match=text) as caught:
        lrnorm.onnx.to_onnx(layer)
    assert isinstance(caught.value, kind)


# Rewriting


def test_rewrite_changes_that_node_and_nothing_else():
    model = model_of([lrn("x", "m", name="a", size=5), lrn("m", "y", name="b", size=3)])
    before = model.SerializeToString()
    changed = lrnorm.onnx.rewrite(model, {"b": STRONG})
    assert lrnorm.onnx.specs(changed) == {"a": CAFFE, "b": lrnorm.onnx.specs(changed)["b"]}
    assert lrnorm.onnx.specs(changed)["b"].isclose(STRONG)
    assert model.SerializeToString() == before
    onnx.checker.check_model(changed, full_check=True)
    x = example()
    expected = lrnorm.local_response_norm(x, spec=CAFFE, axis=1)
    expected = lrnorm.local_response_norm(expected, spec=STRONG, axis=1)
    np.testing.assert_allclose(run(changed, x), expected, rtol=1e-6, atol=1e-6)


def test_rewrite_reaches_branches():
    changed = lrnorm.onnx.rewrite(with_branches(), {"outer/else_branch/inner": STRONG})
    found = lrnorm.onnx.specs(changed)
    assert found["outer/else_branch/inner"].isclose(STRONG)
    assert found["outer/then_branch/inner"].bias == 1.0


def test_rewrite_of_a_function_needs_all_its_calls():
    nodes = [call("x", "m", "one", strength=0.5), call("m", "y", "two", strength=2.0)]
    model = model_of(nodes, functions=[function()])
    subject, rule = "one/inner and two/inner", "must get the same spec"
    with refused(lrnorm.ParameterError, subject, rule, [STRONG, None]):
        lrnorm.onnx.rewrite(model, {"one/inner": STRONG})
    with refused(lrnorm.ParameterError, subject, rule, [STRONG, CAFFE], "inline_local_functions"):
        lrnorm.onnx.rewrite(model, {"one/inner": STRONG, "two/inner": CAFFE})
    changed = lrnorm.onnx.rewrite(model, {"one/inner": STRONG, "two/inner": STRONG})
    assert all(spec.isclose(STRONG) for spec in lrnorm.onnx.specs(changed).values())


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"z": CAFFE}, ValueError, "must name an LRN node of .*, which has a, b, got 'z'"),
        ({"a": 5}, TypeError, "the new numbers of a must be an LRNSpec, got 5"),
        ([CAFFE], TypeError, "changes must map names of nodes to LRNSpecs"),
        (
            {"a": LRNSpec(1, 1, 1, 2, 1)},
            ValueError,
            r"a cannot be LRNSpec\(.*\): onnx has no window of before=2, after=1: .*to_onnx\(",
        ),
        ({"a": LRNSpec(1, 1, 1, 1, 3)}, ValueError, "onnx has no window of before=1, after=3"),
        (
            {"a": LRNSpec.divisive(1)},
            ValueError,
            "onnx cannot say a window that reaches to the end of the axis",
        ),
        ({"a": LRNSpec(1, 1e60, 1, 1, 1)}, ValueError, "ONNX keeps beta in float32, where 1e\\+60"),
        ({"a": LRNSpec(1e-30, 1, 1, 2**63, 2**63)}, ValueError, "ONNX keeps size in 64 bits"),
    ],
)
def test_what_rewrite_refuses(changes, kind, text):
    model = model_of([lrn("x", "m", name="a", size=5), lrn("m", "y", name="b", size=3)])
    with pytest.raises(lrnorm.LRNormError, match=text) as caught:
        lrnorm.onnx.rewrite(model, changes)
    assert isinstance(caught.value, kind)
    with pytest.raises(ValueError, match="which has none"):
        lrnorm.onnx.rewrite(model_of([helper.make_node("Relu", ["x"], ["y"])]), {"z": CAFFE})


@pytest.fixture
def outside(tmp_path):
    """A model whose weights stand in a file beside it."""
    weight = numpy_helper.from_array(example()[:1], "w")
    nodes = [helper.make_node("Add", ["x", "w"], ["s"]), lrn("s", "y", name="a", size=5)]
    path = tmp_path / "there" / "m.onnx"
    path.parent.mkdir()
    onnx.save(
        model_of(nodes, initializer=[weight]),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    return path


def test_external_data_stay_valid(outside, tmp_path):
    bytes_before = outside.read_bytes()
    changed = lrnorm.onnx.rewrite(outside, {"a": STRONG})
    assert outside.read_bytes() == bytes_before
    onnx.save(changed, tmp_path / "elsewhere.onnx")
    x = example()
    expected = lrnorm.local_response_norm(x + example()[:1], spec=STRONG, axis=1)
    again = onnx.load(tmp_path / "elsewhere.onnx")
    np.testing.assert_allclose(run(again, x), expected, rtol=1e-6, atol=1e-6)
    # A ModelProto keeps its references.
    kept = lrnorm.onnx.rewrite(onnx.load(outside, load_external_data=False), {"a": STRONG})
    assert kept.graph.initializer[0].data_location == TensorProto.EXTERNAL


def test_external_data_are_not_needed_to_read(outside):
    (outside.parent / "weights.bin").unlink()
    assert lrnorm.onnx.specs(outside) == {"a": CAFFE}
    with pytest.raises(lrnorm.FileError, match=r"the external data of .*m\.onnx cannot be read"):
        lrnorm.onnx.rewrite(outside, {"a": STRONG})
