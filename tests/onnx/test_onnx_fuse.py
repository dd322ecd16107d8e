"""What PyTorch's exporters write out becomes one LRN node again, and nothing else does."""

from __future__ import annotations

import io
import logging
import warnings

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_models import agree, kinds, run  # noqa: E402


def exported(module, shape, *, dynamo, free=(), **more):
    """By either exporter, whose own warnings are none of ours."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    x = torch.zeros(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {axis: f"axis_{axis}" for axis in free}
        if dynamo:
            more |= {"dynamic_shapes": (axes,)} if free else {}
            program = torch.onnx.export(module.eval(), (x,), dynamo=True, verbose=False, **more)
            return program.model_proto
        stream = io.BytesIO()
        more |= {"dynamic_axes": {"x": axes}} if free else {}
        torch.onnx.export(module.eval(), (x,), stream, dynamo=False, input_names=["x"], **more)
        return onnx.load_from_string(stream.getvalue())


def module_of(size=5, alpha=3e-4, beta=0.6, k=2.0):
    return pytest.importorskip("torch").nn.LocalResponseNorm(size, alpha, beta, k)


def functional(size, **words):
    torch = pytest.importorskip("torch")

    class Functional(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.local_response_norm(x, size, **words)

    return Functional()


both = pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
SHAPES = {
    (2, 7, 6): ((), (0,)),
    (2, 7, 6, 5): ((), (0,), (0, 2, 3)),
    (2, 7, 4, 3, 5): ((), (0,)),
}
CASES = [(shape, free) for shape, frees in SHAPES.items() for free in frees]


@both
@pytest.mark.parametrize(("shape", "free"), CASES)
def test_odd_windows_become_one_node(dynamo, shape, free):
    model = exported(module_of(), shape, dynamo=dynamo, free=free)
    before = model.SerializeToString()
    [(name, chain)] = lrnorm.onnx.chains(model).items()
    assert chain.spec == LRNSpec(3e-4 / 5, 0.6, 2.0, 2, 2)
    assert (chain.why_not, chain.dtype, len(chain.shape)) == (None, "float32", len(shape))
    assert chain.nodes >= 9
    fused = lrnorm.onnx.fuse(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(fused, full_check=True)
    assert lrnorm.onnx.specs(model) == {}
    assert lrnorm.onnx.specs(fused) == {name: LRNSpec(3e-4 / 5, 0.6, 2.0, 2, 2)}
    folded = ["Reshape", "LRN", "Shape", "Reshape"]
    assert kinds(fused) == (["LRN"] if len(shape) == 4 else folded)
    assert len(fused.graph.initializer) == (len(shape) != 4)
    assert not lrnorm.onnx.chains(fused)
    other = [n + 1 if axis in free else n for axis, n in enumerate(shape)]
    x, y = agree(model, fused, other)
    expected = lrnorm.local_response_norm(x, spec=chain.spec, axis=1)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@both
@pytest.mark.parametrize(("shape", "free"), CASES[::2])
def test_even_windows_stay(dynamo, shape, free, caplog):
    model = exported(functional(4), shape, dynamo=dynamo, free=free)
    [chain] = lrnorm.onnx.chains(model).values()
    assert chain.spec == LRNSpec(1e-4 / 4, 0.75, 1.0, 2, 1)
    assert "no window of before=2, after=1" in chain.why_not
    with caplog.at_level(logging.WARNING, "lrnorm.onnx"):
        fused = lrnorm.onnx.fuse(model)
    assert "stays as it is: onnx has no window of" in caplog.text
    assert fused.SerializeToString() == model.SerializeToString()


@both
def test_an_even_window_over_so_few_channels_that_it_does_not_matter(dynamo):
    model = exported(functional(4, alpha=0.8), (3, 2, 6, 5), dynamo=dynamo)
    fused = lrnorm.onnx.fuse(model)
    assert kinds(fused) == ["LRN"]
    [found] = lrnorm.onnx.specs(fused).values()
    assert (found.before, found.after) == (1, 1) and found.scale == pytest.approx(0.2)
    agree(model, fused, (3, 2, 6, 5))
    wider = exported(functional(4, alpha=0.8), (3, 3, 6, 5), dynamo=dynamo)
    assert "LRN" not in kinds(lrnorm.onnx.fuse(wider))


@both
@pytest.mark.parametrize(
    ("words", "spec"),
    [
        ({"k": 0.0}, LRNSpec(1e-4 / 3, 0.75, 0.0, 1, 1)),
        ({"alpha": 1.0}, LRNSpec(1 / 3, 0.75, 1.0, 1, 1)),
        ({"alpha": 1.0, "k": 0.0, "beta": 0.5}, LRNSpec(1 / 3, 0.5, 0.0, 1, 1)),
        ({"beta": 1.0}, LRNSpec(1e-4 / 3, 1.0, 1.0, 1, 1)),
    ],
)
def test_numbers_that_exporters_leave_out(dynamo, words, spec):
    model = exported(functional(3, **words), (2, 7, 6, 5), dynamo=dynamo)
    fused = lrnorm.onnx.fuse(model)
    assert list(lrnorm.onnx.specs(fused).values()) == [spec]
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 5)).astype(np.float32) * 2
    y = run(model, x)
    np.testing.assert_allclose(run(fused, x), y, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("opset", [9, 10, 11, 12, 13, 16, 18])
def test_older_operator_sets(opset):
    model = exported(module_of(3), (2, 7, 6, 5), dynamo=False, free=(0,), opset_version=opset)
    fused = lrnorm.onnx.fuse(model)
    assert kinds(fused) == ["LRN"]
    agree(model, fused, (3, 7, 6, 5))


@pytest.mark.parametrize("opset", [18, 20, 22])
def test_newer_operator_sets(opset):
    model = exported(module_of(3), (2, 7, 6, 5), dynamo=True, free=(0,), opset_version=opset)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [opset]
    fused = lrnorm.onnx.fuse(model)
    assert kinds(fused) == ["LRN"]
    agree(model, fused, (3, 7, 6, 5))


def test_without_the_exporter_s_optimizer():
    model = exported(module_of(3), (2, 7, 6, 5), dynamo=True, optimize=False)
    assert kinds(lrnorm.onnx.fuse(model)) == ["LRN"]


@both
@pytest.mark.parametrize("free", [(), (0,), (0, 2, 3)])
def test_a_net_of_two(dynamo, free, tmp_path):
    nn = pytest.importorskip("torch").nn
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.LocalResponseNorm(5),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 6, 3),
        nn.LocalResponseNorm(3, alpha=0.3, k=1.5),
    )
    model = exported(net, (2, 3, 32, 32), dynamo=dynamo, free=free)
    fused = lrnorm.onnx.fuse(model)
    onnx.checker.check_model(fused, full_check=True)
    assert [kind for kind in kinds(fused) if kind != "Constant"] == [
        *("Conv", "Relu", "LRN", "MaxPool", "Conv", "LRN")
    ]
    shape = [n + 3 if axis in free else n for axis, n in enumerate((2, 3, 32, 32))]
    agree(model, fused, shape)
    # Everything in a file of its own: weights, and the numbers of the chains.
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="data", size_threshold=0)
    again = lrnorm.onnx.fuse(path)
    assert lrnorm.onnx.specs(again) == lrnorm.onnx.specs(fused)
    agree(fused, again, shape)


@pytest.mark.parametrize("free", [(), (0,)])
@pytest.mark.parametrize("opset", [9, 11, 13, 18])
def test_two_in_one_call(opset, free):
    nn = pytest.importorskip("torch").nn
    net = nn.Sequential(
        *(nn.Conv2d(7, 8, 1), nn.LocalResponseNorm(5)),
        *(nn.Conv2d(8, 6, 1), nn.LocalResponseNorm(5, 0.3)),
    )
    model = exported(net, (2, 7, 6, 5), dynamo=False, free=free, opset_version=opset)
    assert [chain.spec.scale for chain in lrnorm.onnx.chains(model).values()] == [1e-4 / 5, 0.3 / 5]
    fused = lrnorm.onnx.fuse(model)
    assert [kind for kind in kinds(fused) if kind != "Constant"] == ["Conv", "LRN", "Conv", "LRN"]
    agree(model, fused, (2 + len(free), 7, 6, 5))


@both
@pytest.mark.parametrize("shape", [(2, 7, 6), (2, 7, 6, 5), (2, 7, 6, 3, 2)])
def test_our_own_modules_are_found(dynamo, shape):
    lrnorm_torch = pytest.importorskip("lrnorm.torch")
    model = exported(lrnorm_torch.LocalResponseNorm(4), shape, dynamo=dynamo)
    [chain] = lrnorm.onnx.chains(model).values()
    assert chain.spec == LRNSpec(2.5e-5, 0.75, 1.0, 2, 1)
    assert chain.dtype == "float32"
    odd = exported(lrnorm_torch.LocalResponseNorm(5), shape, dynamo=dynamo)
    fused = lrnorm.onnx.fuse(odd)
    assert [spec.scale for spec in lrnorm.onnx.specs(fused).values()] == [2e-5]
    agree(odd, fused, shape)


@both
def test_hand_written_layer(dynamo):
    torch = pytest.importorskip("torch")

    class Handwritten(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.average = torch.nn.AvgPool3d((5, 1, 1), stride=1, padding=(2, 0, 0))

        def forward(self, x):
            mean = self.average(x.pow(2).unsqueeze(1)).squeeze(1)
            return x.div(mean.mul(0.3).add(1.0).pow(0.75))

    model = exported(Handwritten(), (2, 7, 6, 5), dynamo=dynamo, free=(0,))
    fused = lrnorm.onnx.fuse(model)
    assert list(lrnorm.onnx.specs(fused).values()) == [LRNSpec(0.3 / 5, 0.75, 1.0, 2, 2)]
    agree(model, fused, (3, 7, 6, 5))
