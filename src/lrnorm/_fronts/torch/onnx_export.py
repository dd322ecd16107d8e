"""The LRN node that torch.onnx.export writes, with both of its exporters.

It is written where ONNX has the window and ONNX Runtime runs the node: rank 4, axis 1, no float64,
alpha and beta positive; else the formula is. ONNX's window of `size` channels is (size - 1)//2
before and size//2 after.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lrnorm._fronts.torch import formula
from lrnorm._fronts.torch.formula import Window


def is_exporting() -> bool:
    """Whether a model is being exported to ONNX; to be asked under a trace, as it costs time."""
    return bool(torch.onnx.is_in_onnx_export())


class _Node(torch.autograd.Function):
    """The node for the exporter that traces TorchScript."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, coefficients: Any, window: Window) -> Tensor:
        return formula.forward(x, coefficients, window)

    @staticmethod
    def symbolic(graph: Any, x: Any, coefficients: Any, window: Any) -> Any:
        kinds = {"size": "i", "alpha": "f", "beta": "f", "bias": "f"}
        words = {f"{n}_{kinds[n]}": v for n, v in _attributes(coefficients, window).items()}
        return graph.op("LRN", x, **words).setType(x.type())


def _size_of(window: Window) -> int | None:
    """ONNX's size of a window, if it has one: along axis 1, at most one channel farther behind."""
    before, after = window.before[0], window.after[0]
    return before + after + 1 if window.axes == (1,) and after - before in (0, 1) else None


def forward(x: Tensor, coefficients: Any, window: Window) -> Tensor:
    """y as one node, or as the formula where there is none."""
    sayable = _size_of(window) is not None and not isinstance(coefficients, Tensor)
    runs = x.ndim == 4 and x.dtype is not torch.float64
    if not (sayable and runs and coefficients[0] > 0 and coefficients[1] > 0):
        return formula.forward(x, coefficients, window)
    if not torch.compiler.is_exporting():
        return _Node.apply(x, coefficients, window)  # type: ignore[no-any-return, no-untyped-call]
    return torch.onnx.ops.symbolic(
        "LRN",
        (x,),
        _attributes(coefficients, window),
        dtype=x.dtype,
        shape=x.shape,
        version=13,
    )


def _attributes(coefficients: Any, window: Any) -> dict[str, Any]:
    size = window[0][0] + window[1][0] + 1
    scale, beta, bias = coefficients
    return {"size": size, "alpha": scale * size, "beta": beta, "bias": bias}
