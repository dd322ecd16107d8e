"""Selects the front for an array.

The kind of an array is looked up in the modules that are loaded; nothing is imported to find out.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np

import lrnorm.numpy
from lrnorm._fronts.checks import wrong_kind
from lrnorm._spec.spec import Axis, LRNSpec


class Front(Protocol):
    """The verbs that every front has."""

    def forward(self, x: Any, spec: LRNSpec, axis: Axis, *, dtype: Any, out: Any) -> Any: ...
    def vjp(self, x: Any, g: Any, spec: LRNSpec, axis: Axis, *, out: Any = None) -> Any: ...
    def jvp(self, x: Any, t: Any, spec: LRNSpec, axis: Axis, *, out: Any = None) -> Any: ...
    def parameter_gradients(self, x: Any, g: Any, spec: LRNSpec, axis: Axis) -> dict[str, Any]: ...

    # A layer also needs a conversion, ones, and the pieces of a batch put together.
    def converted(self, x: Any, dtype: str) -> Any: ...
    def ones_like(self, x: Any) -> Any: ...
    def joined(self, pieces: Iterable[Any], like: Any) -> Any: ...


FRONTS: dict[type, Front] = {np.ndarray: lrnorm.numpy, np.memmap: lrnorm.numpy}

# The array class of a framework, by module and name, and its front. The front is imported when the
# first array comes; the framework is loaded by then.
_FRONT_MODULES = {
    ("torch", "Tensor"): "lrnorm._fronts.torch.front",
    ("jaxlib._jax", "ArrayImpl"): "lrnorm._fronts.jax.front",
    ("jax._src.core", "Tracer"): "lrnorm._fronts.jax.front",
    ("cupy", "ndarray"): "lrnorm.array_api",
    ("dask.array.core", "Array"): "lrnorm.dask",
    ("xarray.core.dataarray", "DataArray"): "lrnorm.xarray",
}

# Objects that NumPy would convert silently and spoil, by package: the array to pass instead.
# Kinds that have a front are refused inside nested lists only.
_WAYS_OUT = {
    "torch": "x.detach().cpu().numpy()",
    "jax": "numpy.asarray(x)",
    "jaxlib": "numpy.asarray(x)",
    "tensorflow": "x.numpy()",
    "pandas": "x.to_numpy()",
    "xarray": "x.to_numpy()",
    "xarray.core.dataset": "x.map(lrnorm.xarray.local_response_norm, dim=…)",
    "dask": "x.compute()",
    "zarr": "x[...]",
    "numpy.ma": "x.filled(0): a masked entry then adds nothing to any sum",
    "scipy": "x.toarray()",
    "cupy": "cupy.asnumpy(x)",
    "cupyx": "x.toarray()",
    "sparse": "x.todense()",
}


def array_instead(kind: type) -> str | None:
    """What to pass instead of an object that NumPy would convert and spoil; None for others.

    The class and its bases are looked up by their modules, the longest name first.
    """
    for cls in kind.__mro__:
        module = cls.__module__.split(".")
        for depth in (3, 2, 1):
            if (name := ".".join(module[:depth])) in _WAYS_OUT:
                return _WAYS_OUT[name]
    if issubclass(kind, np.ndarray) and kind not in FRONTS:
        return "numpy.asarray(x), if what the subclass adds may be lost"
    return None


def follows_the_standard(kind: type) -> bool:
    """True for arrays that the array API standard alone can compute."""
    return (
        hasattr(kind, "__array_namespace__")
        and not issubclass(kind, (np.ndarray, np.generic))
        and array_instead(kind) is None
    )


def front_of(x: Any, name: str = "x") -> Front | None:
    """The front for x; None for nested lists, which go through NumPy and come back as lists."""
    kind = type(x)
    if kind in FRONTS:
        return FRONTS[kind]
    for cls in kind.__mro__:
        if (module := _FRONT_MODULES.get((cls.__module__, cls.__name__))) is not None:
            FRONTS[kind] = cast(Front, import_module(module))
            return FRONTS[kind]
    if isinstance(x, (list, tuple)):
        return None
    if follows_the_standard(kind):
        FRONTS[kind] = cast(Front, import_module("lrnorm.array_api"))
        return FRONTS[kind]
    if (instead := array_instead(kind)) is None:
        instead = "an array or nested lists"
        if hasattr(kind, "__array__"):
            instead = "numpy.asarray(x)"
        elif hasattr(kind, "__dlpack__"):
            instead = "numpy.from_dlpack(x)"
    rule = "must be an array or nested lists of numbers"
    raise wrong_kind(name, rule, x, f"Pass {instead}.")
