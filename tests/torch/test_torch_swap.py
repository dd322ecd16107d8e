"""Models that are already there: find, replace, patched."""

from __future__ import annotations

import copy
import logging
import re
import threading
from typing import Any

import pytest

import lrnorm
from lrnorm import KindError, LRNSpec, ParameterError
from lrnorm.conventions import read

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import lrnorm.torch  # noqa: E402

find, replace, patched = lrnorm.torch.find, lrnorm.torch.replace, lrnorm.torch.patched
Ours = lrnorm.torch.LocalResponseNorm


def sample(*shape: int, dtype: Any = torch.float32) -> Any:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(shape or (2, 7, 4, 5), generator=generator) * 1.5).to(dtype)


class Handwritten(nn.Module):
    """As the ports of Caffe's nets have it."""

    def __init__(self, local_size: int, alpha: float) -> None:
        super().__init__()
        self.local_size, self.alpha = local_size, alpha

    def forward(self, x: Any) -> Any:
        return F.local_response_norm(x, self.local_size, self.alpha)


class Doubled(nn.LocalResponseNorm):
    """A subclass that means something else."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) * 2


class Renamed(nn.LocalResponseNorm):
    """A subclass that means the same."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 7, 3), nn.LocalResponseNorm(4, 1.2, 0.6, 1.1), nn.ReLU()
        )
        self.blocks = nn.ModuleDict({"a": nn.Sequential(Renamed(5, 2.0)), "b": Doubled(3, 1.0)})
        self.nothing = None

    def forward(self, x: Any) -> Any:
        return self.blocks["b"](self.blocks["a"](self.features(x)))


def kinds(model: Any) -> dict[str, type]:
    return {
        path: type(m)
        for path, m in model.named_modules(remove_duplicate=False)
        if "Norm" in type(m).__qualname__ or isinstance(m, nn.LocalResponseNorm | Handwritten)
    }


def test_a_model_means_the_same_afterwards() -> None:
    model, x = Net(), sample(2, 3, 8, 8)
    expected, state = model(x), copy.deepcopy(model.state_dict())
    assert replace(model) is model
    assert kinds(model) == {"features.1": Ours, "blocks.a.0": Ours, "blocks.b": Doubled}
    torch.testing.assert_close(model(x), expected)
    assert not any(model.load_state_dict(state))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 20])
def test_windows_of_every_width_mean_the_same(size: int) -> None:
    theirs, x = nn.LocalResponseNorm(size, 1.2, 0.6, 1.1), sample()
    mine = replace(nn.Sequential(theirs))[0]
    assert type(mine) is Ours
    torch.testing.assert_close(mine(x), theirs(x))
    assert mine.spec == read("torch", size=size, alpha=1.2, beta=0.6, k=1.1)


def test_each_swap_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lrnorm.torch"):
        replace(Net(), learnable="beta")
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        (
            "lrnorm.torch",
            "features.1: LocalResponseNorm(4, alpha=1.2, beta=0.6, k=1.1) → "
            "LocalResponseNorm(4, alpha=1.2, beta=0.6, k=1.1, learnable=('beta',))",
        ),
        (
            "lrnorm.torch",
            "blocks.a.0: Renamed(5, alpha=2.0, beta=0.75, k=1.0) → "
            "LocalResponseNorm(5, alpha=2.0, beta=0.75, k=1.0, learnable=('beta',))",
        ),
    ]


def test_learnable_layers_take_the_old_checkpoint() -> None:
    model, x = Net(), sample(2, 3, 8, 8)
    state, expected = model.state_dict(), model(x)
    replace(model, learnable=True)
    assert {n for n, _ in model.named_parameters()} - set(state) == {
        f"{layer}.{number}"
        for layer in ("features.1", "blocks.a.0")
        for number in ("alpha", "beta", "k")
    }
    assert not any(model.load_state_dict(state, strict=True))
    torch.testing.assert_close(model(x), expected)
    model(x).sum().backward()
    assert model.features[1].alpha.grad.item() != 0


