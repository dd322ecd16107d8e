"""Plain tensors to the kernels of their device: the compiled core, or Triton.

Each verb takes tensors of one shape, dtype and device, three numbers (scale, beta, bias) and a
window, and answers with a new tensor in the memory format of x. Nothing is recorded for autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrnorm._fronts.core import core as _core
from lrnorm._fronts.memory import LARGE
from lrnorm._fronts.torch import formula
from lrnorm._fronts.torch.formula import Window

Coefficients = tuple[float, float, float]


def array(tensor: Tensor) -> Any:
    """The NumPy view that the core reads: bfloat16 goes as its bits."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    return tensor.numpy()


def _new_like(x: Tensor) -> tuple[Tensor, bool]:
    """A tensor to write into, in the memory format of x, and whether its memory is fresh."""
    if x.nbytes < LARGE:
        return torch.empty_like(x), False
    memory = _core.Memory(x.nbytes)
    storage = torch.from_numpy(np.frombuffer(memoryview(memory), np.uint8)).untyped_storage()
    like = torch.empty_like(x, device="meta")
    return torch.empty(0, dtype=x.dtype).set_(storage, 0, like.shape, like.stride()), memory.fresh


def _called(verb: str, *arguments: Any) -> Any:
    """The verb of the core for (arrays…, coefficients, window, what the core takes besides)."""
    *arrays, coefficients, window, how = arguments
    if len(window.axes) > 1:
        return getattr(_core, f"box_{verb}")(*arrays, *coefficients, *window, *how)
    (before,), (after,), (axis,) = window
    return getattr(_core, verb)(*arrays, *coefficients, before, after, axis, *how)


def _in_core(verb: str) -> Callable[..., Tensor]:
    def in_core(*arguments: Any) -> Tensor:
        *tensors, coefficients, window = arguments
        y, fresh = _new_like(tensors[0])
        rest = array(y), coefficients, window, (fresh, torch.get_num_threads())
        if not _called(verb, *map(array, tensors), *rest):
            # An address that is no multiple of the element's size: a copy has one that is.
            _called(verb, *(array(t.clone()) for t in tensors), *rest)
        return y

    return in_core


def compute_into(out: Tensor, verb: str, *arguments: Any) -> Tensor:
    """The verb on the CPU into `out`, which may be x itself."""
    *tensors, coefficients, window = arguments
    how = False, torch.get_num_threads()
    # The backward pass reads x again for elements beyond the trusted range. A tensor of negated
    # values has no array that could be written to.
    ready = not out.is_neg() and (verb != "vjp" or out.data_ptr() != tensors[0].data_ptr())
    if not ready or not _called(verb, *map(array, (*tensors, out)), coefficients, window, how):
        return out.copy_(on_device(verb, *arguments))
    return out


def _parameters_in_core(x: Tensor, g: Tensor, coefficients: Coefficients, window: Window) -> Tensor:
    rest = coefficients, window, (torch.get_num_threads(),)
    totals = _called("parameters", array(x), array(g), *rest)
    if totals is None:
        totals = _called("parameters", array(x.clone()), array(g.clone()), *rest)
    return torch.tensor(totals, dtype=torch.float64)


_CORE: dict[str, Callable[..., Tensor]] = {
    **{verb: _in_core(verb) for verb in ("forward", "vjp", "jvp")},
    "parameters": _parameters_in_core,
}


def on_device(verb: str, *arguments: Any) -> Tensor:
    """`verb` of (tensors…, coefficients, window) by the kernels of the device where the tensors
    are. Coefficients that are a tensor are read out of it."""
    x = arguments[0]
    if isinstance(arguments[-2], Tensor):
        arguments = (*arguments[:-2], tuple(arguments[-2].tolist()), arguments[-1])
    if x.is_cpu:
        return _CORE[verb](*arguments)
    if x.is_cuda and len(arguments[-1].axes) == 1:  # boxes are composed there
        from lrnorm._fronts.torch.triton import launch

        *tensors, coefficients, window = arguments
        (before,), (after,), (axis,) = window
        numbers = (*coefficients, before, after, axis)
        result: Tensor = getattr(launch, verb)(*tensors, *numbers)
        return result
    composed: Callable[..., Tensor] = getattr(formula, verb)
    return composed(*arguments)
