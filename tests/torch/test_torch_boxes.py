"""Windows over several axes for PyTorch's tensors: every derivative and every transformation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lrnorm  # noqa: E402
from lrnorm import LRNSpec  # noqa: E402

# PyTorch's own, where it sets up forward mode.
# PyTorch's own, from its compiler and its exporters.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torch"),
]

BOXES = {
    (2, 3): LRNSpec(0.7, 0.75, 1.0, (1, 0), (0, 2)),
    (-1, 1): LRNSpec(0.5, 0.6, 1.2, (None, 1), (1, 0)),
}
every_box = pytest.mark.parametrize(("axis", "spec"), BOXES.items(), ids=str)


def sample(seed: int = 0, shape: Any = (2, 3, 4, 3)) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def normalized(axis: Any, spec: LRNSpec) -> Any:
    return lambda x: lrnorm.local_response_norm(x, spec=spec, axis=axis)


@every_box
def test_gradcheck(axis: Any, spec: LRNSpec) -> None:
    x = sample().requires_grad_()
    f = normalized(axis, spec)
    assert torch.autograd.gradcheck(f, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(f, x)


@every_box
def test_operators(axis: Any, spec: LRNSpec) -> None:
    from lrnorm._spec.spec import window_in

    x, g = sample(1).requires_grad_(), sample(2)
    numbers = spec.scale, spec.beta, spec.bias, *map(list, window_in(x.shape, spec, axis))
    torch.library.opcheck(torch.ops.lrnorm.forward.default, (x, *numbers))
    torch.library.opcheck(torch.ops.lrnorm.vjp.default, (x, g, *numbers))


@every_box
def test_transformations(axis: Any, spec: LRNSpec) -> None:
    f = normalized(axis, spec)
    x = torch.stack([sample(3), sample(4)])
    y = torch.stack([f(each) for each in x])
    torch.testing.assert_close(torch.vmap(f)(x), y, rtol=0, atol=0)
    moved = torch.vmap(f, in_dims=2, out_dims=2)(x.movedim(0, 2))
    torch.testing.assert_close(moved.movedim(2, 0), y, rtol=0, atol=0)
    gradient = torch.func.grad(lambda v: (f(v) ** 2).sum())(x[0])
    x0 = x[0].clone().requires_grad_()
    (f(x0) ** 2).sum().backward()
    torch.testing.assert_close(gradient, x0.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@every_box
def test_compile(axis: Any, spec: LRNSpec) -> None:
    f = normalized(axis, spec)
    compiled = torch.compile(f, fullgraph=True)
    x, twin = sample(5).requires_grad_(), sample(5).requires_grad_()
    y = f(x)
    z = compiled(twin)
    torch.testing.assert_close(z, y, rtol=1e-12, atol=1e-12)
    y.sum().backward()
    z.sum().backward()
    torch.testing.assert_close(twin.grad, x.grad, rtol=1e-12, atol=1e-12)


def test_the_formula_with_avg_pool2d() -> None:
    """Caffe's layer within channels, as people write it in PyTorch."""
    x = sample(6, (2, 3, 9, 8)).float()
    size, alpha, beta = 3, 5e-1, 0.75
    pooled = torch.nn.functional.avg_pool2d(x * x, size, 1, size // 2)
    theirs = x / (1 + alpha * pooled) ** beta
    ours = lrnorm.local_response_norm(x, alpha=alpha, beta=beta, channel_window_size=1, axis=(2, 3))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export")
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec")
@pytest.mark.filterwarnings("ignore:Constant folding")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # sizes of axes become constants
@pytest.mark.parametrize("dynamo", [True, False])
def test_an_exported_model_holds_plain_operators(dynamo: bool, tmp_path: Any) -> None:
    runtime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")

    class Model(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return lrnorm.local_response_norm(x, axis=(2, 3), channel_window_size=[1, (2, 0)])

    x, path = sample(7, (2, 3, 7, 9)).float(), str(tmp_path / "box.onnx")
    if dynamo:
        torch.onnx.export(Model().eval(), (x,), dynamo=True, verbose=False).save(path)
    else:
        torch.onnx.export(Model().eval(), (x,), path, dynamo=False)
    assert "LRN" not in {node.op_type for node in onnx.load(path).graph.node}
    session = runtime.InferenceSession(path)
    [y] = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(y, Model()(x).numpy(), rtol=1e-5, atol=1e-6)
