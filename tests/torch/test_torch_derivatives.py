"""Derivatives of tensors: every order, both modes, under torch.func and autocast."""

from __future__ import annotations

from typing import Any

import pytest
from differentiable import ALPHA, BETA, LEANING, K, close, plain, sample

import lrnorm
from lrnorm import LRNSpec

torch = pytest.importorskip("torch")

from torch.autograd import forward_ad, gradcheck, gradgradcheck  # noqa: E402
from torch.func import (  # noqa: E402
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)

import lrnorm.torch  # noqa: E402

# PyTorch's own, where it sets up forward mode and in func.linearize.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),
]

ours = lrnorm.torch.local_response_norm

SPECS = {
    "leaning": LRNSpec(0.3, 0.75, 1.1, 2, 1),
    "ahead": LRNSpec(0.4, 0.6, 0.9, 0, 2),
    "whole axis": LRNSpec(0.3, 0.5, 0.8, None, None),
    "steep": LRNSpec(0.3, 2.0, 1.3, 1, 1),
    "alone": LRNSpec(0.7, 1.0, 0.9, 0, 0),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def layer(x: Any) -> Any:
    return ours(x, 4, ALPHA, BETA, K)


# First and second derivatives, by differences


@every_spec
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_forward_has_every_derivative(spec: LRNSpec, axis: int) -> None:
    x = sample(2, 4, 3).requires_grad_()

    def call(x: Any) -> Any:
        return lrnorm.local_response_norm(x, spec=spec, axis=axis)

    assert gradcheck(
        call,
        (x,),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )
    assert gradgradcheck(call, (x,), check_fwd_over_rev=True, check_rev_over_rev=True)


@every_spec
@pytest.mark.parametrize("verb", ["local_response_norm_vjp", "local_response_norm_jvp"])
def test_derivatives_have_derivatives(spec: LRNSpec, verb: str) -> None:
    some = sample(1, 4, 2).requires_grad_(), sample(1, 4, 2, seed=1).requires_grad_()

    def call(x: Any, other: Any) -> Any:
        return getattr(lrnorm, verb)(x, other, spec=spec, axis=1)

    assert gradcheck(call, some, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(call, some)


def test_totals_have_derivatives() -> None:
    """The gradients by alpha, beta and bias, differentiated by x and g."""
    some = sample(1, 4, 2).requires_grad_(), sample(1, 4, 2, seed=1).requires_grad_()

    def call(x: Any, g: Any) -> Any:
        _, totals = lrnorm.local_response_norm_vjp(x, g, spec=LEANING, axis=1, parameters=True)
        return torch.stack(list(totals.values()))

    assert gradcheck(call, some, check_forward_ad=True)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_learned_numbers_have_every_derivative(size: int) -> None:
    x = sample(1, 4, 2).requires_grad_()
    numbers = [torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (ALPHA, BETA, K)]

    def call(x: Any, *numbers: Any) -> Any:
        return ours(x, size, *numbers)

    assert gradcheck(call, (x, *numbers), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(call, (x, *numbers), check_fwd_over_rev=True)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_each_number_alone_gets_its_gradient(which: int, shape: Any, dtype: Any) -> None:
    values: list[Any] = [1.25, 0.75, 1.5]  # exact in every dtype
    x, g = sample(2, 5, 3), sample(2, 5, 3, seed=1)
    values[which] = torch.full(shape, values[which], dtype=dtype, requires_grad=True)
    (ours(x, 4, *values) * g).sum().backward()

    exact: list[Any] = [1.25, 0.75, 1.5]
    exact[which] = torch.tensor(exact[which], dtype=torch.float64, requires_grad=True)
    alpha, beta, k = exact
    (plain(x, numbers=(alpha / 4, beta, k)) * g).sum().backward()
    got = values[which].grad
    assert (got.shape, got.dtype) == (shape, dtype)
    torch.testing.assert_close(
        got.double().reshape(()), exact[which].grad, rtol=4 * torch.finfo(dtype).eps, atol=0
    )


@pytest.mark.parametrize(
    "kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
@pytest.mark.parametrize("learned", [False, True])
def test_gradients_in_every_dtype(kind: Any, learned: bool) -> None:
    x, g = sample(2, 6, 3, dtype=kind).requires_grad_(), sample(2, 6, 3, seed=1, dtype=kind)
    numbers = [torch.tensor([v]) if learned else v for v in (1.25, 0.75, 1.5)]
    for n in numbers if learned else ():
        n.requires_grad_()
    (ours(x, 4, *numbers) * g).sum().backward()
    wide = x.detach().double().requires_grad_()
    alone = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.25, 0.75, 1.5)]
    (plain(wide, numbers=(alone[0] / 4, *alone[1:])) * g.double()).sum().backward()
    assert x.grad.dtype == kind
    eps = torch.finfo(kind).eps
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=8 * eps, atol=8 * eps)
    for n, exact in zip(numbers if learned else (), alone, strict=False):
        assert n.grad.dtype == torch.float32
        torch.testing.assert_close(n.grad.double()[0], exact.grad, rtol=1e-5, atol=1e-6)


def test_gradients_of_large_values() -> None:
    """In float32, where squares of the values leave the type."""
    x = (sample(1, 5, 2, dtype=torch.float32) * 1e20).requires_grad_()
    y = ours(x, 3, 3.0, 0.5)
    (dx,) = torch.autograd.grad((y * sample(1, 5, 2, seed=1)).sum(), x)
    wide = x.detach().double().requires_grad_()
    spec = LRNSpec(1.0, 0.5, 1.0, 1, 1)
    (exact,) = torch.autograd.grad((plain(wide, spec) * sample(1, 5, 2, seed=1)).sum(), wide)
    torch.testing.assert_close(dx.double(), exact, rtol=1e-5, atol=1e-26)


def test_only_the_input_is_kept() -> None:
    kept: list[Any] = []

    def pack(t: Any) -> Any:
        kept.append(t)
        return t

    x = sample(2, 6, 3).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        layer(x)
    assert [t.data_ptr() for t in kept] == [x.data_ptr()]
    kept.clear()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        ours(x, 4, torch.ones(1, requires_grad=True))
    assert sorted(t.numel() for t in kept) == [3, x.numel()]


def test_inputs_changed_after_use_are_noticed() -> None:
    x = sample(2, 6, 3)
    y = x.clone().requires_grad_() * 1
    z = layer(y)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_nothing_is_recorded_where_nothing_is_asked() -> None:
    x = sample(2, 6, 3).requires_grad_()
    with torch.no_grad():
        assert not layer(x).requires_grad
    with torch.inference_mode():
        close(layer(x), plain(x))
    assert not layer(x.detach()).requires_grad


def test_checkpointing() -> None:
    x = sample(2, 6, 3).requires_grad_()
    y = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
    close(torch.autograd.grad(y.sum(), x), torch.autograd.grad(plain(x).sum(), x))


# torch.func


X = sample(1, 4, 2)
CALLS = {
    "hessian": lambda f: hessian(lambda x: f(x).pow(2).sum())(X),
    "jacrev": lambda f: jacrev(f)(X),
    "jacfwd": lambda f: jacfwd(f)(X),
    "jacfwd of jacrev": lambda f: jacfwd(jacrev(f))(X),
    "jacrev of jacfwd": lambda f: jacrev(jacfwd(f))(X),
    "jacfwd twice": lambda f: jacfwd(jacfwd(f))(X),
    "jacrev twice": lambda f: jacrev(jacrev(f))(X),
    "jacrev three times": lambda f: jacrev(jacrev(jacrev(f)))(X),
    "jacfwd of both": lambda f: jacfwd(jacrev(jacfwd(f)))(X),
    "jvp": lambda f: jvp(f, (X,), (X.flip(1),)),
    "jvp of grad": lambda f: jvp(grad(lambda x: f(x).pow(2).sum()), (X,), (X.flip(1),)),
    "grad of jvp": lambda f: grad(lambda x: jvp(f, (x,), (X.flip(1),))[1].pow(2).sum())(X),
    "vjp": lambda f: vjp(f, X)[1](X.flip(1)),
    "linearize": lambda f: linearize(f, X)[1](X.flip(1)),
    "vmap": lambda f: vmap(f)(sample(3, 1, 4, 2)),
    "vmap, last axis": lambda f: vmap(f, in_dims=3, out_dims=2)(sample(1, 4, 2, 3)),
    "vmap twice": lambda f: vmap(vmap(f))(sample(2, 3, 1, 4, 2)),
    "vmap in chunks": lambda f: vmap(f, chunk_size=2)(sample(3, 1, 4, 2)),
    "gradient of each example": lambda f: vmap(grad(lambda x: f(x).sum()))(sample(3, 1, 4, 2)),
    "jvp of each example": lambda f: vmap(lambda x: jvp(f, (x,), (X,)))(sample(3, 1, 4, 2)),
    "one x, many tangents": lambda f: vmap(lambda t: jvp(f, (X,), (t,))[1])(sample(3, 1, 4, 2)),
    "hessian of each example": lambda f: vmap(hessian(lambda x: f(x).sum()))(sample(3, 1, 4, 2)),
    "jacobian of rank 4": lambda f: torch.autograd.functional.jacobian(f, sample(1, 4, 2, 1)),
    "hvp": lambda f: torch.autograd.functional.hvp(lambda x: f(x).pow(2).sum(), X, X.flip(1)),
}


@pytest.mark.parametrize("name", CALLS)
def test_transforms(name: str) -> None:
    got, expected = CALLS[name](layer), CALLS[name](plain)
    close(got, expected)


# Their arguments: x and the three numbers.
NUMBERS = tuple(torch.tensor(v, dtype=torch.float64) for v in (ALPHA, BETA, K))
LEARNED_CALLS = {
    "jacfwd": lambda f: jacfwd(f, (0, 1, 2, 3))(X, *NUMBERS),
    "jacrev": lambda f: jacrev(f, (0, 1, 2, 3))(X, *NUMBERS),
    "hessian": lambda f: hessian(lambda *a: f(*a).pow(2).sum(), (0, 1, 2, 3))(X, *NUMBERS),
    "mixed": lambda f: jacfwd(grad(lambda *a: f(*a).sum(), 0), (1, 2, 3))(X, *NUMBERS),
    "numbers of each example": lambda f: vmap(f, (None, 0, None, 0))(
        X, sample(3).abs(), BETA, sample(3, seed=1).abs()
    ),
    "gradients of each example": lambda f: vmap(
        grad(lambda *a: f(*a).sum(), (1, 2, 3)), (0, None, None, None)
    )(sample(3, 1, 4, 2), *NUMBERS),
}


@pytest.mark.parametrize("name", LEARNED_CALLS)
def test_transforms_by_the_numbers(name: str) -> None:
    def exact(x: Any, alpha: Any, beta: Any, k: Any) -> Any:
        return plain(x, numbers=(alpha / 4, beta, k))

    def learned(x: Any, alpha: Any, beta: Any, k: Any) -> Any:
        return ours(x, 4, alpha, beta, k)

    close(LEARNED_CALLS[name](learned), LEARNED_CALLS[name](exact))


def test_gradient_of_a_gradient_by_the_numbers() -> None:
    """What a gradient penalty needs: the numbers' gradient of the norm of the input's."""

    def penalty(f: Any) -> Any:
        x = X.clone().requires_grad_()
        numbers = [n.clone().requires_grad_() for n in NUMBERS]
        (dx,) = torch.autograd.grad(f(x, *numbers).pow(2).sum(), x, create_graph=True)
        return torch.autograd.grad(dx.pow(2).sum(), [x, *numbers])

    close(
        penalty(lambda x, alpha, beta, k: ours(x, 4, alpha, beta, k)),
        penalty(lambda x, alpha, beta, k: plain(x, numbers=(alpha / 4, beta, k))),
    )


def test_forward_mode_by_hand() -> None:
    t = X.flip(1)
    expected = jvp(plain, (X,), (t,))[1]
    with forward_ad.dual_level():
        y = layer(forward_ad.make_dual(X, t))
        close(forward_ad.unpack_dual(y).tangent, expected)
        assert forward_ad.unpack_dual(layer(X)).tangent is None


def test_functional_call() -> None:
    module = lrnorm.torch.LocalResponseNorm(4, ALPHA, BETA, K, learnable=True)

    def loss(parameters: Any, x: Any) -> Any:
        return functional_call(module, parameters, (x,)).pow(2).sum()

    parameters = {name: p.detach().double() for name, p in module.named_parameters()}
    got = grad(loss)(parameters, X)

    def exact(parameters: Any) -> Any:
        return plain(
            X, numbers=(parameters["alpha"][0] / 4, parameters["beta"][0], parameters["k"][0])
        )

    close(got, grad(lambda p: exact(p).pow(2).sum())(parameters))


def test_ensembles() -> None:
    modules = [lrnorm.torch.LocalResponseNorm(4, 1.0 + i, learnable=True) for i in range(3)]
    parameters, buffers = stack_module_state(modules)
    y = vmap(lambda p, b: functional_call(modules[0], (p, b), (X,)))(parameters, buffers)
    for i, module in enumerate(modules):
        torch.testing.assert_close(y[i], module(X))


# autocast


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("learned", [False, True])
def test_autocast_leaves_the_dtype(kind: Any, learned: bool) -> None:
    x = sample(2, 6, 3, dtype=kind).requires_grad_()
    alpha = torch.ones(1, requires_grad=True) if learned else 1.0
    (expected,) = torch.autograd.grad(ours(x, 4, alpha).sum(), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ours(x, 4, alpha)
        (dx,) = torch.autograd.grad(y.sum(), x)
        close(hessian(lambda x: layer(x).sum())(X), hessian(lambda x: plain(x).sum())(X))
    assert y.dtype == kind
    assert torch.equal(y, ours(x, 4, alpha))
    assert torch.equal(dx, expected)
