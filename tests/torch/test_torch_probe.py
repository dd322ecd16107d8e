"""Hand-written LRN modules are found by what they compute."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest

import lrnorm
from lrnorm import KindError, LRNSpec, ParameterError

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import lrnorm.torch  # noqa: E402

find, replace = lrnorm.torch.find, lrnorm.torch.replace
Ours = lrnorm.torch.LocalResponseNorm


class Pooled(nn.Module):
    """The layer of many ports of Caffe's nets: across channels, or within one."""

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, across: bool = True):
        super().__init__()
        self.across, self.alpha, self.beta = across, alpha, beta
        if across:
            pad = ((size - 1) // 2, 0, 0)
            self.average = nn.AvgPool3d((size, 1, 1), stride=1, padding=pad)
        else:
            self.average = nn.AvgPool2d(size, stride=1, padding=(size - 1) // 2)

    def forward(self, x: Any) -> Any:
        if self.across:
            div = self.average(x.pow(2).unsqueeze(1)).squeeze(1)
        else:
            div = self.average(x.pow(2))
        return x.div(div.mul(self.alpha).add(1.0).pow(self.beta))


class Band(nn.Module):
    """By a 1×1 convolution with a band of ones, for 7 channels only."""

    def __init__(self) -> None:
        super().__init__()
        offset = torch.arange(7)[:, None] - torch.arange(7)
        self.register_buffer("band", (offset.abs() <= 1).float()[:, :, None, None])

    def forward(self, x: Any) -> Any:
        return x * (2 + 0.1 * F.conv2d(x * x, self.band)) ** -0.5


class Leaning(nn.Module):
    """One channel more on the side where PyTorch's layer has one fewer."""

    def forward(self, x: Any) -> Any:
        padded = F.pad(x * x, (0, 0, 0, 0, 1, 2))
        sums = sum(padded[:, i : i + x.shape[1]] for i in range(4))
        return x / (1 + 0.2 * sums).sqrt()


class WideAlongThreeAxes(nn.Module):
    """41 channels of (batch, channels, length)."""

    def forward(self, x: Any) -> Any:
        squares = F.pad((x * x)[:, None], (0, 0, 20, 20))
        return x / (1 + 0.5 * F.avg_pool2d(squares, (41, 1), stride=1)[:, 0]) ** 0.75


class PixelNorm(nn.Module):
    def forward(self, x: Any) -> Any:
        return x / torch.sqrt((x * x).mean(1, keepdim=True) + 1e-8)


class Noisy(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + torch.randn_like(x)


class Same(nn.Module):
    def forward(self, x: Any) -> Any:
        return x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 7, 3), Pooled(5, 1.2), nn.ReLU(), Band(), Pooled(3, across=False), Same()
        )
        self.norm = Leaning()

    def forward(self, x: Any) -> Any:
        return self.norm(self.features(x))


SPECS = {
    "features.1": LRNSpec(1.2 / 5, 0.75, 1.0, 2, 2),
    "features.3": LRNSpec(0.1, 0.5, 2.0, 1, 1),
    "norm": LRNSpec(0.2, 0.5, 1.0, 1, 2),
}


def images() -> Any:
    return torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(1)) * 2


def test_find_measures_what_it_does_not_know() -> None:
    assert not find(Net())
    assert find(Net(), probe=True) == SPECS
    assert find(Pooled(), probe=True) == {"": LRNSpec(2e-5, 0.75, 1.0, 2, 2)}


def test_replace_swaps_what_is_verified_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    model, x = Net(), images()
    y = model(x)
    with caplog.at_level(logging.INFO, "lrnorm.torch"):
        assert replace(model, probe=True) is model
    assert [type(model.features[1]), type(model.features[3])] == [Ours, Ours]
    assert type(model.norm) is lrnorm.torch.LocalResponseNormalizationLayer
    assert type(model.features[4]) is Pooled
    assert all(spec.isclose(SPECS[path], rel_tol=1e-15) for path, spec in find(model).items())
    torch.testing.assert_close(model(x), y)
    assert len(caplog.records) == 3
    assert "features.1: Pooled(" in caplog.text
    assert "LocalResponseNorm(3, alpha=0.3" in caplog.text
    assert "(measured: off by" in caplog.text


