"""Find and swap the LRN layers of a model that is already there."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from lrnorm import conventions
from lrnorm._spec.errors import ConventionError, KindError, ParameterError
from lrnorm._spec.spec import LRNSpec
from lrnorm.torch.functional import local_response_norm
from lrnorm.torch.modules import LocalResponseNorm, LocalResponseNormalizationLayer
from lrnorm.torch.probing import calls_the_function, measured

_log = logging.getLogger("lrnorm.torch")

Arguments = Callable[[Any], Mapping[str, Any] | LRNSpec | None]
Also = Mapping[type, Arguments | Mapping[str, Any] | LRNSpec]


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


@dataclass(frozen=True)
class _Found:
    """An LRN in a model: what it computes, how to build ours, and how it was recognised."""

    spec: LRNSpec
    build: Callable[[Any], nn.Module] | None
    how: str = ""


def _from_words(words: Mapping[str, Any]) -> _Found:
    return _Found(
        LocalResponseNorm(**words).spec,
        lambda learnable: LocalResponseNorm(**words, learnable=learnable),
    )


def _from_spec(spec: LRNSpec, how: str = "") -> _Found:
    """Ours for a spec: PyTorch's own layer where its window is PyTorch's, else lrnorm's layer,
    which is for tensors of rank 3 and 4; None where a window reaches to the end of the axis."""
    build: Callable[[Any], nn.Module] | None = None
    try:
        build = _from_words(conventions.write("torch", spec)).build
    except ConventionError:
        if isinstance(spec.before, int) and isinstance(spec.after, int):
            ends = spec.before, spec.after
            words = {
                "alpha": spec.scale * (sum(ends) + 1),
                "beta": spec.beta,
                "bias": spec.bias,
                "channel_window_size": ends,
            }

            def build(learnable: Any) -> nn.Module:
                return LocalResponseNormalizationLayer(**words, learnable=learnable)

    return _Found(spec, build, how)


def _told(kind: type, answer: Any) -> _Found | None:
    """What `also` says of a module: arguments, a spec, or None for one to leave alone."""
    name = f"also[{kind.__qualname__}]"
    if answer is None:
        return None
    if isinstance(answer, LRNSpec):
        return _from_spec(answer)
    if not isinstance(answer, Mapping):
        raise KindError(
            name, "must return a mapping, an LRNSpec or None", value=answer, way_out=_ALSO
        )
    if "size" not in answer or set(answer) - {"size", "alpha", "beta", "k"}:
        raise ParameterError(
            name,
            "must return size, and may return alpha, beta and k",
            got=", ".join(map(str, answer)) or "nothing",
        )
    return _from_words(dict(answer))


_ALSO = "Write also={MyLRN: lambda m: dict(size=m.size, alpha=m.alpha)}."


def _check(model: Any, also: Any, function: str) -> Also:
    """The mapping that `also` is, once it and the model are what they must be."""
    if isinstance(model, torch.jit.ScriptModule):
        raise KindError(
            f"{function}()",
            "takes a model before it is scripted or traced",
            got=type(model).__qualname__,
            way_out="Call it on the Python model and script that; lrnorm.models.find(path) reads "
            "the LRNs of a saved one.",
        )
    if not isinstance(model, nn.Module):
        raise KindError(f"{function}()", "takes a torch.nn.Module", got=type(model).__qualname__)
    if also is None:
        return {}
    if not isinstance(also, Mapping):
        raise KindError("also", "must map classes to functions", value=also, way_out=_ALSO)
    for kind, answer in also.items():
        if not isinstance(kind, type):
            raise KindError("each key of also", "must be a class", value=kind, way_out=_ALSO)
        if not (callable(answer) or isinstance(answer, Mapping | LRNSpec)):
            raise KindError(
                f"also[{kind.__qualname__}]", "must be a function", value=answer, way_out=_ALSO
            )
    return also


def _recognised(path: str, module: nn.Module, also: Also, probe: bool) -> _Found | None:
    """What this module is, whatever its parts are; None if it is no LRN, or not known as one."""
    kind = type(module)
    if kind in also:
        answer = also[kind]
        return _told(kind, answer(module) if callable(answer) else answer)
    if isinstance(module, _OURS):
        return _Found(module.spec, None)
    for known, of in _KNOWN.items():
        # A subclass that computes something else is not ours to replace.
        if isinstance(module, known) and kind.forward is known.forward:  # type: ignore[attr-defined]
            return _from_words(of(module))  # type: ignore[arg-type]
    if probe and (found := measured(path or "the model", module)) is not None:
        return _from_spec(found.spec, f" (measured: off by {found.max_ulp:.3g} ulp at most)")
    return None


def _lrns(model: nn.Module, also: Also, probe: bool) -> dict[str, tuple[nn.Module, _Found]]:
    """Path → (module, what it is) of every LRN; the parts of one are not looked at."""
    found: dict[str, tuple[nn.Module, _Found]] = {}
    known: dict[nn.Module, _Found | None] = {}
    whole: list[str] = []
    scripted = []
    for path, module in model.named_modules(remove_duplicate=False):
        if any(path.startswith(prefix) for prefix in whole):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            scripted.append(path)
            whole.append(f"{path}.")
            continue
        if module not in known:
            known[module] = _recognised(path, module, also, probe)
        if (lrn := known[module]) is not None:
            found[path] = module, lrn
            whole.append(f"{path}." if path else "")
    if scripted:
        warnings.warn(
            f"{', '.join(scripted)}: scripted or traced, so what is inside is not looked at.",
            UserWarning,
            stacklevel=4,
        )
    return found


def find(model: nn.Module, *, also: Also | None = None, probe: bool = False) -> dict[str, LRNSpec]:
    """Path → LRNSpec of every LRN in the model: PyTorch's, ours, and those that `also` tells.

        y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

    With `probe=True` modules of other classes that have no parameters are measured, as
    `lrnorm.identify` does, in eval mode, on copies: so a hand-written layer is found too.

    Errors: KindError (a TypeError) for what is no module, for a scripted or traced one, and for an
    `also` that is no mapping of classes.

    >>> import torch, lrnorm.torch
    >>> lrnorm.torch.find(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.LocalResponseNorm(4)))
    {'1': LRNSpec(scale=2.5e-05, beta=0.75, bias=1.0, before=2, after=1)}
    """
    also = _check(model, also, "find")
    return {path: lrn.spec for path, (_, lrn) in _lrns(model, also, probe).items()}


def replace(
    model: nn.Module,
    *,
    learnable: bool | str | Iterable[str] = False,
    also: Also | None = None,
    probe: bool = False,
) -> nn.Module:
    """Swap every LRN in the model for `lrnorm.torch.LocalResponseNorm`, in place.

        y[c] = x[c] * (k + alpha/size * sum(x[j]**2 for j in c-size//2 … c+(size-1)//2)) ** -beta

    Returns the model (the new layer, where the model is itself an LRN), and logs each swap to the
    logger "lrnorm.torch". A layer used at several places stays one layer; mode and hooks stay.
    Nothing is changed unless every layer is understood. Where there is nothing to swap, a warning
    says so.

    Parameters
    ----------
    model : torch.nn.Module
        Takes nn.LocalResponseNorm, and nn.CrossMapLRN2d with a warning: PyTorch's own numbers are
        wrong there, so they change.
    learnable : bool or names
        As in LocalResponseNorm.
    also : mapping
        Class → function of a module of that class that returns the arguments of LocalResponseNorm,
        an LRNSpec, or None for a module to leave alone:
        ``also={LRN: lambda m: dict(size=m.local_size, alpha=m.alpha)}``. In place of the function
        the arguments themselves or an LRNSpec may stand.
    probe : bool
        Measure modules of unknown classes that have no parameters, and swap those that are verified
        to be an LRN. A window that PyTorch's layer does not have makes a
        LocalResponseNormalizationLayer; one that reaches to the end of the axis stays.

    Errors: KindError (a TypeError) for what is no module, for a scripted or traced one, and for an
    `also` of the wrong kind; ParameterError (a ValueError) for what `also` returns. Calls of
    F.local_response_norm: see `patched`.

    >>> import torch, lrnorm.torch
    >>> lrnorm.torch.replace(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.LocalResponseNorm(5)))
    Sequential(
      (0): ReLU()
      (1): LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)
    )
    """
    also = _check(model, also, "replace")
    device = next((p.device for p in model.parameters()), None)
    found = _lrns(model, also, probe)
    new: dict[nn.Module, nn.Module] = {}
    said: list[tuple[str, nn.Module, _Found]] = []
    for path, (module, lrn) in found.items():
        if module not in new and not isinstance(module, _OURS):
            said.append((path or "the model", module, lrn))
            if lrn.build is not None:
                new[module] = _like(module, lrn.build(learnable), device)
    for path, module, lrn in said:
        if module not in new:
            _log.warning("%s stays: its window reaches to the end of the axis", path)
            continue
        if isinstance(module, nn.CrossMapLRN2d):
            warnings.warn(
                f"{path}: nn.CrossMapLRN2d is wrong in PyTorch (a channel stays in the running sum "
                "for one step too long), so the numbers change with the swap.",
                UserWarning,
                stacklevel=2,
            )
        _log.info("%s: %s → %s%s", path, module, new[module], lrn.how)
    if not found:
        warnings.warn(_nothing(model, probe), UserWarning, stacklevel=2)
    if model in new:
        return new[model]
    for parent in list(model.modules()):
        # Not named_children, which leaves out a layer's second name.
        for name, child in list(parent._modules.items()):
            if child in new:
                setattr(parent, name, new[child])
    return model


def _like(module: nn.Module, layer: nn.Module, device: Any) -> nn.Module:
    """The new layer in the mode, on the device and with the hooks of the old one."""
    layer.train(module.training)
    if device is not None:
        layer = layer.to(device)
    for name, value in vars(module).items():
        if "_hook" in name:  # the hooks, and what PyTorch notes about them
            setattr(layer, name, value)
    return layer


def _nothing(model: nn.Module, probe: bool) -> str:
    """What to say of a model in which there is nothing to swap."""
    ways = []
    if calls_the_function(model):
        ways.append(
            "it calls torch.nn.functional.local_response_norm: run it within lrnorm.torch.patched()"
        )
    if not probe:
        ways.append("probe=True measures hand-written modules, and also= names their classes")
    return f"replace found no LRN module in the model{': ' if ways else ''}{'; '.join(ways)}."


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
    rewritten, and only this thread is affected: other threads, also those that a DataLoader or a
    server starts, call PyTorch's function as before.

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
