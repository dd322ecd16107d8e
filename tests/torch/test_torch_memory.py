"""Large tensors lie in memory that is used again, and are tensors like any other."""

from __future__ import annotations

import copy
import io

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

import lrnorm.torch  # noqa: E402

LARGE = 4 << 20


@pytest.fixture(autouse=True)
def smaller_results_are_large(monkeypatch):
    monkeypatch.setattr("lrnorm._fronts.torch.cpu.LARGE", LARGE)


def sample(dtype=None, memory_format=torch.contiguous_format):
    x = torch.randn(2, 32, 192, 192, generator=torch.Generator().manual_seed(0))
    return x.to(dtype or torch.float32).contiguous(memory_format=memory_format)


def normalized(x):
    return lrnorm.torch.local_response_norm(x, 5, 1.0)


def test_the_next_result_lies_where_the_last_one_lay():
    x = sample()
    assert x.nbytes >= LARGE
    y = normalized(x)
    place = y.data_ptr()
    del y
    assert normalized(x).data_ptr() == place


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_it_is_no_view_and_keeps_dtype_and_format(dtype, memory_format):
    x = sample(dtype, memory_format)
    y = normalized(x)
    assert (y.dtype, y.stride(), y.storage_offset()) == (dtype, x.stride(), 0)
    assert y._base is None
    torch.testing.assert_close(
        y.double(), F.local_response_norm(x.double(), 5, 1.0), rtol=1e-2, atol=1e-6
    )


def test_gradients_and_changes_in_place():
    x = sample().requires_grad_()
    y = normalized(x)
    y.mul_(2)
    y.sum().backward()
    expected = torch.autograd.grad(F.local_response_norm(x, 5, 1.0).mul_(2).sum(), x)[0]
    torch.testing.assert_close(x.grad, expected)
    with torch.no_grad():
        x.grad.zero_()
        assert not x.grad.any()


def test_held_results_are_left_alone_by_later_ones():
    x = sample().requires_grad_()
    first = normalized(x)
    (first * first).sum().backward()
    held, gradient = first.detach().clone(), x.grad.clone()
    for _ in range(4):
        torch.autograd.grad(normalized(x).sum(), x)
    assert torch.equal(first.detach(), held)
    assert torch.equal(x.grad, gradient)


def test_it_is_saved_copied_and_shared():
    y = normalized(sample())
    file = io.BytesIO()
    torch.save(y, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=True), y)
    assert torch.equal(copy.deepcopy(y), y)
    values = y.clone()
    assert y.share_memory_().is_shared()
    assert torch.equal(y, values)


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
def test_a_compiled_function_may_keep_its_results():
    compiled = torch.compile(lambda x: normalized(x) + 1, fullgraph=True)
    x = sample()
    first = compiled(x)
    values = first.clone()
    compiled(x * 2)
    assert torch.equal(first, values)
    torch.testing.assert_close(first, normalized(x) + 1)
