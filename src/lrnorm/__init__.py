"""Local Response Normalization: right, fast, for whatever array you hold.

Every call computes, along the channels and with a radius r:

    y[c] = x[c] * (bias + alpha/(2r+1) * sum(x[j]**2 for j in c-r … c+r)) ** -beta
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lrnorm._config import set_num_threads, show_config
from lrnorm._dispatch import (
    local_response_norm,
    local_response_norm_jvp,
    local_response_norm_vjp,
)
from lrnorm._errors import (
    ConventionError,
    DeviceError,
    FileError,
    KindError,
    LRNormError,
    MissingDependencyError,
    OutputError,
    ParameterError,
    ShapeError,
)
from lrnorm._information import information
from lrnorm._options import options
from lrnorm._spec import LRNSpec
from lrnorm.layer import LocalResponseNormalizationLayer

if TYPE_CHECKING:
    from lrnorm import conventions as conventions
    from lrnorm import dask as dask
    from lrnorm import files as files
    from lrnorm import jax as jax
    from lrnorm import keras as keras
    from lrnorm import net as net
    from lrnorm import onnx as onnx
    from lrnorm import plot as plot
    from lrnorm import torch as torch
    from lrnorm import xarray as xarray
    from lrnorm._explain import explain as explain
    from lrnorm.net import NetChain as NetChain
    from lrnorm.net import NetGraph as NetGraph
    from lrnorm.net import NetPort as NetPort

__all__ = [
    "ConventionError",
    "DeviceError",
    "FileError",
    "KindError",
    "LRNSpec",
    "LRNormError",
    "LocalResponseNormalizationLayer",
    "MissingDependencyError",
    "NetChain",
    "NetGraph",
    "NetPort",
    "OutputError",
    "ParameterError",
    "ShapeError",
    "explain",
    "information",
    "local_response_norm",
    "local_response_norm_jvp",
    "local_response_norm_vjp",
    "options",
    "set_num_threads",
    "show_config",
]

# Loaded on first use: a name, and the module that has it (or is it).
_LATER = {
    "NetChain": "lrnorm.net",
    "NetGraph": "lrnorm.net",
    "NetPort": "lrnorm.net",
    "conventions": "lrnorm.conventions",
    "dask": "lrnorm.dask",
    "explain": "lrnorm._explain",
    "files": "lrnorm.files",
    "jax": "lrnorm.jax",
    "keras": "lrnorm.keras",
    "net": "lrnorm.net",
    "onnx": "lrnorm.onnx",
    "plot": "lrnorm.plot",
    "torch": "lrnorm.torch",
    "xarray": "lrnorm.xarray",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'lrnorm' has no attribute {name!r}")
    module = import_module(_LATER[name])
    return module if _LATER[name] == f"lrnorm.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
