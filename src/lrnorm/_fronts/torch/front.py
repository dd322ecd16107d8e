"""The PyTorch front: tensors on any device, in any layout, with or without gradients.

    y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

`lrnorm.local_response_norm` passes tensors to it. `lrnorm.torch` holds the functions and modules
with PyTorch's own parameter names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrnorm._fronts.checks import (
    FLOATS,
    check_device,
    check_out_dtype,
    check_places,
    check_shape,
    wrong_dtype,
    wrong_kind,
    wrong_request,
)
from lrnorm._fronts.memory import Sharing, sharing
from lrnorm._fronts.torch import autograd, cpu
from lrnorm._fronts.torch.formula import Window
from lrnorm._spec.errors import KindError, OutputError
from lrnorm._spec.spec import Axis, LRNSpec, window_in

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_NAMES = {name: getattr(torch, name) for name in FLOATS}


def check_tensor(x: Any, name: str) -> None:
    """A dense tensor of a dtype that the kernels compute in, or of integers."""
    if not isinstance(x, Tensor):
        way_out = "For other arrays call lrnorm.local_response_norm."
        raise wrong_kind(name, "must be a torch.Tensor", x, way_out)
    if x.dtype not in _FLOATS and x.dtype not in _WHOLE:
        raise wrong_dtype(name, x.dtype, is_complex=x.is_complex(), conversion=f"{name}.float()")
    if x.is_nested:
        raise KindError(
            name,
            "must be a tensor of one shape",
            got="a nested tensor",
            way_out=f"Pass torch.nested.to_padded_tensor({name}, 0.0), where zeros change no other "
            f"result, or each tensor of {name}.unbind().",
        )
    if x.layout is not torch.strided:
        way_out = f"Pass {name}.to_dense()."
        raise KindError(name, "must be dense", value=x.layout, got=str(x.layout), way_out=way_out)


def _natural(x: Tensor) -> torch.dtype:
    """The dtype of `x / 2`."""
    return x.dtype if x.dtype in _FLOATS else torch.get_default_dtype()


def _requested(dtype: Any) -> torch.dtype:
    wanted: Any = _NAMES.get(dtype) if isinstance(dtype, str) else dtype
    if wanted not in _FLOATS:
        raise wrong_request(dtype, FLOATS)
    return wanted  # type: ignore[no-any-return]


def _check_out(out: Any, dtype: torch.dtype, inputs: Mapping[str, Tensor]) -> None:
    """`out` can take a result of `dtype` for `inputs`, which begin with x."""
    x = inputs["x"]
    if not isinstance(out, Tensor):
        new = "Leave it out for a new tensor."
        raise wrong_kind("out", "must be a torch.Tensor", out, new)
    check_shape(x, out, "out")
    check_device(x, out, "out")
    check_out_dtype(out, dtype)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (*inputs.values(), out)):
        raise OutputError(
            "out",
            "cannot be given where a gradient is recorded",
            way_out="Leave it out, or compute under torch.no_grad().",
        )
    if autograd.is_transformed():  # a copy into it would lose tangents
        rule = "cannot be given under torch.func or forward-mode differentiation"
        raise OutputError("out", rule, way_out="Leave it out.")
    check_places(out, out.stride(), 1, inputs, _sharing, "tensor")


def _sharing(out: Tensor, x: Tensor) -> Sharing:
    """How they share memory; on devices other than the CPU, tensors overlap where the stretches of
    memory that they span meet."""
    if not out.numel() or out.is_meta:
        return Sharing.NONE
    if out.is_cpu:
        return sharing(cpu.array(out), cpu.array(x))

    def steps(t: Tensor) -> list[tuple[int, int]]:
        return [(s, n) for s, n in zip(t.stride(), t.shape, strict=True) if n > 1]

    def end(t: Tensor) -> int:
        return t.data_ptr() + t.element_size() * (1 + sum(s * (n - 1) for s, n in steps(t)))

    if (out.data_ptr(), steps(out), out.dtype) == (x.data_ptr(), steps(x), x.dtype):
        return Sharing.SAME
    meet = out.data_ptr() < end(x) and x.data_ptr() < end(out)
    return Sharing.OVERLAP if meet else Sharing.NONE


def numbers_and_window(x: Tensor, spec: LRNSpec, axis: Axis) -> tuple[Any, Window]:
    """(scale, beta, bias) of a spec, and its window in a tensor of that shape."""
    return (spec.scale, spec.beta, spec.bias), Window(*window_in(x.shape, spec, axis))


def forward(
    x: Tensor, spec: LRNSpec, axis: Axis = None, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """y[c] = x[c] * D[c]**-beta along `axis`; see `lrnorm.local_response_norm`."""
    check_tensor(x, "x")
    natural = _natural(x)
    result = natural if dtype is None else _requested(dtype)
    working = torch.promote_types(natural, result)
    numbers, window = numbers_and_window(x, spec, axis)
    if out is None:
        # An exporter that traces would write a Cast for each `to`, also one that changes nothing.
        y = autograd.forward(x if x.dtype == working else x.to(working), numbers, window)
        return y if y.dtype == result else y.to(result)
    _check_out(out, result, {"x": x})
    if type(out) is Tensor and out.is_cpu and working == result == x.dtype:
        return cpu.compute_into(out, "forward", x, numbers, window)
    return out.copy_(autograd.forward(x.to(working), numbers, window))  # type: ignore[no-any-return]


def _pair(x: Tensor, other: Any, name: str) -> tuple[Tensor, Tensor]:
    """x and the tensor that goes with it, in one type the kernels compute in."""
    check_tensor(x, "x")
    check_tensor(other, name)
    check_shape(x, other, name)
    check_device(x, other, name)
    working = torch.promote_types(_natural(x), _natural(other))
    return x.to(working), other.to(working)


def _derivative(
    verb: str, x: Tensor, other: Any, name: str, spec: LRNSpec, axis: Axis, out: Any
) -> Tensor:
    pair, result = _pair(x, other, name), _natural(x)
    numbers, window = numbers_and_window(x, spec, axis)
    if out is None:
        y: Tensor = getattr(autograd, verb)(*pair, numbers, window)
        return y.to(result)
    _check_out(out, result, {"x": x, name: other})
    as_they_are = pair[0] is x and pair[1] is other and x.dtype == result
    if as_they_are and all(type(t) is Tensor and t.is_cpu for t in (*pair, out)):
        return cpu.compute_into(out, verb, *pair, numbers, window)
    return out.copy_(getattr(autograd, verb)(*pair, numbers, window))  # type: ignore[no-any-return]


def vjp(x: Tensor, g: Tensor, spec: LRNSpec, axis: Axis = None, *, out: Any = None) -> Tensor:
    """dx[c] = g[c] D[c]**-beta - 2 scale beta x[c] sum(g[m] x[m] D[m]**(-beta-1)), m over the
    mirrored window; see `lrnorm.local_response_norm_vjp`. Differentiable by x and g."""
    return _derivative("vjp", x, g, "g", spec, axis, out)


def jvp(x: Tensor, t: Tensor, spec: LRNSpec, axis: Axis = None, *, out: Any = None) -> Tensor:
    """dy[c] = t[c] D[c]**-beta - 2 scale beta x[c] D[c]**(-beta-1) sum(x[j] t[j]); see
    `lrnorm.local_response_norm_jvp`. Differentiable by x and t."""
    return _derivative("jvp", x, t, "t", spec, axis, out)


def parameter_gradients(
    x: Tensor, g: Tensor, spec: LRNSpec, axis: Axis = None
) -> dict[str, Tensor]:
    """The derivatives of sum(g * y) by scale, beta and bias: float64 tensors without axes."""
    pair = _pair(x, g, "g")
    numbers, window = numbers_and_window(x, spec, axis)
    totals = autograd.parameters(*pair, numbers, window)
    return dict(zip(("scale", "beta", "bias"), totals.unbind(), strict=True))


def converted(x: Tensor, dtype: str) -> Tensor:
    """x in the type of that name."""
    return x.to(_requested(dtype))


def ones_like(x: Tensor) -> Tensor:
    """Ones, of the shape, dtype and device of x."""
    return torch.ones_like(x)


def joined(pieces: Iterable[Tensor], like: Tensor) -> Tensor:
    """Pieces of a batch as one tensor, in the memory format of `like`."""
    del like  # torch.cat keeps the format of its pieces
    return torch.cat(list(pieces))


def taken_to(device: str, x: Any) -> Tensor:
    """A NumPy array or a tensor as a tensor on that device, in the dtype of its result."""
    if isinstance(x, Tensor):
        return x.to(device)
    if type(x) not in (np.ndarray, np.memmap):
        way_out = "Put the array there as its library does, and leave target_device out."
        raise wrong_kind("target_device", "takes NumPy arrays, lists and tensors", x, way_out)
    if x.dtype.kind == "V":  # ml_dtypes' bfloat16 goes as its bits
        return torch.from_numpy(np.array(x.view(np.uint16))).view(torch.bfloat16).to(device)
    natural = np.float64 if x.dtype.kind in "iub" else x.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(x, natural)).to(device)  # a copy, which may be written to


def taken_back(y: Tensor, like: Any) -> Any:
    """The opposite of `taken_to`: an array of the kind of `like`, on its device."""
    if isinstance(like, Tensor):
        return y.to(like.device)
    y = y.cpu()
    if y.dtype is torch.bfloat16:
        return y.view(torch.uint16).numpy().view(like.dtype)
    return y.numpy()
