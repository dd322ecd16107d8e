"""What torch.onnx.export writes: one LRN node where ONNX can say it and ONNX Runtime can run it,
else the formula; always the formula where the exporter is the one that traces TorchScript.

ONNX's window of `size` channels is (size - 1)//2 before and size//2 after. ONNX Runtime has the
node at rank 4 alone, and not for float64.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lrnorm._fronts.torch import formula
from lrnorm._fronts.torch.formula import Window


def is_exporting() -> bool:
    # Cheaper than asking torch.onnx, which every call would do.
    traced = torch.compiler.is_exporting() or torch.jit._trace.is_tracing()  # type: ignore[no-untyped-call]
    return traced and torch.onnx.is_in_onnx_export()


def forward(x: Tensor, coefficients: Any, window: Window) -> Tensor:
    before, after, axis = window
    sayable = axis == 1 and after - before in (0, 1) and not isinstance(coefficients, Tensor)
    runs = x.ndim == 4 and x.dtype is not torch.float64
    if not (sayable and runs and torch.compiler.is_exporting()):
        return formula.forward(x, coefficients, window)
    size = before + after + 1
    scale, beta, bias = coefficients
    attributes = {"size": size, "alpha": scale * size, "beta": beta, "bias": bias}
    return torch.onnx.ops.symbolic(
        "LRN", (x,), attributes, dtype=x.dtype, shape=x.shape, version=13
    )
