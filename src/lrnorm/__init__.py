"""Local Response Normalization: right, fast, for whatever array you hold.

    y[c] = x[c] * (bias + alpha/(2r+1) * sum(x[j]**2 for j in c-r … c+r)) ** -beta
"""

from lrnorm._config import set_num_threads, show_config
from lrnorm._dispatch import (
    local_response_norm,
    local_response_norm_jvp,
    local_response_norm_vjp,
)
from lrnorm._errors import (
    DeviceError,
    FileError,
    KindError,
    LRNormError,
    MissingDependencyError,
    OutputError,
    ParameterError,
    ShapeError,
)
from lrnorm._spec import LRNSpec

__all__ = [
    "DeviceError",
    "FileError",
    "KindError",
    "LRNSpec",
    "LRNormError",
    "MissingDependencyError",
    "OutputError",
    "ParameterError",
    "ShapeError",
    "local_response_norm",
    "local_response_norm_jvp",
    "local_response_norm_vjp",
    "set_num_threads",
    "show_config",
]
