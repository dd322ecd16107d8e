"""The same verbs as operators of PyTorch's library, for what sees only those: torch.compile,
torch.export, torch.jit.trace, fake tensors, DTensor.

    lrnorm::forward(x, scale, beta, bias, before, after, axes) -> y
    lrnorm::vjp(x, g, …) -> dx
    lrnorm::jvp(x, t, …) -> dy
    lrnorm::parameters(x, g, …) -> (3,) float64, the derivatives by scale, beta, bias

and `lrnorm::learned_forward`, `learned_vjp`, `learned_parameters`, which take the three numbers
as one tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from lrnorm._fronts.torch import cpu, formula
from lrnorm._fronts.torch.formula import Window
from lrnorm._spec.errors import KindError

_TENSORS = {
    "forward": "Tensor x",
    "vjp": "Tensor x, Tensor g",
    "jvp": "Tensor x, Tensor t",
    "parameters": "Tensor x, Tensor g",
}


def call(verb: str, *arguments: Any) -> Tensor:
    """The operator for (tensors…, coefficients, window)."""
    *tensors, coefficients, window = arguments
    if type(tensors[0]).__name__ == "DTensor":  # torch.distributed is loaded, then
        import lrnorm._fronts.torch.dtensor  # noqa: F401  registers the rules
    result: Tensor
    if isinstance(coefficients, Tensor):
        result = getattr(torch.ops.lrnorm, f"learned_{verb}")(*tensors, coefficients, *window)
    else:
        result = getattr(torch.ops.lrnorm, verb)(*tensors, *coefficients, *window)
    return result


def _grouped(tensors: int, learned: bool, arguments: Any) -> tuple[Any, ...]:
    """An operator's flat arguments as (tensors…, coefficients, window)."""
    *rest, before, after, axes = arguments
    coefficients = rest[tensors] if learned else tuple(rest[tensors:])
    return *rest[:tensors], coefficients, Window(*map(tuple, (before, after, axes)))


def _refuse_forward_mode(verb: str) -> None:
    """PyTorch would drop the tangents of an operator without a word. Inside an autograd.Function,
    which takes care of them, they are switched off."""
    if forward_ad._current_level >= 0 and torch._C._is_fwd_grad_enabled():
        raise KindError(
            f"the operator lrnorm::{verb}, which exported and traced models call,",
            "has no forward-mode derivative",
            way_out="Differentiate lrnorm.torch.local_response_norm or the module that was "
            "exported.",
        )


def _kernel(verb: str, tensors: int, learned: bool) -> Callable[..., Tensor]:
    def kernel(*arguments: Any) -> Tensor:
        _refuse_forward_mode(verb)
        return cpu.on_device(verb, *_grouped(tensors, learned, arguments))

    return kernel


def _fake(verb: str) -> Callable[..., Tensor]:
    def fake(x: Tensor, *_: Any) -> Tensor:
        _refuse_forward_mode(verb)
        if verb == "parameters":
            return x.new_empty(3, dtype=torch.float64)
        return torch.empty_like(x)

    return fake


def batched(verb: Any, in_dims: Any, *arguments: Any) -> tuple[Tensor, int]:
    """The rule of vmap: the mapped axis goes in front, as one more axis of pixels."""
    *tensors, coefficients, window = arguments
    size = next(t.shape[d] for t, d in zip(tensors, in_dims, strict=False) if d is not None)
    moved = [
        t.movedim(d, 0) if d is not None else t.expand(size, *t.shape)
        for t, d in zip(tensors, in_dims, strict=False)
    ]
    return verb(
        *moved, coefficients, window._replace(axes=tuple(axis + 1 for axis in window.axes))
    ), 0


