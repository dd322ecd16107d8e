"""The modules: PyTorch's layer and the layer of lrnorm, fixed and learning."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import re
from typing import Any

import numpy as np
import pytest
from refusals import refusal

import lrnorm
from lrnorm import KindError, LRNSpec, ParameterError, ShapeError

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import lrnorm.torch  # noqa: E402

LocalResponseNorm = lrnorm.torch.LocalResponseNorm
Layer = lrnorm.torch.LocalResponseNormalizationLayer


def sample(*shape: int) -> Any:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape or (2, 7, 4, 5), generator=generator) * 1.5


def learning() -> list[Any]:
    """Each module with every number a parameter, and one with a single one."""
    return [
        LocalResponseNorm(4, 1.2, 0.75, 1.1, learnable=True),
        LocalResponseNorm(5, 1.2, k=1.1, learnable="beta"),
        Layer(alpha=1.2, channel_window_size=(2, 1), learnable=True),
    ]


# In place of PyTorch's


def test_signatures_are_pytorchs() -> None:
    def first(function: Any, count: int) -> Any:
        parameters = list(inspect.signature(function).parameters.values())[:count]
        return [(p.name, p.default, p.kind) for p in parameters]

    assert first(LocalResponseNorm, 4) == first(nn.LocalResponseNorm, 4)
    assert first(lrnorm.torch.local_response_norm, 5) == first(F.local_response_norm, 5)


def test_results_are_pytorchs() -> None:
    x = sample()
    for arguments in ((5,), (4, 1.2), (3, 1.2, 0.6, 2.0), (1, 1.0)):
        theirs, mine = nn.LocalResponseNorm(*arguments), LocalResponseNorm(*arguments)
        torch.testing.assert_close(mine(x), theirs(x))
        assert mine.extra_repr() == theirs.extra_repr()
        assert not list(mine.parameters())
        assert not mine.state_dict()
        assert {name: getattr(mine, name) for name in theirs.__constants__} == {
            name: getattr(theirs, name) for name in theirs.__constants__
        }


def test_numbers_are_checked_at_once() -> None:
    with refusal(ParameterError, "size must be a positive integer, got 0."):
        LocalResponseNorm(0)
    with refusal(ParameterError, "beta must be finite, got nan."):
        LocalResponseNorm(5, beta=float("nan"))
    with refusal(
        ParameterError,
        "learnable must be True, False or names among alpha, beta, k, got 'bias'.",
    ):
        LocalResponseNorm(5, learnable="bias")
    with refusal(
        ParameterError, "learnable must be True, False or names among alpha, beta, bias, got 'k'."
    ):
        Layer(learnable=["beta", "k"])


def test_numbers_can_be_set_later() -> None:
    module = LocalResponseNorm(5, 1.0)
    module.alpha = 2.0
    x = sample()
    torch.testing.assert_close(module(x), F.local_response_norm(x, 5, 2.0))
    module.k = nn.Parameter(torch.tensor([1.5]))
    module(x).sum().backward()
    assert module.k.grad is not None


def test_spec() -> None:
    assert LocalResponseNorm(4, 1.2, 0.6, 2.0).spec == LRNSpec(1.2 / 4, 0.6, 2.0, 2, 1)
    assert LocalResponseNorm(4, 1.5, learnable=True).spec == LRNSpec(0.375, 0.75, 1.0, 2, 1)
    assert Layer(alpha=1.5, channel_window_size=1).spec == LRNSpec(0.5, 0.5, 1.0, 1, 1)


# The layer of lrnorm


def test_layer_as_a_module() -> None:
    x = sample()
    for words in ({}, {"alpha": 2, "beta": 0.75, "bias": 3, "channel_window_size": (2, 1)}):
        module, layer = Layer(**words), lrnorm.LocalResponseNormalizationLayer(**words)
        assert module.layer == layer
        for item in (x, x[0]):
            assert torch.equal(module(item), layer(item))
            assert np.array_equal(module(item).numpy(), layer(item.numpy()))
        learned = Layer(**words, learnable=True)
        torch.testing.assert_close(learned(x[0]), layer(x[0]))


def test_layer_checks_its_port() -> None:
    module = Layer(input=(7, None, 5))
    assert module(sample()).shape == (2, 7, 4, 5)
    for shape in ((2, 6, 4, 5), (7, 4, 6), (7, 5), (1, 2, 7, 4, 5)):
        with refusal(
            ShapeError,
            "port 'Input' expects (channels, height, width) = (7, None, 5), or a batch of them, "
            f"got {shape}.",
        ):
            module(sample(*shape))
    with refusal(KindError, "port 'Input' must be a torch.Tensor, got builtins.list."):
        module([[[1.0]]])
    with refusal(ParameterError, "channel_window_size must be a positive integer, got 0."):
        Layer(channel_window_size=0)


def test_core_layer_takes_tensors() -> None:
    layer = lrnorm.LocalResponseNormalizationLayer(alpha=2.0, input=(7, 4, 5))
    x = sample().requires_grad_()
    y = layer(x)
    assert torch.equal(y, lrnorm.local_response_norm(x, alpha=2.0))
    y.sum().backward()
    assert torch.equal(x.grad, layer.vjp(x.detach(), torch.ones_like(x)))
    assert torch.equal(layer.jvp(x, x), lrnorm.local_response_norm_jvp(x, x, alpha=2.0))
    items = layer([x[0], x[1]])
    assert isinstance(items, list)
    assert torch.equal(torch.stack(items), y)
    assert torch.equal(layer({"Input": x}), y)
    assert layer(x, working_precision="Real64").dtype == torch.float64
    assert layer(x, working_precision="Mixed").dtype == torch.float16
    assert torch.equal(layer(x, batch_size=1), y)
    with pytest.raises(ShapeError, match="Input"):
        layer(sample(6, 4, 5))


def test_in_a_sequential() -> None:
    x = sample(2, 3, 6, 6)
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 7, 3)
    for module in (LocalResponseNorm(5, 1.0), Layer()):
        model = nn.Sequential(convolution, module, nn.ReLU())
        assert torch.equal(model(x), module(convolution(x)).relu())


# Learning


@pytest.mark.parametrize("learnable", [True, "alpha", ("k",), ["k", "beta"], False, ()])
def test_parameters(learnable: Any) -> None:
    module = LocalResponseNorm(4, 1.2, 0.6, 1.1, learnable=learnable)
    every = {"alpha": 1.2, "beta": 0.6, "k": 1.1}
    names = every if learnable is True else {learnable} if learnable == "alpha" else learnable or ()
    parameters = dict(module.named_parameters())
    assert set(parameters) == set(names) == set(module.state_dict())
    for name, p in parameters.items():
        assert (p.shape, p.dtype, p.requires_grad) == ((1,), torch.float32, True)
        assert p.item() == np.float32(every[name])
    x = sample().double()
    torch.testing.assert_close(
        module(x), F.local_response_norm(x, 4, 1.2, 0.6, 1.1), rtol=1e-6, atol=1e-6
    )


def test_parameters_learn() -> None:
    """From other numbers back to the ones that made the target."""
    x = sample(8, 7, 6, 6).double()
    target = F.local_response_norm(x, 5, 2.0, 0.6, 1.4)
    module = LocalResponseNorm(5, 1.0, 0.75, 1.0, learnable=True)
    optimizer = torch.optim.LBFGS(
        module.parameters(), lr=0.5, max_iter=60, line_search_fn="strong_wolfe"
    )

    def loss() -> Any:
        optimizer.zero_grad()
        value = (module(x) - target).pow(2).mean()
        value.backward()
        return value

    first = loss().item()
    optimizer.step(loss)
    assert loss().item() < first * 1e-4
    learned = [p.item() for p in (module.alpha, module.beta, module.k)]
    np.testing.assert_allclose(learned, [2.0, 0.6, 1.4], rtol=0.1)


def test_half_models_keep_their_dtype() -> None:
    model = nn.Sequential(nn.Conv2d(3, 7, 3), LocalResponseNorm(5, 1.0, learnable=True))
    for kind in (torch.bfloat16, torch.float16, torch.float64):
        module = copy.deepcopy(model).to(kind)
        y = module(sample(2, 3, 6, 6).to(kind))
        y.sum().backward()
        assert y.dtype == kind == module[1].alpha.grad.dtype
        assert torch.isfinite(module[1].alpha.grad).all()


def test_checkpoints() -> None:
    for module in learning():
        for p in module.parameters():
            nn.init.constant_(p, 0.7)
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        fresh = copy.deepcopy(module)
        for p in fresh.parameters():
            nn.init.constant_(p, 0.1)
        assert not any(fresh.load_state_dict(torch.load(file, weights_only=True)))
        assert torch.equal(fresh(sample()), module(sample()))


@pytest.mark.parametrize("assign", [False, True])
def test_old_checkpoints_load_strictly(assign: bool) -> None:
    def model(layer: Any) -> Any:
        return nn.Sequential(nn.Conv2d(3, 7, 3), nn.Sequential(layer), nn.Conv2d(7, 2, 1))

    old = model(nn.LocalResponseNorm(4, 1.2)).state_dict()
    keys = list(old)
    ours = model(LocalResponseNorm(4, 1.2, learnable=True))
    assert not any(ours.load_state_dict(old, strict=True, assign=assign))
    assert list(old) == keys  # the checkpoint itself is left alone
    layer = ours[1][0]
    assert [p.item() for p in layer.parameters()] == [np.float32(1.2), 0.75, 1.0]
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in layer.parameters())
    assert torch.equal(ours[0].weight, old["0.weight"])
    with pytest.raises(RuntimeError, match="Unexpected key"):
        ours.load_state_dict({**old, "1.0.gamma": torch.ones(1)})
    del old["0.bias"]
    with pytest.raises(RuntimeError, match=re.escape('Missing key(s) in state_dict: "0.bias"')):
        ours.load_state_dict(old)


def test_new_checkpoints_keep_their_names() -> None:
    model = nn.Sequential(nn.ReLU(), LocalResponseNorm(4, learnable=["k", "alpha"]))
    assert list(model.state_dict()) == ["1.alpha", "1.k"]


def test_copies() -> None:
    x = sample()
    for module in [*learning(), LocalResponseNorm(4, 1.2), Layer(input=(7, None, None))]:
        module.eval()
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert torch.equal(other(x), module(x))
            assert repr(other) == repr(module)
            assert not other.training
            assert not {id(p) for p in other.parameters()} & {id(p) for p in module.parameters()}


def test_a_whole_module_in_a_file() -> None:
    file = io.BytesIO()
    module = LocalResponseNorm(4, 1.2, learnable=True)
    torch.save(module, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(sample()), module(sample()))


def test_they_print_what_builds_them() -> None:
    texts = {
        repr(LocalResponseNorm(5)): "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)",
        repr(LocalResponseNorm(5, 1.2, learnable=True)): (
            "LocalResponseNorm(5, alpha=1.2, beta=0.75, k=1, learnable=('alpha', 'beta', 'k'))"
        ),
        repr(Layer(input=(7, None, 5))): (
            "LocalResponseNormalizationLayer(alpha=1.0, beta=0.5, bias=1.0, "
            "channel_window_size=2, input=(7, None, 5))"
        ),
        repr(Layer(channel_window_size=(1, 2), learnable="bias")): (
            "LocalResponseNormalizationLayer(alpha=1.0, beta=0.5, bias=1, "
            "channel_window_size=(1, 2), learnable=('bias',))"
        ),
    }
    for shown, expected in texts.items():
        assert shown == expected
        words = {
            "LocalResponseNorm": LocalResponseNorm,
            "LocalResponseNormalizationLayer": Layer,
        }
        assert repr(eval(shown, words)) == shown
    assert repr(LocalResponseNorm(5, learnable="k").to("meta")) == (
        "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=?, learnable=('k',))"
    )


def test_without_memory() -> None:
    """On the meta device and in fake tensors, as large models are set up."""
    with torch.device("meta"):
        module = LocalResponseNorm(5, learnable=True)
        assert module(torch.empty(2, 7, 3)).shape == (2, 7, 3)
    assert module.alpha.is_meta
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        module = LocalResponseNorm(5, learnable=True)
        y = module(torch.empty(2, 7, 3, requires_grad=True))
        y.sum().backward()
        assert y.shape == (2, 7, 3)
        assert module.alpha.grad.shape == (1,)


def test_lazy_models_learn_their_shapes() -> None:
    model = nn.Sequential(nn.LazyConv2d(7, 3), LocalResponseNorm(5), nn.Flatten(), nn.LazyLinear(3))
    assert model.eval()(torch.empty(0, 3, 6, 6)).shape == (0, 3)
    assert model[3].in_features == 7 * 4 * 4
