"""Constants of any size, in the graph where they are read or in one around it."""

from __future__ import annotations

import onnx
from onnx import TensorProto, numpy_helper

from lrnorm.onnx.graph import Scope


def tensor_of(scope: Scope, name: str) -> TensorProto | None:
    """The constant of that name with its data; None for what is computed in this graph, or for
    external data that are missing."""
    inner = scope
    while scope is not None:
        if name in scope.initializers:
            copy = TensorProto()
            copy.CopyFrom(scope.initializers[name])
            if copy.data_location == TensorProto.EXTERNAL:
                try:
                    onnx.external_data_helper.load_external_data_for_tensor(copy, scope.folder)
                except Exception:  # the checker's own error, or the system's
                    return None
                copy.data_location = TensorProto.DEFAULT
                del copy.external_data[:]
            return copy
        if name in scope.producers and scope is not inner:
            value = scope.value(name)
            if value is None or value.dtype == object:
                return None
            return numpy_helper.from_array(value, name)
        if name in scope.producers or name in {value.name for value in scope.graph.input}:
            return None
        scope = scope.outer  # type: ignore[assignment]
    return None


def is_constant(scope: Scope, name: str) -> bool:
    """Whether a value that no node of this graph computes is the same whatever the inputs."""
    return tensor_of(scope, name) is not None