def test_without_probe_nothing_is_measured() -> None:
    model = Net()
    with pytest.warns(UserWarning, match="probe=True measures hand-written modules"):
        replace(model)
    assert type(model.norm) is Leaning


def test_a_window_to_the_end_of_the_axis_stays(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(PixelNorm())
    [spec] = find(model, probe=True).values()
    assert (spec.before, spec.after) == (None, None)
    replace(model, probe=True)
    assert type(model[0]) is PixelNorm
    assert "0 stays: its window reaches to the end of the axis" in caplog.text


def test_measuring_leaves_no_trace() -> None:
    model = Net().train()
    called = []
    model.norm.register_forward_hook(lambda *_: called.append("hook"))
    model.features.add_module("noise", Noisy())
    state, torch_state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    find(model, probe=True)
    assert not called
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert all(part.training for part in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    replace(model, probe=True)
    model(images())
    assert called == ["hook"]


def test_modules_with_parameters_are_not_measured() -> None:
    class Scaled(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

    assert not find(Scaled(), probe=True)


def test_nothing_found_names_patched_where_the_function_is_called() -> None:
    class Calls(nn.Module):
        def forward(self, x: Any) -> Any:
            return F.local_response_norm(x, 5)

    class Untraceable(Calls):
        def forward(self, x: Any) -> Any:
            return F.local_response_norm(x, 5) if x.sum() > 0 else x

    for model in (Calls(), nn.Sequential(Calls()), Untraceable()):
        with pytest.warns(UserWarning, match=r"run it within lrnorm\.torch\.patched\(\)"):
            replace(model)
    with pytest.warns(UserWarning, match="found no LRN module") as caught:
        replace(nn.Sequential(nn.ReLU()), probe=True)
    assert "patched" not in str(caught[0].message)


# also


def test_nothing_is_changed_unless_all_is_known() -> None:
    model = nn.Sequential(nn.LocalResponseNorm(5), Pooled(), Leaning())

    def fails(module: Any) -> Any:
        raise AttributeError("no size")

    with pytest.raises(AttributeError):
        replace(model, also={Pooled: lambda m: {"size": 5}, Leaning: fails})
    with pytest.raises(ParameterError, match="size"):
        replace(model, also={Pooled: lambda m: {"size": 0}})
    with pytest.raises(KindError, match=r"also\[Pooled\] must return a mapping, an LRNSpec or No"):
        replace(model, also={Pooled: lambda m: 5})
    assert type(model[0]) is nn.LocalResponseNorm


def test_none_leaves_one_alone() -> None:
    model = nn.Sequential(Pooled(3), Pooled(5))
    replace(model, also={Pooled: lambda m: None if m is model[0] else {"size": 5}})
    assert [type(m) for m in model] == [Pooled, Ours]


def test_specs_and_plain_arguments_are_taken() -> None:
    leaning = LRNSpec(0.2, 0.5, 1.0, 1, 2)
    for answer in (leaning, lambda m: leaning):
        assert find(replace(nn.Sequential(Leaning()), also={Leaning: answer})) == {"0": leaning}
    model = replace(nn.Sequential(Pooled()), also={Pooled: {"size": 3, "alpha": 0.3}})
    assert repr(model[0]) == "LocalResponseNorm(3, alpha=0.3, beta=0.75, k=1.0)"


@pytest.mark.parametrize(
    ("also", "text"),
    [
        ([Pooled], "also must map classes to functions"),
        ({"Pooled": dict}, "each key of also must be a class, got 'Pooled'"),
        ({Pooled: 5}, r"also\[Pooled\] must be a function, got 5"),
    ],
)
def test_wrong_kinds_of_also_are_refused(also: Any, text: str) -> None:
    for function in (find, replace):
        with pytest.raises(KindError, match=text):
            function(nn.Sequential(nn.LocalResponseNorm(5)), also=also)


def test_a_window_wider_than_the_first_probes_of_three_axes() -> None:
    [spec] = lrnorm.torch.find(nn.Sequential(WideAlongThreeAxes()), probe=True).values()
    assert (spec.before, spec.after) == (20, 20)
    assert spec.isclose(lrnorm.LRNSpec(0.5 / 41, 0.75, 1.0, 20, 20))
