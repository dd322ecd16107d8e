"""target_device: what is sent to a GPU comes back as what it was.

Without a card, PyTorch's CPU stands in for one under another name.
"""

from __future__ import annotations

import sys

import ml_dtypes
import numpy as np
import pytest

import lrnorm
from lrnorm import DeviceError, LocalResponseNormalizationLayer

LAYER = LocalResponseNormalizationLayer(alpha=2.0, beta=0.75, channel_window_size=(2, 1))


def sample(*shape: int, dtype: str = "float32") -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(shape) * 3).astype(dtype)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def sent(monkeypatch, torch):
    """The devices that arrays were taken to."""
    from lrnorm._fronts.torch import front

    devices = []
    taken_to = front.taken_to
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        front, "taken_to", lambda device, x: devices.append(device) or taken_to("cpu", x)
    )
    return devices


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", ">f4", "int16", "uint8", "bool", "bfloat16"]
)
def test_arrays_come_back_as_arrays(sent, dtype):
    x = sample(2, 5, 3, 4).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    y = LAYER(x, target_device="GPU")
    assert sent == ["cuda:0"]
    assert type(y) is np.ndarray
    assert y.dtype == LAYER(x).dtype
    np.testing.assert_array_equal(y, LAYER(x))


def test_the_number_of_the_gpu(sent):
    LAYER(sample(5, 2, 3), target_device=("GPU", 2))
    assert sent == ["cuda:1"]


def test_lists_tensors_and_batches(sent, torch):
    x = sample(3, 5, 2, 3)
    assert LAYER(x[0].tolist(), target_device="GPU") == LAYER(x[0].astype(float).tolist())
    for y, alone in zip(LAYER(list(x), target_device="GPU"), LAYER(list(x)), strict=True):
        np.testing.assert_array_equal(y, alone)
    tensor = torch.from_numpy(x).requires_grad_()
    y = LAYER(tensor, target_device="GPU", batch_size=2)
    assert torch.equal(y, LAYER(tensor)) and y.requires_grad
    assert sent == ["cuda:0"] * 5


@pytest.mark.parametrize("precision", ["Real16", "Real32", "Real64", "Mixed"])
def test_precision_goes_along(sent, precision):
    x = sample(5, 2, 3)
    y = LAYER(x, target_device="GPU", working_precision=precision)
    expected = LAYER(x, working_precision=precision)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)


def test_an_array_of_another_kind_is_told_to_go_by_itself(sent):
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match=r"takes NumPy arrays, lists and tensors, got arr"):
        LAYER(strict.ones((5, 2, 3)), target_device="GPU")


def test_what_cannot_be_is_refused_before_it_is_sent(sent):
    with pytest.raises(TypeError, match="port 'Input' must hold"):
        LAYER(sample(5, 2, 3).astype(complex), target_device="GPU")
    assert not sent


@pytest.mark.parametrize(("count", "there"), [(0, "no GPU"), (1, "1 GPU"), (2, "2 GPUs")])
def test_a_gpu_that_is_not_there(monkeypatch, torch, count, there):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(
        DeviceError, match=rf"'GPU', 3\) must be there: PyTorch finds {there} here\..*'CPU'"
    ):
        LAYER(sample(5, 2, 3), target_device=("GPU", 3))


def test_without_pytorch_there_is_no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'lrnorm\[torch\]'"):
        LAYER(sample(5, 2, 3), target_device="GPU")


def test_a_net_computes_where_its_arrays_are(sent):
    net = lrnorm.NetChain([LAYER])
    with pytest.raises(DeviceError, match=r"Move the modules to 'cuda:0' and pass x\.to"):
        net(sample(5, 2, 3), target_device="GPU")
