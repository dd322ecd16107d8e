"""The PyTorch front: tensors of any device, layout and gradient, with an LRNSpec.

    y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

`lrnorm.local_response_norm` comes here with a tensor; `lrnorm.torch` has the functions and modules
in PyTorch's own words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrnorm._fronts.memory import has_own_places
from lrnorm._fronts.torch import autograd, cpu
from lrnorm._fronts.torch.formula import Window
from lrnorm._spec.errors import KindError, OutputError, ShapeError
from lrnorm._spec.spec import LRNSpec, resolve_axis

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in _FLOATS}


def check_tensor(x: Any, name: str) -> None:
    """A dense tensor of a type that the kernels compute in, or of integers."""
    if not isinstance(x, Tensor):
        raise KindError(
            f"{name} must be a torch.Tensor, got {type(x).__module__}.{type(x).__qualname__}. "
            "For other arrays: lrnorm.local_response_norm."
        )
    if x.dtype not in _FLOATS and x.dtype not in _WHOLE:
        way = (
            f"Normalize the real and the imaginary part, or abs({name}), as the model means."
            if x.is_complex()
            else f"Convert it first, for example {name}.float()."
        )
        raise KindError(
            f"{name} must hold float16, bfloat16, float32, float64, integers or booleans, "
            f"got {x.dtype}. {way}"
        )
    if x.layout is not torch.strided:
        raise KindError(f"{name} must be dense, got {x.layout}. Pass {name}.to_dense().")


def _natural(x: Tensor) -> torch.dtype:
    """What `x / 2` has."""
    return x.dtype if x.dtype in _FLOATS else torch.get_default_dtype()


def _requested(dtype: Any) -> torch.dtype:
    wanted = _NAMES.get(dtype) if isinstance(dtype, str) else dtype
    if wanted not in _FLOATS:
        raise KindError(
            f"dtype must be torch.float16, bfloat16, float32 or float64, or its name, "
            f"got {dtype!r}."
        )
    return wanted


def _check_out(out: Any, x: Tensor, dtype: torch.dtype) -> None:
    if not isinstance(out, Tensor):
        raise KindError(f"out must be a torch.Tensor, got {type(out).__qualname__}.")
    if out.shape != x.shape or out.device != x.device:
        raise OutputError(
            f"out must have the shape and device of x, {tuple(x.shape)} on {x.device}, "
            f"got {tuple(out.shape)} on {out.device}."
        )
    if out.dtype != dtype:
        raise OutputError(f"out must have the dtype of the result, {dtype}, got {out.dtype}.")
    if torch.is_grad_enabled() and (x.requires_grad or out.requires_grad):
        raise OutputError(
            "out cannot be given where a gradient is recorded. Leave it out, or compute under "
            "torch.no_grad()."
        )
    if not has_own_places(out.stride(), out.shape):
        raise OutputError(
            "out must have a place of its own for every element, got an expanded tensor or a view "
            f"that overlaps itself, with strides {out.stride()}. Leave it out for a new tensor."
        )
    if out is not x and _overlaps(out, x):
        raise OutputError(
            "out overlaps x without being x itself, so elements would be overwritten before "
            "they are read. Pass out=x, or a tensor of its own."
        )


def _steps(t: Tensor) -> list[tuple[int, int]]:
    """Stride and size of the axes that have more than one element."""
    return [(s, n) for s, n in zip(t.stride(), t.shape, strict=True) if n > 1]


def _overlaps(out: Tensor, x: Tensor) -> bool:
    """Whether they share memory otherwise than element by element; on other devices than the CPU,
    whether the stretches of memory that they span meet."""
    if not out.numel() or out.is_meta:
        return False

    def places(t: Tensor) -> tuple[Any, ...]:
        return t.data_ptr(), _steps(t), t.dtype

    def end(t: Tensor) -> int:
        return t.data_ptr() + t.element_size() * (1 + sum(s * (n - 1) for s, n in _steps(t)))

    if places(out) == places(x) or out.data_ptr() >= end(x) or x.data_ptr() >= end(out):
        return False
    return not out.is_cpu or np.shares_memory(cpu.array(out), cpu.array(x))


def numbers_and_window(x: Tensor, spec: LRNSpec, axis: int) -> tuple[Any, Window]:
    before, after = spec.ends(x.shape[axis])
    return (spec.scale, spec.beta, spec.bias), Window(before, after, axis)


def forward(
    x: Tensor, spec: LRNSpec, axis: int | None = None, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """y[c] = x[c] * D[c]**-beta along `axis`; see `lrnorm.local_response_norm`."""
    check_tensor(x, "x")
    axis = resolve_axis(axis, x.ndim)
    natural = _natural(x)
    result = natural if dtype is None else _requested(dtype)
    working = torch.promote_types(natural, result)
    numbers, window = numbers_and_window(x, spec, axis)
    if out is None:
        return autograd.forward(x.to(working), numbers, window).to(result)
    _check_out(out, x, result)
    if type(out) is Tensor and out.is_cpu and working == result == x.dtype:
        return cpu.forward_into(x, out, numbers, window)
    return out.copy_(autograd.forward(x.to(working), numbers, window))  # type: ignore[no-any-return]


def _pair(x: Tensor, other: Any, name: str) -> tuple[Tensor, Tensor]:
    """x and the tensor that goes with it, in one type the kernels compute in."""
    check_tensor(x, "x")
    check_tensor(other, name)
    if other.shape != x.shape:
        raise ShapeError(
            f"{name} must have the shape of x, {tuple(x.shape)}, got {tuple(other.shape)}."
        )
    if other.device != x.device:
        raise KindError(f"{name} must be on the device of x, {x.device}, got {other.device}.")
    working = torch.promote_types(_natural(x), _natural(other))
    return x.to(working), other.to(working)


def vjp(x: Tensor, g: Tensor, spec: LRNSpec, axis: int | None = None) -> Tensor:
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)), m over the
    mirrored window; see `lrnorm.local_response_norm_vjp`. Differentiable by x and g."""
    pair = _pair(x, g, "g")
    numbers, window = numbers_and_window(x, spec, resolve_axis(axis, x.ndim))
    return autograd.vjp(*pair, numbers, window).to(_natural(x))


