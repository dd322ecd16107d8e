"""TorchScript, and the other ways to take a replaced model apart or away."""

from __future__ import annotations

import copy
import io
import pickle
import re
from typing import Any

import pytest

from lrnorm import KindError

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import lrnorm.torch  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.*quantiz"),
    pytest.mark.filterwarnings("ignore:.*is deprecated"),
]
LRN, Layer = lrnorm.torch.LocalResponseNorm, lrnorm.torch.LocalResponseNormalizationLayer


def sample(*shape: int) -> Tensor:
    return torch.randn(shape or (2, 7, 4, 5), generator=torch.Generator().manual_seed(0)) * 2


def replaced() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(7, 6, 1), nn.LocalResponseNorm(4, 1.2), nn.Linear(5, 5))
    return lrnorm.torch.replace(model.eval())


def saved_and_loaded(script: Any) -> Any:
    file = io.BytesIO()
    torch.jit.save(script, file)
    file.seek(0)
    return torch.jit.load(file)


MODULES = {
    "ours": lambda: LRN(4, 1.2),
    "whole numbers": lambda: LRN(3, 1, 1, 2),
    "learnable": lambda: LRN(4, 1.2, learnable=True),
    "partly learnable": lambda: LRN(4, 1.2, learnable="beta"),
    "layer": lambda: Layer(alpha=2.0),
    "layer that leans": lambda: Layer(channel_window_size=(2, 0), input=(7, None, 5)),
    "learnable layer": lambda: Layer(learnable=True),
    "replaced": replaced,
}


@pytest.mark.parametrize("name", MODULES)
def test_script_computes_and_learns_the_same(name: str) -> None:
    module = MODULES[name]()
    x, other = sample().requires_grad_(), sample().requires_grad_()
    script = torch.jit.script(module)
    y = module(x)
    for each in (script, saved_and_loaded(script), torch.jit.freeze(script.eval())):
        assert torch.equal(each(other), y)
    script(other).sum().backward()
    y.sum().backward()
    torch.testing.assert_close(other.grad, x.grad)
    for mine, scripted in zip(module.parameters(), script.parameters(), strict=True):
        torch.testing.assert_close(scripted.grad, mine.grad)


def test_function_is_scripted_directly_and_inside_a_model() -> None:
    class Calls(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return lrnorm.torch.local_response_norm(x, 5, alpha=0.5)

    x = sample()
    right = lrnorm.torch.local_response_norm(x, 5, alpha=0.5)
    assert torch.equal(torch.jit.script(Calls())(x), right)
    assert torch.equal(torch.jit.script(lrnorm.torch.local_response_norm)(x, 5, 0.5), right)
    ints = torch.arange(14).reshape(1, 7, 2)
    assert torch.equal(
        torch.jit.script(lrnorm.torch.local_response_norm)(ints, 3),
        lrnorm.torch.local_response_norm(ints, 3),
    )


def test_script_refuses_wrong_shapes() -> None:
    with pytest.raises(torch.jit.Error, match="rank 3 or more"):
        torch.jit.script(LRN(3))(torch.zeros(3, 4))
    with pytest.raises(torch.jit.Error, match="rank 3, or a batch of rank 4"):
        torch.jit.script(Layer())(torch.zeros(3, 4))
    with pytest.raises(torch.jit.Error, match="of other sizes"):
        torch.jit.script(Layer(input=(7, None, 5)))(torch.zeros(6, 4, 5))


def test_trace_fx_copy_and_pickle() -> None:
    model, x = replaced(), sample()
    y = model(x)
    others = [
        torch.jit.trace(model, (x,)),
        torch.fx.symbolic_trace(model),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]
    for other in others:
        assert torch.equal(other(x), y)


def test_dynamic_quantization_keeps_the_layer() -> None:
    quantized = torch.ao.quantization.quantize_dynamic(replaced(), {nn.Linear})
    assert type(quantized[1]) is LRN
    assert type(quantized[2]) is not nn.Linear
    quantized(sample())


@pytest.mark.parametrize("function", [lrnorm.torch.find, lrnorm.torch.replace])
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, (sample(),))])
def test_scripted_and_traced_models_are_refused(function: Any, make: Any) -> None:
    script = make(nn.Sequential(nn.LocalResponseNorm(5)))
    text = f"{function.__name__}() takes a model before it is scripted or traced"
    with pytest.raises(KindError, match=re.escape(text)):
        function(script)
    with pytest.warns(UserWarning, match="^0: scripted or traced, so what is inside is not"):
        function(nn.Sequential(script, nn.LocalResponseNorm(5)))
