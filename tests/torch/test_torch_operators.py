"""The operators that exported and traced models call: PyTorch's own check, values, derivatives."""

from __future__ import annotations

import re
from typing import Any

import pytest
from differentiable import LEANING, close, plain, sample

from lrnorm import KindError

torch = pytest.importorskip("torch")

from torch.autograd import forward_ad, gradcheck  # noqa: E402
from torch.func import grad, jvp, vjp, vmap  # noqa: E402

import lrnorm.torch  # noqa: E402, F401 — it registers them

# PyTorch's own, where it sets up forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

FLOATS = (LEANING.scale, LEANING.beta, LEANING.bias)
COEFFICIENTS = torch.tensor(FLOATS, dtype=torch.float64)
WINDOW = ([2], [1], [1])
# Tensors of each operator, and whether it can be differentiated.
OPERATORS = {
    "forward": (("x",), FLOATS, True),
    "vjp": (("x", "g"), FLOATS, True),
    "jvp": (("x", "g"), FLOATS, True),
    "parameters": (("x", "g"), FLOATS, False),
    "learned_forward": (("x",), (COEFFICIENTS,), True),
    "learned_vjp": (("x", "g"), (COEFFICIENTS,), False),
    "learned_parameters": (("x", "g"), (COEFFICIENTS,), False),
}


def operator(name: str, dtype: Any = torch.float64) -> tuple[Any, tuple[Any, ...]]:
    names, numbers, differentiable = OPERATORS[name]
    tensors = [sample(2, 5, 3, seed=i, dtype=dtype) for i in range(len(names))]
    inputs = (*tensors, *(n.clone() if torch.is_tensor(n) else n for n in numbers), *WINDOW)
    if differentiable:
        for a in inputs:
            if torch.is_tensor(a):
                a.requires_grad_()
    return getattr(torch.ops.lrnorm, name).default, inputs


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_pass_pytorchs_check(name: str, dtype: Any) -> None:
    torch.library.opcheck(*operator(name, dtype))


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_compute(name: str) -> None:
    call, inputs = operator(name)
    x, *rest = (a.detach() for a in inputs if torch.is_tensor(a))
    g = rest[0] if rest and rest[0].shape == x.shape else None
    numbers = [torch.tensor(n, dtype=torch.float64) for n in FLOATS]

    def of_numbers(*numbers: Any) -> Any:
        return (plain(x, numbers=numbers) * g).sum()

    expected = {
        "forward": lambda: plain(x),
        "vjp": lambda: vjp(plain, x)[1](g)[0],
        "jvp": lambda: jvp(plain, (x,), (g,))[1],
        "parameters": lambda: torch.stack(grad(of_numbers, (0, 1, 2))(*numbers)),
    }[name.removeprefix("learned_")]()
    close(call(*inputs).detach(), expected)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_under_vmap(name: str) -> None:
    call, inputs = operator(name)
    tensors = [torch.is_tensor(a) for a in inputs]
    stacked = [
        torch.stack([a.detach(), a.detach() * 1.1, a.detach() * 0.9], dim=-1) if t else a
        for a, t in zip(inputs, tensors, strict=True)
    ]
    got = vmap(call, tuple(-1 if t else None for t in tensors))(*stacked)
    each = [
        call(*(a[..., i] if t else a for a, t in zip(stacked, tensors, strict=True)))
        for i in range(3)
    ]
    close(got, torch.stack(each))


@pytest.mark.parametrize("name", [n for n, (_, _, d) in OPERATORS.items() if d])
def test_operators_have_gradients(name: str) -> None:
    call, inputs = operator(name)
    assert gradcheck(call, inputs)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_refuse_forward_mode(name: str) -> None:
    """PyTorch would answer with a tangent of zero."""
    call, inputs = operator(name)
    inputs = tuple(a.detach() if torch.is_tensor(a) else a for a in inputs)
    x, *rest = inputs
    verb = name.removeprefix("learned_")
    text = re.escape(f"the operator lrnorm::{verb}, which exported and traced models call, has no")
    with pytest.raises(KindError, match=text):
        jvp(lambda x: call(x, *rest), (x,), (x,))
    with forward_ad.dual_level(), pytest.raises(KindError, match=text):
        call(forward_ad.make_dual(x, x), *rest)