def _vmap(verb: str, tensors: int, learned: bool) -> Callable[..., tuple[Tensor, int]]:
    def rule(info: Any, in_dims: Any, *arguments: Any) -> tuple[Tensor, int]:
        if not learned and verb != "parameters":
            return batched(partial(call, verb), in_dims, *_grouped(tensors, learned, arguments))
        # One sum, or one set of numbers, for each example.
        each = [
            [
                a.select(d, i) if isinstance(d, int) else a  # the ends, a list, have a list of None
                for a, d in zip(arguments, in_dims, strict=True)
            ]
            for i in range(info.batch_size)
        ]
        return torch.stack([call(verb, *_grouped(tensors, learned, a)) for a in each]), 0

    return rule


def _setup_context(tensors: int, learned: bool) -> Callable[..., None]:
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *operands, coefficients, ctx.window = _grouped(tensors, learned, inputs)
        ctx.numbers = None if learned else coefficients
        ctx.save_for_backward(*operands, *([coefficients] if learned else []))

    return setup_context


_NO_MORE = (None,) * 6  # the numbers and the window have no gradients


def _forward_backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
    return call("vjp", *ctx.saved_tensors, g, ctx.numbers, ctx.window), *_NO_MORE


def second_backward(
    ctx: Any, u: Tensor, verb: str, other: Callable[..., Tensor]
) -> tuple[Tensor | None, Tensor | None]:
    """The derivatives of sum(u * verb(x, operand)), `verb` being vjp or jvp: by x the composed
    formula, by the operand the `other` of the two."""
    x, operand = ctx.saved_tensors
    by_x = by_operand = None
    if ctx.needs_input_grad[0]:
        g, t = (operand, u) if verb == "vjp" else (u, operand)
        by_x = formula.hessian(x, g, t, ctx.numbers, ctx.window)
    if ctx.needs_input_grad[1]:
        by_operand = other(x, u, ctx.numbers, ctx.window)
    return by_x, by_operand


def learned_backward(
    ctx: Any, g: Tensor, compute: Callable[..., Tensor]
) -> tuple[Tensor | None, Tensor | None]:
    """The derivatives of sum(g * y) by x and by a tensor of the numbers, each by `compute`."""
    x, coefficients = ctx.saved_tensors
    arguments = x, g, coefficients, ctx.window
    dx = by_coefficients = None
    if ctx.needs_input_grad[0]:
        dx = compute("vjp", *arguments)
    if ctx.needs_input_grad[1]:
        by_coefficients = compute("parameters", *arguments).to(coefficients)
    return dx, by_coefficients


_BACKWARD: dict[tuple[str, bool], Callable[..., tuple[Any, ...]]] = {
    ("forward", False): _forward_backward,
    ("vjp", False): lambda ctx, t: (
        *second_backward(ctx, t, "vjp", partial(call, "jvp")),
        *_NO_MORE,
    ),
    ("jvp", False): lambda ctx, g: (
        *second_backward(ctx, g, "jvp", partial(call, "vjp")),
        *_NO_MORE,
    ),
    ("forward", True): lambda ctx, g: (*learned_backward(ctx, g, call), None, None, None),
}


def _define(verb: str, learned: bool) -> None:
    name = f"lrnorm::learned_{verb}" if learned else f"lrnorm::{verb}"
    operands = _TENSORS[verb]
    numbers = "Tensor coefficients" if learned else "float scale, float beta, float bias"
    torch.library.define(
        name,
        f"({operands}, {numbers}, int[] before, int[] after, int[] axes) -> Tensor",
        tags=(torch.Tag.pt2_compliant_tag,),
    )
    tensors = operands.count("Tensor")
    torch.library.impl(name, "default", _kernel(verb, tensors, learned))
    torch.library.register_fake(name, _fake(verb))
    torch.library.register_vmap(name, _vmap(verb, tensors, learned))
    backward = _BACKWARD.get((verb, learned))
    if backward:
        torch.library.register_autograd(
            name, backward, setup_context=_setup_context(tensors, learned)
        )


for _verb in _TENSORS:
    _define(_verb, learned=False)
for _verb in ("forward", "vjp", "parameters"):
    _define(_verb, learned=True)
