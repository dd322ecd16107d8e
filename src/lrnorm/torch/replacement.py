"""Find and swap the LRN layers of a model that is already there."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from lrnorm._spec.errors import KindError, ParameterError
from lrnorm._spec.spec import LRNSpec
from lrnorm.torch.functional import local_response_norm
from lrnorm.torch.modules import LocalResponseNorm, LocalResponseNormalizationLayer

_log = logging.getLogger("lrnorm.torch")

Arguments = Callable[[Any], Mapping[str, Any]]


def _of_torch(module: Any) -> dict[str, Any]:
    return {name: getattr(module, name) for name in ("size", "alpha", "beta", "k")}


def _of_cross_map(module: Any) -> dict[str, Any]:
    """An even window of CrossMapLRN2d has (size - 1)//2 channels on either side, and still divides
    alpha by size."""
    width = (module.size - 1) // 2 * 2 + 1
    return _of_torch(module) | {"size": width, "alpha": module.alpha * width / module.size}


_KNOWN: dict[type, Arguments] = {
    nn.LocalResponseNorm: _of_torch,
    nn.CrossMapLRN2d: _of_cross_map,
}
_OURS = (LocalResponseNorm, LocalResponseNormalizationLayer)


def _arguments(module: nn.Module, also: Mapping[type, Arguments]) -> dict[str, Any] | None:
    """What builds ours in place of this module; None if it is no LRN."""
    kind = type(module)
    if kind in also:
        arguments = dict(also[kind](module))
        unknown = set(arguments) - {"size", "alpha", "beta", "k"}
        if "size" not in arguments or unknown:
            raise ParameterError(
                f"also[{kind.__qualname__}] must return size, and may return alpha, beta and k, "
                f"got {', '.join(arguments) or 'nothing'}."
            )
        return arguments
    for known, of in _KNOWN.items():
        # A subclass that computes something else is not ours to replace.
        if isinstance(module, known) and kind.forward is known.forward:  # type: ignore[attr-defined]
            return dict(of(module))
    return None


def _check_model(model: Any, function: str) -> None:
    if not isinstance(model, nn.Module):
        raise KindError(f"{function}() takes a torch.nn.Module, got {type(model).__qualname__}.")


def find(model: nn.Module, *, also: Mapping[type, Arguments] | None = None) -> dict[str, LRNSpec]:
    """Path → LRNSpec of every LRN in the model: PyTorch's, ours, and those that `also` tells.

        y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

    Errors: KindError (a TypeError) for what is no module.

    >>> import torch, lrnorm.torch
    >>> lrnorm.torch.find(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.LocalResponseNorm(4)))
    {'1': LRNSpec(scale=2.5e-05, beta=0.75, bias=1.0, before=2, after=1)}
    """
    _check_model(model, "find")
    found = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, _OURS):
            found[path] = module.spec
        elif (arguments := _arguments(module, also or {})) is not None:
            found[path] = LocalResponseNorm(**arguments).spec
    return found


def replace(
    model: nn.Module,
    *,
    learnable: bool | str | Iterable[str] = False,
    also: Mapping[type, Arguments] | None = None,
) -> nn.Module:
    """Swap every LRN in the model for `lrnorm.torch.LocalResponseNorm`, in place.

        y[c] = x[c] * (k + alpha/size * sum(x[j]**2 for j in c-size//2 … c+(size-1)//2)) ** -beta

    Returns the model (the new layer, where the model is itself an LRN), and logs each swap to the
    logger "lrnorm.torch". A layer used at several places stays one layer; mode and hooks stay.

    Parameters
    ----------
    model : torch.nn.Module
        Takes nn.LocalResponseNorm, and nn.CrossMapLRN2d with a warning: PyTorch's own numbers are
        wrong there, so they change.
    learnable : bool or names
        As in LocalResponseNorm.
    also : mapping
        Class → function of a module of that class that gives the arguments of LocalResponseNorm:
        ``also={LRN: lambda m: dict(size=m.local_size, alpha=m.alpha)}``.

    Errors: KindError (a TypeError) for what is no module, ParameterError (a ValueError) for what
    `also` returns. Calls of F.local_response_norm: see `patched`.

    >>> import torch, lrnorm.torch
    >>> lrnorm.torch.replace(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.LocalResponseNorm(5)))
    Sequential(
      (0): ReLU()
      (1): LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)
    )
    """
    _check_model(model, "replace")
    device = next((p.device for p in model.parameters()), None)
    new: dict[nn.Module, nn.Module] = {}

    def ours(path: str, module: nn.Module) -> nn.Module | None:
        if module in new:
            return new[module]
        arguments = None if isinstance(module, _OURS) else _arguments(module, also or {})
        if arguments is None:
            return None
        if isinstance(module, nn.CrossMapLRN2d):
            warnings.warn(
                f"{path or 'the model'}: nn.CrossMapLRN2d is wrong in PyTorch (a channel stays in "
                "the running sum for one step too long), so the numbers change with the swap.",
                UserWarning,
                stacklevel=3,
            )
        layer = LocalResponseNorm(**arguments, learnable=learnable).train(module.training)
        if device is not None:
            layer = layer.to(device)
        for name, value in vars(module).items():
            if "_hook" in name:  # the hooks, and what PyTorch notes about them
                setattr(layer, name, value)
        _log.info("%s: %s → %s", path or "(model)", module, layer)
        new[module] = layer
        return layer

    if (whole := ours("", model)) is not None:
        return whole
    for path, parent in list(model.named_modules()):
        # Not named_children, which leaves out a layer's second name.
        for name, child in list(parent._modules.items()):
            layer = None if child is None else ours(f"{path}.{name}".lstrip("."), child)
            if layer is not None:
                setattr(parent, name, layer)
    return model


class _Patch(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.local_response_norm:
            func = local_response_norm
        return func(*args, **(kwargs or {}))


@contextmanager
def patched() -> Iterator[None]:
    """Send calls of `torch.nn.functional.local_response_norm` to ours while the block lasts.

        y[c] = x[c] * (k + alpha/size * sum(x[j]**2 for j in c-size//2 … c+(size-1)//2)) ** -beta

    For models that call the function; modules too, as nn.LocalResponseNorm calls it. Nothing is
    rewritten, and only this thread is affected.

    >>> import torch, lrnorm.torch
    >>> x = torch.full((1, 3, 1), 1e20)
    >>> torch.nn.LocalResponseNorm(3, alpha=3.0, beta=0.5)(x).flatten()
    tensor([0., 0., 0.])
    >>> with lrnorm.torch.patched():
    ...     torch.nn.LocalResponseNorm(3, alpha=3.0, beta=0.5)(x).flatten()
    tensor([0.7071, 0.5774, 0.7071])
    """
    with _Patch():
        yield
