"""Measures modules that do not say what they are: hand-written LRN layers."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from lrnorm._identify import Identification, identify
from lrnorm._identify.shapes import seen_whole
from lrnorm._spec.errors import IdentificationError

_log = logging.getLogger("lrnorm.torch")

_DTYPES = ("float16", "bfloat16", "float32", "float64")


def measured(path: str, module: nn.Module) -> Identification | None:
    """What a module computes along axis 1, if it has no parameters and is an LRN with an effect.

    A copy of it is run in eval mode, without its hooks, and the random generators are put back.
    """
    if not _is_unknown(module):
        return None
    try:
        own = copy.deepcopy(module).eval()
    except Exception as error:  # whatever a class does to forbid it
        _log.debug("%s cannot be copied, so it is not measured: %r", path, error)
        return None
    for part in own.modules():
        for name, value in vars(part).items():
            if "_hook" in name and hasattr(value, "clear"):
                value.clear()
    devices = {t.device.index for t in own.buffers() if t.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(i for i in devices if i is not None)):
        found = _identified(path, own)
    if found is None or found.spec.scale == 0 or found.spec.beta == 0:
        return None
    return found


def _is_unknown(module: nn.Module) -> bool:
    """Whether the class is somebody's own, and has nothing to learn."""
    return (
        not type(module).__module__.startswith(("torch.", "lrnorm."))
        and next(module.parameters(), None) is None
    )


def _identified(path: str, module: nn.Module) -> Identification | None:
    dtype = _dtype(module)
    for ndim in (4, 3, 5):
        for channels in (16, *_sizes(module)):
            again = functools.partial(_along, module, ndim, dtype)
            with contextlib.suppress(IdentificationError):
                return seen_whole(again(channels), again)
    try:
        identify(module, dtype=dtype)
    except IdentificationError as error:
        _log.debug("%s is no LRN: %s", path, error.reason)
    return None


def _along(module: nn.Module, ndim: int, dtype: str, channels: int) -> Identification:
    return identify(module, channels=channels, ndim=ndim, dtype=dtype)


def _dtype(module: nn.Module) -> str:
    names = (str(t.dtype).removeprefix("torch.") for t in module.buffers())
    return next((name for name in names if name in _DTYPES), "float32")


def _sizes(module: nn.Module) -> Iterator[int]:
    """Numbers of channels that a constant of the module, a band of ones for example, may fix."""
    yield from dict.fromkeys(n for t in module.buffers() for n in t.shape[:2] if n not in (1, 16))


def calls_the_function(model: nn.Module) -> bool:
    """Whether the model calls torch.nn.functional.local_response_norm: tracing shows it, and where
    a model cannot be traced, the names in the code of its classes."""
    function = torch.nn.functional.local_response_norm
    with contextlib.suppress(Exception), _quiet():
        graph = torch.fx.symbolic_trace(copy.copy(model)).graph
        return any(node.target is function for node in graph.nodes)
    return any(
        "local_response_norm" in getattr(type(m).forward, "__code__", _NO_CODE).co_names
        for m in model.modules()
    )


_NO_CODE: Any = (lambda: None).__code__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
