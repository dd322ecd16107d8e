"""LRN nodes of ONNX models as LRNSpec, and back; models as nets.

ONNX writes y = x / (bias + alpha/size * sum(x[j]**2)) ** beta over `size` channels, of which
(size - 1) // 2 come before and size // 2 after: scale = alpha / size.
"""

from lrnorm._spec.errors import missing

try:
    import onnx as onnx
except ImportError as error:
    raise missing("lrnorm.onnx", "the package onnx", "'lrnorm[onnx]'") from error

from lrnorm.onnx.attributes import rewrite, specs
from lrnorm.onnx.decomposing import decompose
from lrnorm.onnx.fusing import Chain, chains, fuse
from lrnorm.onnx.loading import load
from lrnorm.onnx.node_graph import to_onnx

__all__ = ["Chain", "chains", "decompose", "fuse", "load", "rewrite", "specs", "to_onnx"]
