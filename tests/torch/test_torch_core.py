"""The core function and its derivatives, called with tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from refusals import refusal

import lrnorm
from lrnorm import KindError, LRNSpec, OutputError, ShapeError
from lrnorm._spec import reference as reference

torch = pytest.importorskip("torch")

from tensors import LAYOUTS, SHAPE, every_dtype, same_bits, sample, wide  # noqa: E402

import lrnorm.torch  # noqa: E402

ours = lrnorm.torch.local_response_norm
forward = lrnorm.local_response_norm
vjp = lrnorm.local_response_norm_vjp
jvp = lrnorm.local_response_norm_jvp

SPEC = LRNSpec(0.3, 0.75, 1.1, 2, 1)


def test_axis_left_out_is_that_of_the_channels() -> None:
    x = sample()
    assert same_bits(forward(x), forward(x, axis=1))
    assert same_bits(forward(x[0]), forward(x[0], axis=0))
    assert same_bits(forward(x, axis=-3), forward(x, axis=1))
    assert not torch.allclose(forward(x), forward(x, axis=0))
    with refusal(ShapeError, "got an array of rank 2. Pass the axis of the channels"):
        forward(x[0, 0])


@pytest.mark.parametrize(
    "whole", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str
)
def test_integers_become_what_halving_gives(whole: Any) -> None:
    x = (sample().abs() * 3).to(whole)
    y = forward(x, spec=SPEC)
    assert y.dtype == (x / 2).dtype == torch.float32
    assert same_bits(y, forward(x.float(), spec=SPEC))
    assert same_bits(ours(x, 3), ours(x.float(), 3))
    assert vjp(x, sample(), spec=SPEC).dtype == torch.float32


@every_dtype
def test_dtype_of_the_result(kind: Any) -> None:
    x = sample(dtype=torch.float32)
    y = forward(x, spec=SPEC, dtype=kind)
    assert y.dtype == kind
    assert same_bits(forward(x, spec=SPEC, dtype=str(kind).removeprefix("torch.")), y)
    wider = torch.promote_types(kind, torch.float32)
    assert same_bits(y, forward(x.to(wider), spec=SPEC).to(kind))


def test_gradient_goes_through_the_change_of_dtype() -> None:
    x = sample(dtype=torch.float32).requires_grad_()
    forward(x, spec=SPEC, dtype=torch.float64).sum().backward()
    expected = reference.vjp(x.detach().numpy(), np.ones(SHAPE), SPEC, 1)
    torch.testing.assert_close(x.grad.double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-6)


@every_dtype
def test_out_is_written_and_returned(kind: Any) -> None:
    x = sample(dtype=kind)
    expected = forward(x, spec=SPEC)
    for layout in ("contiguous", "channels last", "strided"):
        out = LAYOUTS[layout](torch.zeros_like(x))
        assert forward(x, spec=SPEC, out=out) is out
        assert same_bits(out, expected)
    whole = (x * 3).to(torch.int32)
    out = torch.empty(SHAPE)
    assert forward(whole, spec=SPEC, out=out) is out
    assert same_bits(out, forward(whole, spec=SPEC))
    for same in (x, x[:], x.view(SHAPE)):
        before = x.clone()
        assert forward(x, spec=SPEC, out=same) is same
        assert same_bits(x, expected)
        x.copy_(before)


def test_out_beside_x_in_the_same_memory() -> None:
    whole = sample((6, 7, 4, 5))
    expected = forward(whole[::2], spec=SPEC)
    forward(whole[::2], spec=SPEC, out=whole[1::2])
    assert same_bits(whole[1::2].contiguous(), expected)


def test_out_refused() -> None:
    x = sample()
    for out, kind, text in (
        (np.empty(SHAPE), KindError, "out must be a torch.Tensor, got numpy.ndarray."),
        (
            torch.empty(3, 7, 5, 4),
            OutputError,
            "out must have the shape of x, (3, 7, 4, 5), got (3, 7, 5, 4).",
        ),
        (
            torch.empty(SHAPE),
            OutputError,
            "out must have the dtype of the result, torch.float64, got torch.float32.",
        ),
        (
            torch.empty((1, 7, 4, 5), dtype=torch.float64).expand(SHAPE),
            OutputError,
            "got an expanded tensor or a view that overlaps itself, with strides (0, 20, 5, 1). "
            "Leave it out for a new tensor.",
        ),
    ):
        with refusal(kind, text):
            forward(x, out=out)


def test_out_that_overlaps_is_refused() -> None:
    whole = sample((4, 7, 4, 5))
    shared = whole.numpy()
    for x, out in (
        (whole[:3], whole[1:]),
        (torch.from_numpy(shared[:3]), torch.from_numpy(shared[1:])),
        (whole.transpose(2, 3)[:, :, :4], whole[..., :4]),
    ):
        before = whole.clone()
        with refusal(OutputError, "out overlaps x without being x itself"):
            forward(x, axis=1, out=out)
        assert same_bits(whole, before)


def test_out_is_refused_where_a_gradient_is_recorded() -> None:
    x = sample().requires_grad_()
    text = "out cannot be given where a gradient is recorded. Leave it out, or compute under"
    with refusal(OutputError, text):
        forward(x, out=torch.empty_like(x))
    with refusal(OutputError, text):
        forward(x.detach(), out=torch.empty_like(x).requires_grad_())
    with torch.no_grad():
        assert same_bits(forward(x, out=torch.empty_like(x)), forward(x))


VERBS = {
    "forward": lambda x, **words: forward(x, spec=SPEC, **words),
    "vjp": lambda x, **words: vjp(x, sample(x.shape, x.dtype, 1), spec=SPEC, **words),
    "jvp": lambda x, **words: jvp(x, sample(x.shape, x.dtype, 1), spec=SPEC, **words),
}


@every_dtype
@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "strided", "lazily negated"])
def test_every_verb_writes_into_out(verb: Any, kind: Any, layout: str) -> None:
    x = sample(dtype=kind)
    x[:, ::3] *= torch.finfo(kind).max / 8  # computed again after its neighbours
    expected = verb(x)
    out = LAYOUTS[layout](torch.zeros_like(x))
    assert verb(x, out=out) is out
    assert same_bits(out.contiguous(), expected)
    x = LAYOUTS[layout](x)
    for same in (x, x[:]):
        before = x.clone()
        assert verb(x, out=same) is same
        assert same_bits(x.contiguous(), expected)
        x.copy_(before)


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_out_may_be_a_view_of_negated_values(verb: Any) -> None:
    x = sample(dtype=torch.float32)
    out = torch.zeros(SHAPE, dtype=torch.complex64).conj().imag
    assert out.is_neg()
    assert verb(x, out=out) is out
    assert same_bits(out, verb(x))


@pytest.mark.parametrize(("verb", "name"), [(vjp, "g"), (jvp, "t")], ids=["vjp", "jvp"])
def test_out_of_a_derivative(verb: Any, name: str) -> None:
    x, other = sample(), sample(seed=1)
    expected = verb(x, other, spec=SPEC)
    assert same_bits(
        verb(x, other.float().double(), spec=SPEC, out=torch.empty_like(x)),
        verb(x, other.float(), spec=SPEC),
    )
    assert same_bits(verb(x, x, spec=SPEC), verb(same := x.clone(), same, spec=SPEC, out=same))
    overlaps = f"out overlaps {name}, so elements would be overwritten before they are read. Pass"
    before = other.clone()
    with refusal(OutputError, overlaps):
        verb(x, other, spec=SPEC, out=other)
    with refusal(OutputError, overlaps):
        verb(x[1:], other[1:], spec=SPEC, out=other[:2])
    assert same_bits(other, before)
    with refusal(OutputError, "must have the dtype of the result, torch.float64, got torch.float"):
        verb(x, other, spec=SPEC, out=x.float())
    with refusal(KindError, "out must be a torch.Tensor, got numpy.ndarray."):
        verb(x, other, spec=SPEC, out=np.empty(SHAPE))
    with refusal(OutputError, "out cannot be given where a gradient is recorded."):
        verb(x, other.requires_grad_(), spec=SPEC, out=torch.empty_like(x))
    with torch.no_grad():
        assert same_bits(verb(x, other, spec=SPEC, out=x), expected)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # of make_dual
@pytest.mark.parametrize(("verb", "count"), [(forward, 1), (vjp, 2), (jvp, 2)])
def test_out_is_refused_under_a_transform(verb: Any, count: int) -> None:
    x, forward_ad = sample(), torch.autograd.forward_ad
    text = "out cannot be given under torch.func or forward-mode differentiation. Leave it out."
    with refusal(OutputError, text):
        torch.func.vmap(lambda v, out: verb(*[v] * count, out=out))(x, torch.empty_like(x))
    with forward_ad.dual_level(), refusal(OutputError, text):
        verb(*[forward_ad.make_dual(x, x)] * count, out=torch.empty_like(x))


def test_parameter_gradients_with_out_are_those_of_x_before() -> None:
    x, g = sample(), sample(seed=1)
    dx, expected = vjp(x, g, spec=SPEC, parameters=True)
    result, gradients = vjp(x, g, spec=SPEC, parameters=True, out=x)
    assert result is x
    assert same_bits(x, dx)
    assert gradients == expected


@every_dtype
def test_derivatives_of_the_core_function(kind: Any, spec: LRNSpec) -> None:
    x, other = sample(dtype=kind), sample(dtype=kind, seed=1)
    for axis in (0, 1, 3):
        for verb, exact in ((vjp, reference.vjp), (jvp, reference.jvp)):
            actual = verb(x, other, spec=spec, axis=axis)
            assert actual.dtype == kind
            expected = torch.from_numpy(exact(wide(x), wide(other), spec, axis))
            # Each is a difference of terms of the size of these numbers.
            tolerance = 16 * torch.finfo(kind).eps
            torch.testing.assert_close(
                actual.double(), expected, rtol=tolerance, atol=tolerance * 4
            )
        dx, gradients = vjp(x, other, spec=spec, axis=axis, parameters=True)
        assert same_bits(dx, vjp(x, other, spec=spec, axis=axis))
        expected = reference.parameter_gradients(wide(x), wide(other), spec, axis)
        assert list(gradients) == list(expected)
        for name, value in gradients.items():
            assert (value.dtype, value.shape) == (torch.float64, ())
            np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-8)


def test_parameter_gradients_by_alpha() -> None:
    x, g = sample(), sample(seed=1)
    spec = LRNSpec.from_keywords(1.3, 0.6, 1.2, (2, 1))
    _, by_words = vjp(
        x, g, alpha=1.3, beta=0.6, bias=1.2, channel_window_size=(2, 1), parameters=True
    )
    _, by_spec = vjp(x, g, spec=spec, parameters=True)
    assert list(by_words) == ["alpha", "beta", "bias"]
    np.testing.assert_allclose(by_words["alpha"], by_spec["scale"] / 4, rtol=1e-14)


def test_derivatives_take_mixed_types() -> None:
    x, g = sample(dtype=torch.float16), sample(dtype=torch.float32, seed=1)
    for verb in (vjp, jvp):
        y = verb(x, g, spec=SPEC)
        assert y.dtype == torch.float16
        assert same_bits(y, verb(x.float(), g, spec=SPEC).half())


def test_core_function_refuses() -> None:
    x = sample()
    for call, kind, text in (
        (
            lambda: forward(x, dtype="float8"),
            KindError,
            "dtype must be float16, bfloat16, float32 or float64, got 'float8'.",
        ),
        (
            lambda: vjp(x, x[:1]),
            ShapeError,
            "g must have the shape of x, (3, 7, 4, 5), got (1, 7, 4, 5).",
        ),
        (
            lambda: jvp(x, x.to("meta")),
            KindError,
            "t must be on the device of x, cpu, got meta.",
        ),
        (lambda: vjp(x, x.numpy()), KindError, "g must be a torch.Tensor, got numpy.ndarray."),
        (
            lambda: forward(x, size=5),
            KindError,
            "size is a width in PyTorch: here channel_window_size=2, or "
            "lrnorm.torch.local_response_norm(x, 5)",
        ),
    ):
        with refusal(kind, text):
            call()


def test_shapes_without_values() -> None:
    """Tensors on the meta device tell shapes and dtypes."""
    x = sample(dtype=torch.float16).to("meta")
    for y in (ours(x, 3), ours(x, 3, alpha=torch.ones(1, device="meta")), vjp(x, x), jvp(x, x)):
        assert (y.device.type, y.shape, y.dtype) == ("meta", x.shape, x.dtype)