def test_a_model_that_is_a_layer_itself() -> None:
    layer = nn.LocalResponseNorm(5, 1.2).eval()
    mine = replace(layer)
    assert (type(mine), mine.training, mine.alpha) == (Ours, False, 1.2)
    assert replace(mine) is mine


def test_a_second_call_changes_nothing() -> None:
    model = replace(Net())
    layers = list(model.modules())
    assert list(replace(model, learnable=True).modules()) == layers


def test_shared_layers_stay_one() -> None:
    """Within one parent, and across parents."""
    shared = nn.LocalResponseNorm(3, 1.0)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Sequential(shared))
    expected = model(sample())
    replace(model, learnable=True)
    assert model[0] is model[2] is model[3][0]
    assert type(model[0]) is Ours
    assert len(list(model.parameters())) == 3
    torch.testing.assert_close(model(sample()), expected)


def test_shared_blocks_stay_one() -> None:
    block = nn.Sequential(nn.LocalResponseNorm(3, 1.0))
    model = replace(nn.Sequential(block, block))
    assert model[0] is model[1]
    assert type(model[0][0]) is Ours


def test_mode_device_and_hooks_stay() -> None:
    layer, called = nn.LocalResponseNorm(3, 1.0), []
    layer.register_forward_pre_hook(lambda m, args: called.append("before"))
    layer.register_forward_hook(
        lambda m, args, kwargs, y: called.append("after"), with_kwargs=True, always_call=True
    )
    layer.register_full_backward_hook(lambda m, gx, gy: called.append("backward"))
    layer.register_state_dict_post_hook(lambda m, *rest: called.append("saved"))
    model = replace(nn.Sequential(layer).eval())
    model(sample().requires_grad_()).sum().backward()
    model.state_dict()
    assert called == ["before", "after", "backward", "saved"]
    assert not model[0].training

    meta = nn.Sequential(nn.Conv2d(3, 7, 3), nn.LocalResponseNorm(3)).to("meta")
    assert replace(meta, learnable=True)[1].alpha.is_meta


def test_hooks_can_be_removed_afterwards() -> None:
    layer, called = nn.LocalResponseNorm(3, 1.0), []
    handle = layer.register_forward_hook(lambda *_: called.append(1))
    model = replace(nn.Sequential(layer))
    handle.remove()
    model(sample())
    assert not called


# CrossMapLRN2d


@pytest.mark.parametrize("size", [3, 4, 5])
def test_cross_map_layers_are_put_right_with_a_warning(size: int) -> None:
    model = nn.Sequential(nn.ReLU(), nn.CrossMapLRN2d(size, 1.2, 0.6, 1.1))
    with pytest.warns(UserWarning, match=r"^1: nn.CrossMapLRN2d is wrong in PyTorch") as caught:
        replace(model)
    assert [w.filename for w in caught] == [__file__]
    radius = (size - 1) // 2
    spec = LRNSpec(1.2 / size, 0.6, 1.1, radius, radius)
    assert model[1].spec.isclose(spec, rel_tol=1e-12)
    x = sample(dtype=torch.float64)
    torch.testing.assert_close(model[1](x), lrnorm.local_response_norm(x, spec=spec))


def test_the_first_channels_of_cross_map_layers_are_right() -> None:
    """Until its running sum first loses a channel: which tells the window it means."""
    x = sample(dtype=torch.float64)
    for size in (3, 4, 5):
        theirs = nn.CrossMapLRN2d(size, 1.2, 0.6, 1.1)
        with pytest.warns(UserWarning, match=r"^the model: nn.CrossMapLRN2d is wrong"):
            mine = replace(theirs)
        right = (size - 1) // 2 + 1
        torch.testing.assert_close(mine(x)[:, :right], theirs(x)[:, :right])
        assert not torch.allclose(mine(x), theirs(x))


# Hand-written layers


