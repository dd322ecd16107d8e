"""LRN for PyTorch, in PyTorch's words.

    y[c] = x[c] * (k + alpha/size * sum(x[j]**2 for j in c - size//2 … c + (size-1)//2)) ** -beta

`local_response_norm` and `LocalResponseNorm` stand in for those of torch.nn; `replace`, `patched`
and `find` swap them in models that are already there. Tensors may also go straight into
`lrnorm.local_response_norm`.
"""

from typing import TYPE_CHECKING, Any

from lrnorm._spec.errors import missing

try:
    import torch as torch
except ImportError as error:
    raise missing("lrnorm.torch", "PyTorch", "'lrnorm[torch]'") from error

from lrnorm.torch.functional import local_response_norm
from lrnorm.torch.modules import LocalResponseNorm, LocalResponseNormalizationLayer
from lrnorm.torch.replacement import find, patched, replace

if TYPE_CHECKING:
    from lrnorm.net.torch_modules import as_module as as_module

__all__ = [
    "LocalResponseNorm",
    "LocalResponseNormalizationLayer",
    "as_module",
    "find",
    "local_response_norm",
    "patched",
    "replace",
]


def __getattr__(name: str) -> Any:
    if name == "as_module":  # nets stand on this module, so it is imported when it is asked for
        from lrnorm.net.torch_modules import as_module

        return as_module
    raise AttributeError(f"module 'lrnorm.torch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "as_module"})
