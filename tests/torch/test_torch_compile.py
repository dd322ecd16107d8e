"""What captures a model: torch.compile, torch.export, fx, torch.jit.trace, torch.onnx."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import KindError, ShapeError

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402

import lrnorm.torch  # noqa: E402

# PyTorch's own, from its compiler and its exporter.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torch"),
]

ours = lrnorm.torch.local_response_norm
LocalResponseNorm = lrnorm.torch.LocalResponseNorm
Layer = lrnorm.torch.LocalResponseNormalizationLayer


def sample(*shape: int, dtype: Any = torch.float32) -> Any:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(shape or (2, 7, 4, 5), generator=generator) * 1.5).to(dtype)


def modules() -> dict[str, Any]:
    return {
        "odd": LocalResponseNorm(5, 1.2, 0.6, 1.1),
        "even": LocalResponseNorm(4, 1.2, 0.6, 1.1),
        "learning": LocalResponseNorm(4, 1.2, 0.6, 1.1, learnable=True),
        "layer": Layer(channel_window_size=(2, 1)),
        "learning layer": Layer(learnable=True),
    }


every_module = pytest.mark.parametrize("name", modules())


def gradients(module: Any, x: Any, call: Any = None) -> list[Any]:
    """y, then the gradients by x and by what the module learns."""
    x = x.clone().requires_grad_()
    y = (module if call is None else call)(x)
    return [y, *torch.autograd.grad(y.double().pow(2).sum(), [x, *module.parameters()])]


def close(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What one test compiled is not in the way of the next."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def no_recompilation() -> Iterator[None]:
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield


# torch.compile


@every_module
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_compiled_whole(name: str, dtype: Any) -> None:
    module, x = modules()[name], sample(dtype=dtype)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert torch.equal(compiled(x), module(x))
    close(gradients(module, x, compiled), gradients(module, x))


def test_compiled_to_machine_code() -> None:
    module = nn.Sequential(nn.ReLU(), LocalResponseNorm(5, 1.2, learnable=True), nn.Sigmoid())
    compiled = torch.compile(module, fullgraph=True)
    x = sample()
    close(gradients(module, x, compiled), gradients(module, x))


@every_module
def test_batches_of_any_size_without_a_recompilation(name: str, no_recompilation: None) -> None:
    module = modules()[name]
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch in (2, 3, 4, 17):
        x = sample(batch, 7, 4 + batch, 5)
        close(compiled(x), module(x))


def test_one_recompilation_learns_that_the_batch_varies() -> None:
    module = LocalResponseNorm(5, 1.2)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, fullgraph=True, backend=counter)
    for batch in (2, 3, 4, 5, 6, 7, 8):
        close(compiled(sample(batch, 7, 4, 5)), module(sample(batch, 7, 4, 5)))
    assert counter.frame_count == 2


def test_memory_format_is_kept() -> None:
    module = LocalResponseNorm(5, 1.2)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = sample().contiguous(memory_format=torch.channels_last)
    assert compiled(x).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(compiled(x), module(x))


def test_core_function_compiled() -> None:
    spec = lrnorm.LRNSpec(0.3, 0.75, 1.1, 2, None)
    for call in (
        lambda x: lrnorm.local_response_norm(x, spec=spec, axis=-1),
        lambda x: lrnorm.local_response_norm_vjp(x, x * 2, spec=spec, axis=1),
        lambda x: lrnorm.local_response_norm_jvp(x, x * 2, spec=spec, axis=1),
        lambda x: lrnorm.torch.local_response_norm(x, 4, 1.2),
    ):
        compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
        close(compiled(sample()), call(sample()))
        x = sample().requires_grad_()
        got = torch.autograd.grad(compiled(x).pow(2).sum(), x)
        close(got, torch.autograd.grad(call(x).pow(2).sum(), x))


def test_patched_calls_compiled() -> None:
    x = torch.full((1, 3, 1), 1e20)
    with lrnorm.torch.patched():
        compiled = torch.compile(
            nn.LocalResponseNorm(3, 3.0, 0.5), fullgraph=True, backend="aot_eager"
        )
        assert compiled(x).all()


def test_errors_of_compiled_calls_keep_their_text() -> None:
    compiled = torch.compile(LocalResponseNorm(5), backend="aot_eager")
    with pytest.raises(ShapeError, match=re.escape("of rank 3 or more, got shape (4, 5).")):
        compiled(sample(4, 5))


def layer(x: Any) -> Any:
    return ours(x, 4, 1.2, 0.6, 1.1)


X = sample(1, 4, 2, dtype=torch.float64)
T = X.flip(1)
TRANSFORMS = {
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (T,)),
    "grad": lambda f, x: torch.func.grad(lambda x: f(x).pow(2).sum())(x),
    "vjp": lambda f, x: torch.func.vjp(f, x)[1](T),
    "vmap": lambda f, x: torch.vmap(f)(torch.stack([x, x * 2])),
    "gradient of each": lambda f, x: torch.vmap(torch.func.grad(lambda x: f(x).sum()))(
        torch.stack([x, x * 2])
    ),
    "hessian": lambda f, x: torch.func.hessian(lambda x: f(x).pow(2).sum())(x),
    "jacfwd": lambda f, x: torch.func.jacfwd(f)(x),
    "jacrev": lambda f, x: torch.func.jacrev(f)(x),
    "numbers": lambda f, x: torch.func.grad(
        lambda alpha: ours(x, 4, alpha).pow(2).sum() * f(x).sum().detach()
    )(torch.tensor(1.2)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_compiled(name: str) -> None:
    call = TRANSFORMS[name]
    compiled = torch.compile(lambda x: call(layer, x), fullgraph=True, backend="aot_eager")
    close(compiled(X), call(layer, X))


def test_forward_mode_around_a_compiled_call() -> None:
    expected = torch.func.jvp(layer, (X,), (T,))[1]
    for first in (False, True):
        torch.compiler.reset()
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        if first:
            compiled(X)
        with forward_ad.dual_level():
            y = compiled(forward_ad.make_dual(X, T))
            close(forward_ad.unpack_dual(y).tangent, expected)


@pytest.mark.parametrize("name", ["jvp", "grad", "jacfwd"])
def test_transforms_of_a_compiled_call_are_right_or_refused(name: str) -> None:
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    compiled(X)
    try:
        got = TRANSFORMS[name](compiled, X)
    except torch._dynamo.exc.Unsupported:
        return
    close(got, TRANSFORMS[name](layer, X))


# torch.export, fx, torch.jit.trace


@every_module
@pytest.mark.parametrize("strict", [False, True])
def test_exported(name: str, strict: bool) -> None:
    module, x = modules()[name], sample()
    batch = {"input": {0: torch.export.Dim("batch")}}
    program = torch.export.export(module, (x,), dynamic_shapes=batch, strict=strict)
    names = [str(n.target) for n in program.graph.nodes if "lrnorm" in str(n.target)]
    assert names == [
        "lrnorm.learned_forward.default" if "learning" in name else "lrnorm.forward.default"
    ]
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    for loaded in (program, torch.export.load(file)):
        y = loaded.module()(sample(5, 7, 4, 5))
        assert torch.equal(y, module(sample(5, 7, 4, 5)))


def test_exported_for_training() -> None:
    module, x = modules()["learning"], sample()
    exported = torch.export.export(module, (x,)).module()
    close(gradients(exported, x), gradients(module, x))


def test_exported_models_refuse_forward_mode() -> None:
    """The operator's tangent would be zero, without a word."""
    exported = torch.export.export(LocalResponseNorm(5), (X,)).module()
    with pytest.raises(KindError, match="lrnorm::forward, which exported and traced models call"):
        torch.func.jvp(exported, (X,), (T,))