def test_classes_that_also_tells() -> None:
    model = nn.Sequential(Handwritten(4, 1.2), nn.Sequential(Handwritten(5, 2.0)))
    x = sample()
    expected = model(x)
    also = {Handwritten: lambda m: {"size": m.local_size, "alpha": m.alpha}}
    assert not find(model)
    assert list(find(model, also=also)) == ["0", "1.0"]
    replace(model, also=also)
    assert kinds(model) == {"0": Ours, "1.0": Ours}
    torch.testing.assert_close(model(x), expected)


def test_also_wins_over_what_is_known() -> None:
    model = nn.Sequential(Doubled(3), nn.LocalResponseNorm(5))
    replace(model, also={nn.LocalResponseNorm: lambda m: {"size": m.size + 2}})
    assert kinds(model) == {"0": Doubled, "1": Ours}
    assert model[1].size == 7


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"alpha": 1.0}, "may return alpha, beta and k, got alpha."),
        ({}, "got nothing."),
        ({"size": 5, "bias": 1.0}, "got size, bias."),
    ],
)
def test_what_also_must_return(answer: Any, text: str) -> None:
    model = nn.Sequential(Handwritten(5, 1.0))
    for call in (replace, find):
        with pytest.raises(ParameterError, match=re.escape(text)) as error:
            call(model, also={Handwritten: lambda m: answer})
        assert str(error.value).startswith("also[Handwritten] must return size, and may return")


# find


def test_find_tells_every_spec() -> None:
    model = Net()
    expected = {
        "features.1": LRNSpec(0.3, 0.6, 1.1, 2, 1),
        "blocks.a.0": LRNSpec(0.4, 0.75, 1.0, 2, 2),
    }
    assert find(model) == expected
    assert find(replace(model)) == expected
    layer = lrnorm.torch.LocalResponseNormalizationLayer()
    shared = nn.Sequential(layer, layer)
    assert find(shared) == {"0": layer.spec, "1": layer.spec}
    assert find(nn.LocalResponseNorm(4)) == {"": LRNSpec(2.5e-05, 0.75, 1.0, 2, 1)}
    assert find(nn.CrossMapLRN2d(4, 1.2))[""].isclose(LRNSpec(0.3, 0.75, 1, 1, 1), rel_tol=1e-12)
    assert not find(nn.ReLU())


@pytest.mark.parametrize("function", [find, replace])
def test_only_modules_are_taken(function: Any) -> None:
    text = f"{function.__name__}() takes a torch.nn.Module, got function."
    with pytest.raises(KindError, match=re.escape(text)):
        function(F.local_response_norm)


# patched


def huge() -> Any:
    return torch.full((1, 3, 1), 1e20)


def test_calls_of_the_function_are_ours_while_the_block_lasts() -> None:
    x = huge()
    assert not F.local_response_norm(x, 3, 3.0, 0.5).any()
    with patched():
        assert F.local_response_norm(x, 3, 3.0, 0.5).all()
        assert F.local_response_norm(x, size=3, alpha=3.0, beta=0.5, k=2.0).all()
        assert nn.LocalResponseNorm(3, 3.0, 0.5)(x).all()
        assert torch.equal(x + 1, x)  # everything else as ever
    assert not F.local_response_norm(x, 3, 3.0, 0.5).any()


def test_patched_calls_have_gradients() -> None:
    x = sample(dtype=torch.float64).requires_grad_()
    (expected,) = torch.autograd.grad(F.local_response_norm(x, 4, 1.2).sum(), x)
    with patched():
        (dx,) = torch.autograd.grad(F.local_response_norm(x, 4, 1.2).sum(), x)
    torch.testing.assert_close(dx, expected)


def test_the_patch_ends_with_an_error() -> None:
    with pytest.raises(ParameterError, match="size"), patched():
        F.local_response_norm(huge(), 0)
    assert not F.local_response_norm(huge(), 3, 3.0, 0.5).any()


def test_other_threads_are_left_alone() -> None:
    results = []

    def work() -> None:
        results.append(F.local_response_norm(huge(), 3, 3.0, 0.5))

    with patched():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)
    assert not results[0].any()
