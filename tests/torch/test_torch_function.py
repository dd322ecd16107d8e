"""Tensors in PyTorch's words: values, layouts, dtypes, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refusal
from tolerances import assert_close, for_forward

import lrnorm
from lrnorm import KindError, LRNSpec, ParameterError, ShapeError
from lrnorm._spec import reference as reference

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from tensors import DTYPES, LAYOUTS, SHAPE, array, every_dtype, misaligned, same_bits, sample, wide  # noqa: E402

import lrnorm.torch  # noqa: E402

ours = lrnorm.torch.local_response_norm
forward = lrnorm.local_response_norm
vjp = lrnorm.local_response_norm_vjp
jvp = lrnorm.local_response_norm_jvp

SPEC = LRNSpec(0.3, 0.75, 1.1, 2, 1)
NUMBERS = {"alpha": 1.3, "beta": 0.6, "k": 1.2}


# Values


@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_on_every_axis(kind: Any, layout: str, spec: LRNSpec) -> None:
    x = LAYOUTS[layout](sample(dtype=kind))
    before = x.clone()
    for axis in range(x.ndim):
        y = forward(x, spec=spec, axis=axis)
        assert (y.dtype, y.device, y.shape) == (x.dtype, x.device, x.shape)
        actual = array(y)
        expected = reference.forward(wide(x), spec, axis)
        assert_close(actual, expected, for_forward(actual.dtype, spec.beta), note=(layout, axis))
    assert same_bits(x, before)


@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 12])
def test_pytorchs_words(kind: Any, layout: str, size: int) -> None:
    x = LAYOUTS[layout](sample(dtype=kind))
    spec = LRNSpec(1.3 / size, 0.6, 1.2, size // 2, (size - 1) // 2)
    actual = array(ours(x, size, **NUMBERS))
    assert_close(actual, reference.forward(wide(x), spec, 1), for_forward(actual.dtype, 0.6))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        *(((1, 6, 3), 2), ((2, 6, 3), 2), ((1, 1, 2), 1), ((0, 1, 2), 1), ((1, 5, 7), 3)),
        *(((1, 5, 7, 7), 2), ((1, 5, 7, 7, 7), 1), ((2, 3, 4, 5, 2, 3), 5), ((2, 6, 0), 3)),
    ],
)
@pytest.mark.parametrize("numbers", [{}, NUMBERS], ids=["defaults", "numbers"])
def test_results_of_pytorch(shape: Any, size: int, numbers: dict[str, float]) -> None:
    for dtype in (torch.float32, torch.float64):
        x = sample(shape, dtype)
        torch.testing.assert_close(
            ours(x, size, **numbers), F.local_response_norm(x, size, **numbers)
        )


def test_defaults_are_pytorchs() -> None:
    x = sample(SHAPE) * 100  # alpha = 1e-4 shows in large values
    assert same_bits(ours(x, 5), ours(x, 5, 1e-4, 0.75, 1.0))
    torch.testing.assert_close(ours(x, 5), F.local_response_norm(x, 5), rtol=1e-12, atol=0)


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "transposed"])
def test_memory_format_is_kept(layout: str) -> None:
    x = LAYOUTS[layout](sample()).requires_grad_()
    y = ours(x, 5)
    y.sum().backward()
    assert y.stride() == x.stride() == x.grad.stride()


def test_other_memory() -> None:
    x = sample()
    expected = forward(x, spec=SPEC)
    expanded = x[:1].expand(3, -1, -1, -1)
    assert same_bits(forward(expanded, spec=SPEC), expected[:1].expand(3, -1, -1, -1).contiguous())
    at_odd_address = misaligned(x)
    assert at_odd_address.data_ptr() % x.element_size()
    assert same_bits(forward(at_odd_address, spec=SPEC), expected)
    assert same_bits(vjp(at_odd_address, x, spec=SPEC), vjp(x, x, spec=SPEC))
    assert same_bits(
        forward(at_odd_address, spec=SPEC, out=torch.empty_like(x)), forward(x, spec=SPEC)
    )
    volume = sample((2, 5, 3, 4, 2)).contiguous(memory_format=torch.channels_last_3d)
    assert ours(volume, 3).is_contiguous(memory_format=torch.channels_last_3d)
    assert same_bits(ours(volume, 3), ours(volume.contiguous(), 3))


def test_empty_tensors_get_empty_gradients() -> None:
    for shape in ((0, 4, 3), (2, 0, 3), (2, 4, 0)):
        x = torch.ones(shape, requires_grad=True)
        y = ours(x, 3, alpha=torch.tensor(1.0, requires_grad=True))
        y.sum().backward()
        assert y.shape == x.grad.shape == shape


@every_dtype
def test_large_and_small_values(kind: Any) -> None:
    """Squares leave the type, results do not."""
    largest = torch.finfo(kind).max
    for value in (min(1e20, largest), largest, torch.finfo(kind).tiny):
        x = torch.full((1, 3, 2), value, dtype=kind)
        # scale · Σ is 2, 3 and 2 squares, beside which a bias of 1 vanishes if they are large.
        bias = 1.0 if value > 1 else 0.0
        y = ours(x, 3, alpha=3.0, beta=0.5, k=bias)[0, :, 0].double()
        expected = torch.tensor([2, 3, 2], dtype=torch.float64) ** -0.5
        np.testing.assert_allclose(y, expected, rtol=2 * torch.finfo(kind).eps)


def test_what_pytorch_gets_wrong() -> None:
    """The reasons to be: a version of PyTorch that is right may strike these."""
    x = torch.full((1, 3, 1, 1), 1e20)
    assert not F.local_response_norm(x, 3, alpha=3.0, beta=0.5).any()
    with pytest.raises(RuntimeError, match="not implemented"):
        F.local_response_norm(x.half(), 3)


def test_nan_and_infinity_stay_in_their_windows() -> None:
    x = sample((2, 9, 3))
    clean = ours(x, 3)
    for bad in (torch.nan, torch.inf):
        spoiled = x.clone()
        spoiled[1, 4, 2] = bad
        y = ours(spoiled, 3)
        same = torch.isclose(y, clean, rtol=0, atol=0)
        assert not same[1, 3:6, 2].any()
        same[1, 3:6, 2] = True
        assert same.all()


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_pytorchs_number_of_threads_is_obeyed(
    threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrnorm._fronts.torch import cpu

    asked = []

    def spy(name: str) -> Any:
        verb = getattr(cpu._core, name)

        def called(*arguments: Any) -> Any:
            asked.append(arguments[-1])
            return verb(*arguments)

        return called

    x = sample((4, 24, 40, 40), torch.float32)
    results = []
    for name in ("forward", "vjp"):
        monkeypatch.setattr(cpu._core, name, spy(name))
        monkeypatch.setitem(cpu._CORE, name, cpu._in_core(name))
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append((ours(x, 5), vjp(x, x, spec=SPEC)))
    assert asked == [1, 1, 2, 2, 3, 3]
    for one, other in itertools.pairwise(results):
        assert all(map(same_bits, one, other))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.tuples(*[st.integers(0, 9)] * 2, st.integers(1, 40)),
    st.integers(1, 12),
    st.floats(0.1, 3),
    st.sampled_from([0.25, 0.5, 0.75, 1.0, 0.6, 1.7, -0.5]),
    st.floats(0.5, 2),
    st.sampled_from(DTYPES),
)
def test_tensors_give_the_bits_of_arrays(
    shape: Any, size: int, alpha: float, beta: float, k: float, dtype: Any
) -> None:
    x = sample(shape, dtype)
    y = ours(x, size, alpha, beta, k)
    spec = LRNSpec(alpha / size, beta, k, size // 2, (size - 1) // 2)
    assert array(y).tobytes() == forward(array(x), spec=spec, axis=1).tobytes()
    assert same_bits(y, forward(x, spec=spec, axis=1))


# What is refused


@pytest.mark.parametrize(
    ("x", "kind", "text"),
    [
        (
            lambda x: x.numpy(),
            KindError,
            "input must be a torch.Tensor, got numpy.ndarray. "
            "For other arrays call lrnorm.local_response_norm.",
        ),
        (lambda x: x.to(torch.complex64), KindError, "got torch.complex64. Normalize the real"),
        (
            lambda x: x.to(torch.float8_e4m3fn),
            KindError,
            "got torch.float8_e4m3fn. Convert it first, for example with input.float().",
        ),
        (
            lambda x: x.to_sparse(),
            KindError,
            "input must be dense, got torch.sparse_coo. Pass input.to_dense().",
        ),
        (
            lambda x: x[0, 0],
            ShapeError,
            "input must be (batch, channels, …) of rank 3 or more, got shape (4, 5). "
            "For other ranks: lrnorm.local_response_norm(x, axis=…).",
        ),
    ],
)
def test_inputs_refused(x: Any, kind: Any, text: str) -> None:
    with refusal(kind, text):
        ours(x(sample()), 3)


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        (
            (0,),
            ParameterError,
            "size must be a positive integer, got 0. It is the width of the window: "
            "5 averages over 5 channels.",
        ),
        ((2.0,), ParameterError, "size must be a positive integer, got 2.0."),
        (("5",), KindError, "size must be a positive integer, got '5'."),
        ((True,), ParameterError, "size must be a positive integer, got True."),
        ((3, float("nan")), ParameterError, "alpha must be finite, got nan."),
        ((3, 1, float("inf")), ParameterError, "beta must be finite, got inf."),
        ((3, 1, 1, "a"), KindError, "k must be a number or a tensor of one element, got 'a'."),
        ((3, True), KindError, "alpha must be a number or a tensor of one element, got True."),
        (
            (3, torch.ones(2)),
            ParameterError,
            "alpha must be a number or a floating-point tensor of one element, got torch.float32 "
            "of shape (2,).",
        ),
        (
            (3, torch.tensor(1)),
            ParameterError,
            "alpha must be a number or a floating-point tensor of one element, got torch.int64",
        ),
    ],
)
def test_numbers_refused(arguments: Any, kind: Any, text: str) -> None:
    with refusal(kind, text):
        ours(sample(), *arguments)