def jvp(x: Tensor, t: Tensor, spec: LRNSpec, axis: int | None = None) -> Tensor:
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j]); see
    `lrnorm.local_response_norm_jvp`. Differentiable by x and t."""
    pair = _pair(x, t, "t")
    numbers, window = numbers_and_window(x, spec, resolve_axis(axis, x.ndim))
    return autograd.jvp(*pair, numbers, window).to(_natural(x))


def parameter_gradients(
    x: Tensor, g: Tensor, spec: LRNSpec, axis: int | None = None
) -> dict[str, Tensor]:
    """The derivatives of sum(g * y) by scale, beta and bias: float64 tensors without axes."""
    pair = _pair(x, g, "g")
    numbers, window = numbers_and_window(x, spec, resolve_axis(axis, x.ndim))
    totals = autograd.parameters(*pair, numbers, window)
    return dict(zip(("scale", "beta", "bias"), totals.unbind(), strict=True))


def converted(x: Tensor, dtype: str) -> Tensor:
    """x in the type of that name."""
    return x.to(_requested(dtype))


def ones_like(x: Tensor) -> Tensor:
    return torch.ones_like(x)


def joined(pieces: Iterable[Tensor], like: Tensor) -> Tensor:
    """Pieces of a batch as one tensor, in the memory format of `like`."""
    del like  # torch.cat keeps the format of its pieces
    return torch.cat(list(pieces))


def taken_to(device: str, x: Any) -> Tensor:
    """A NumPy array or a tensor as a tensor on that device, of the type its result has."""
    if isinstance(x, Tensor):
        return x.to(device)
    if type(x) not in (np.ndarray, np.memmap):
        raise KindError(
            f"target_device takes NumPy arrays, lists and tensors to a GPU, got "
            f"{type(x).__module__}.{type(x).__qualname__}. Put it there as its library does, and "
            "leave target_device out."
        )
    if x.dtype.kind == "V":  # ml_dtypes' bfloat16 goes as its bits
        return torch.from_numpy(np.array(x.view(np.uint16))).view(torch.bfloat16).to(device)
    natural = np.float64 if x.dtype.kind in "iub" else x.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(x, natural)).to(device)  # a copy, which may be written to


def taken_back(y: Tensor, like: Any) -> Any:
    """The opposite of `taken_to`: as an array of the kind of `like`, where that is."""
    if isinstance(like, Tensor):
        return y.to(like.device)
    y = y.cpu()
    if y.dtype is torch.bfloat16:
        return y.view(torch.uint16).numpy().view(like.dtype)
    return y.numpy()