@every_module
def test_symbolically_traced(name: str) -> None:
    module, x = modules()[name], sample()
    traced = torch.fx.symbolic_trace(nn.Sequential(module))
    assert [n.op for n in traced.graph.nodes].count("call_function") == 1
    assert torch.equal(traced(x), module(x))
    close(gradients(traced, x), gradients(module, x))


@every_module
def test_traced_to_torchscript(name: str) -> None:
    module, x = modules()[name], sample()
    traced = torch.jit.trace(module, (x,))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    other = sample(3, 7, 4, 5) * 2
    for script in (traced, torch.jit.load(file)):
        assert torch.equal(script(other), module(other))
    close(gradients(traced, other), gradients(module, other))


def test_traced_to_operators() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(lambda x: torch.func.grad(lambda x: layer(x).pow(2).sum())(x))(X)
    close(graph(X * 2), torch.func.grad(lambda x: layer(x).pow(2).sum())(X * 2))


# torch.onnx


def exported(module: Any, x: Any, dynamo: bool = True) -> tuple[Any, Any]:
    """The model, and ONNX Runtime's answer for another batch."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    file = io.BytesIO()
    shapes = {"dynamic_shapes": {"input": {0: "batch"}}} if dynamo else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), file, dynamo=dynamo, verbose=False, **shapes)
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    more = torch.cat([x, x * 2]) if dynamo else x
    (y,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    with torch.no_grad():
        close(torch.from_numpy(y), module(more))
    model = onnx.load_from_string(file.getvalue())
    onnx.checker.check_model(model)
    return model, onnx


@pytest.mark.parametrize(
    ("module", "size"),
    [
        (LocalResponseNorm(5, 1.5, 0.6, 2.0), 5),
        (LocalResponseNorm(1, 1.5, 0.6, 2.0), 1),
        (LocalResponseNorm(9, 1.5, 0.6, 2.0), 9),
        (Layer(alpha=1.5, beta=0.6, bias=2.0), 5),
    ],
    ids=repr,
)
def test_one_node_with_the_numbers(module: Any, size: int) -> None:
    model, onnx = exported(module, sample())
    (node,) = model.graph.node
    assert (node.op_type, node.domain) == ("LRN", "")
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    expected = {
        "size": size,
        "alpha": np.float32(1.5),
        "beta": np.float32(0.6),
        "bias": np.float32(2.0),
    }
    assert attributes == expected
    (batch, *_) = model.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param == "batch"


def test_one_node_for_the_window_that_leans_as_onnx_does() -> None:
    """ONNX Runtime refuses even sizes, so the node is only read."""
    onnx = pytest.importorskip("onnx")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = Layer(channel_window_size=(1, 2))
        torch.onnx.export(module, (sample(),), file, dynamo=True, verbose=False)
    (node,) = onnx.load_from_string(file.getvalue()).graph.node
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert (node.op_type, attributes["size"], attributes["alpha"]) == ("LRN", 4, 1.0)


@pytest.mark.parametrize(
    ("module", "x"),
    [
        (LocalResponseNorm(4, 1.5), sample()),  # leans to the other side than ONNX's
        (LocalResponseNorm(2, 1.5), sample()),
        (Layer(channel_window_size=(3, 0)), sample()),
        (LocalResponseNorm(5, 1.5, learnable=True), sample()),
        (LocalResponseNorm(5, 1.5), sample(2, 7, 5)),  # ranks that ONNX Runtime has no node for
        (LocalResponseNorm(5, 1.5), sample(2, 7, 3, 2, 4)),
        (LocalResponseNorm(5, 1.5), sample(dtype=torch.float64)),
    ],
    ids=["even", "narrow", "leaning", "learning", "rank 3", "rank 5", "float64"],
)
def test_what_one_node_cannot_say_is_written_out(module: Any, x: Any) -> None:
    model, _ = exported(module, x)
    assert not {n.op_type for n in model.graph.node} & {"LRN"}
    assert {n.domain for n in model.graph.node} == {""}


def test_inside_a_model() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 7, 3), LocalResponseNorm(5, 1.5), nn.ReLU(), LocalResponseNorm(3, 2.0)
    ).eval()
    written, _ = exported(lrnorm.torch.replace(model), sample(2, 3, 6, 6))
    assert [n.op_type for n in written.graph.node] == ["Conv", "LRN", "Relu", "LRN"]


@pytest.mark.parametrize("size", [5, 4])
def test_the_older_exporter(size: int) -> None:
    exported(LocalResponseNorm(size, 1.5), sample(), dynamo=False)
