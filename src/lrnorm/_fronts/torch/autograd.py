"""The verbs with their derivatives: each call goes the cheapest way that is right where it is.

    forward(x)      x is all that is kept for the backward pass
    vjp(x, g)       its derivative by g is jvp
    jvp(x, t)       its derivative by t is vjp

`coefficients` are three numbers (scale, beta, bias), or, in `forward`, a tensor of them that
may get gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from lrnorm._fronts.torch import cpu, formula, onnx_export, operators
from lrnorm._fronts.torch.formula import Window

Coefficients = Any  # tuple[float, float, float] | Tensor


def is_transformed() -> bool:
    """Whether torch.func or forward-mode differentiation is at work; Dynamo guards on both."""
    return bool(torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0)


def _is_bare(x: Tensor) -> bool:
    """Whether x is memory and nobody watches: no subclass, no mode, no trace."""
    return (
        (type(x) is Tensor or type(x) is torch.nn.Parameter)
        and not torch._C._len_torch_dispatch_stack()
        and not torch.jit._trace.is_tracing()  # type: ignore[no-untyped-call]
        and not torch._C._functorch.is_legacy_batchedtensor(x)
        and not x.is_meta
    )


def _without_derivative(verb: str, *arguments: Any) -> Tensor:
    """The verb without derivatives."""
    if not all(map(_is_bare, arguments[:-2])):
        return operators.call(verb, *arguments)
    return cpu.on_device(verb, *arguments)


def _compose(verb: str, *arguments: Any) -> Tensor:
    """The verb in operations that autograd and every transform see."""
    composed: Tensor = getattr(formula, verb)(*arguments)
    return composed


def _run(verb: str, function: Any, *arguments: Any) -> Tensor:
    """The verb with derivatives; `arguments` end with coefficients and window."""
    *tensors, coefficients, _ = arguments
    learned = isinstance(coefficients, Tensor)
    if torch.compiler.is_compiling():
        if is_transformed():
            return _compose(verb, *arguments)
        return operators.call(verb, *arguments)
    if is_transformed():
        return formula.forward(*arguments) if learned else function.apply(*arguments)
    if not all(map(_is_bare, tensors)):
        return operators.call(verb, *arguments)  # which differentiates by itself
    if torch.is_grad_enabled():
        watched = [*tensors, coefficients] if learned else tensors
        if any(t.requires_grad for t in watched):
            return function.apply(*arguments)  # type: ignore[no-any-return]
    return cpu.on_device(verb, *arguments)


def forward(x: Tensor, coefficients: Coefficients, window: Window) -> Tensor:
    """y = x · D^-beta, recorded for autograd where a gradient may be asked for."""
    # Outside a trace the second question is all that this costs.
    if (
        torch.compiler.is_compiling() or torch.jit._trace.is_tracing()  # type: ignore[no-untyped-call]
    ) and onnx_export.is_exporting():
        return onnx_export.forward(x, coefficients, window)
    return _run("forward", _Forward, x, coefficients, window)


def vjp(x: Tensor, g: Tensor, coefficients: Coefficients, window: Window) -> Tensor:
    """The gradient of sum(g * y) by x, itself differentiable."""
    return _run("vjp", _Vjp, x, g, coefficients, window)


def jvp(x: Tensor, t: Tensor, coefficients: Coefficients, window: Window) -> Tensor:
    """The derivative of y along t, itself differentiable."""
    return _run("jvp", _Jvp, x, t, coefficients, window)


def parameters(x: Tensor, g: Tensor, coefficients: Coefficients, window: Window) -> Tensor:
    """The derivatives of sum(g * y) by scale, beta and bias: float64, three of them."""
    watched = torch.is_grad_enabled() and (x.requires_grad or g.requires_grad)
    if watched or is_transformed():
        return formula.parameters(x, g, coefficients, window)
    if torch.compiler.is_compiling():
        return operators.call("parameters", x, g, coefficients, window)
    return _without_derivative("parameters", x, g, coefficients, window)


def _along(
    ctx: Any, verb: Any, second: Any, along_x: Tensor | None, along_operand: Tensor | None
) -> Tensor | None:
    """What verb(x, operand) gains along both: by the operand it is linear, by x it has `second`."""
    x, operand = ctx.saved_tensors
    by_operand = by_x = None
    if along_operand is not None:
        by_operand = verb(x, along_operand, ctx.numbers, ctx.window)
    if along_x is not None:
        by_x = second(x, operand, along_x, ctx.numbers, ctx.window)
    if by_operand is None or by_x is None:
        return by_x if by_operand is None else by_operand
    return by_operand + by_x  # type: ignore[no-any-return]


class _Forward(torch.autograd.Function):
    """The forward pass: saves x, and a tensor of the numbers."""

    @staticmethod
    def forward(x: Tensor, coefficients: Coefficients, window: Window) -> Tensor:
        return _without_derivative("forward", x, coefficients, window)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, coefficients, ctx.window = inputs
        ctx.learned = isinstance(coefficients, Tensor)
        ctx.numbers = None if ctx.learned else coefficients
        ctx.save_for_backward(x, *([coefficients] if ctx.learned else []))
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        if not ctx.learned:
            return vjp(ctx.saved_tensors[0], g, ctx.numbers, ctx.window), None, None
        # Where another derivative will be taken, everything has to be visible to autograd.
        compute = _compose if torch.is_grad_enabled() else _without_derivative
        return *operators.learned_backward(ctx, g, compute), None

    @staticmethod
    def jvp(ctx: Any, t: Tensor, *_: Any) -> Tensor:
        return jvp(ctx.saved_tensors[0], t, ctx.numbers, ctx.window)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> tuple[Tensor, int]:
        return operators.batched(forward, in_dims, *arguments)


class _OfTwo(torch.autograd.Function):
    """What the derivatives of vjp and jvp share."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, other, ctx.numbers, ctx.window = inputs
        ctx.save_for_backward(x, other)
        ctx.save_for_forward(x, other)


class _Vjp(_OfTwo):
    """vjp(x, g); its derivatives are jvp by g, and a formula by x."""

    @staticmethod
    def forward(x: Tensor, g: Tensor, coefficients: Coefficients, window: Window) -> Tensor:
        return _without_derivative("vjp", x, g, coefficients, window)

    @staticmethod
    def backward(ctx: Any, t: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        return *operators.second_backward(ctx, t, "vjp", jvp), None, None

    @staticmethod
    def jvp(ctx: Any, along_x: Tensor | None, along_g: Tensor | None, *_: Any) -> Tensor | None:
        return _along(ctx, vjp, formula.hessian, along_x, along_g)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> tuple[Tensor, int]:
        return operators.batched(vjp, in_dims, *arguments)


class _Jvp(_OfTwo):
    """jvp(x, t); its derivatives are vjp by t, and a formula by x."""

    @staticmethod
    def forward(x: Tensor, t: Tensor, coefficients: Coefficients, window: Window) -> Tensor:
        return _without_derivative("jvp", x, t, coefficients, window)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        return *operators.second_backward(ctx, g, "jvp", vjp), None, None

    @staticmethod
    def jvp(ctx: Any, along_x: Tensor | None, along_t: Tensor | None, *_: Any) -> Tensor | None:
        return _along(ctx, jvp, formula.curvature, along_x, along_t)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> tuple[Tensor, int]:
        return operators.batched(jvp, in_dims, *arguments)
