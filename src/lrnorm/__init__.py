"""Local Response Normalization (LRN) for Python: exact, fast, for any kind of array.

Every call computes, along the channels and with a radius r:

    y[c] = x[c] * (bias + alpha/(2r+1) * sum(x[j]**2 for j in c-r … c+r)) ** -beta

Importing this module loads no other: each name below is loaded when it is first used.
"""

TYPE_CHECKING = False  # type checkers take it for true; importing typing would take longer
if TYPE_CHECKING:
    from lrnorm import array_api as array_api
    from lrnorm import conventions as conventions
    from lrnorm import dask as dask
    from lrnorm import files as files
    from lrnorm import jax as jax
    from lrnorm import keras as keras
    from lrnorm import models as models
    from lrnorm import net as net
    from lrnorm import numpy as numpy
    from lrnorm import onnx as onnx
    from lrnorm import plot as plot
    from lrnorm import torch as torch
    from lrnorm import xarray as xarray
    from lrnorm._fronts.config import set_num_threads as set_num_threads
    from lrnorm._fronts.config import show_config as show_config
    from lrnorm._function.explain import explain as explain
    from lrnorm._function.functions import local_response_norm as local_response_norm
    from lrnorm._function.functions import local_response_norm_jvp as local_response_norm_jvp
    from lrnorm._function.functions import local_response_norm_vjp as local_response_norm_vjp
    from lrnorm._identify import identify as identify
    from lrnorm._layers.layer import (
        LocalResponseNormalizationLayer as LocalResponseNormalizationLayer,
    )
    from lrnorm._layers.options import options as options
    from lrnorm._report.information import information as information
    from lrnorm._spec.errors import ConventionError as ConventionError
    from lrnorm._spec.errors import DeviceError as DeviceError
    from lrnorm._spec.errors import FileError as FileError
    from lrnorm._spec.errors import IdentificationError as IdentificationError
    from lrnorm._spec.errors import KindError as KindError
    from lrnorm._spec.errors import LRNormError as LRNormError
    from lrnorm._spec.errors import MissingDependencyError as MissingDependencyError
    from lrnorm._spec.errors import OutputError as OutputError
    from lrnorm._spec.errors import ParameterError as ParameterError
    from lrnorm._spec.errors import ShapeError as ShapeError
    from lrnorm._spec.spec import LRNSpec as LRNSpec
    from lrnorm.net import NetChain as NetChain
    from lrnorm.net import NetGraph as NetGraph
    from lrnorm.net import NetPort as NetPort

# Public name → the module that defines it.
_DEFINED_IN = {
    "ConventionError": "lrnorm._spec.errors",
    "DeviceError": "lrnorm._spec.errors",
    "FileError": "lrnorm._spec.errors",
    "IdentificationError": "lrnorm._spec.errors",
    "KindError": "lrnorm._spec.errors",
    "LRNSpec": "lrnorm._spec.spec",
    "LRNormError": "lrnorm._spec.errors",
    "LocalResponseNormalizationLayer": "lrnorm._layers.layer",
    "MissingDependencyError": "lrnorm._spec.errors",
    "NetChain": "lrnorm.net",
    "NetGraph": "lrnorm.net",
    "NetPort": "lrnorm.net",
    "OutputError": "lrnorm._spec.errors",
    "ParameterError": "lrnorm._spec.errors",
    "ShapeError": "lrnorm._spec.errors",
    "explain": "lrnorm._function.explain",
    "identify": "lrnorm._identify",
    "information": "lrnorm._report.information",
    "local_response_norm": "lrnorm._function.functions",
    "local_response_norm_jvp": "lrnorm._function.functions",
    "local_response_norm_vjp": "lrnorm._function.functions",
    "options": "lrnorm._layers.options",
    "set_num_threads": "lrnorm._fronts.config",
    "show_config": "lrnorm._fronts.config",
}
_MODULES = (
    *("array_api", "conventions", "dask", "files", "jax", "keras"),
    *("models", "net", "numpy", "onnx", "plot", "torch", "xarray"),
)

__all__ = [*_DEFINED_IN]
__version__ = "0.1.0"  # the only place: the build reads it here


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"lrnorm.{name}")
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'lrnorm' has no attribute {name!r}")
    value = getattr(import_module(_DEFINED_IN[name]), name)
    globals()[name] = value  # later uses find it without this function
    return value


def __dir__() -> list[str]:
    return sorted((*_DEFINED_IN, *_MODULES, "__version__"))
