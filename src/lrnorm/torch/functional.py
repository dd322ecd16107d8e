"""LRN in PyTorch's words: size, alpha, beta, k; the channels are axis 1.

y[c] = x[c] * (k + alpha/size * sum(x[j]**2 for j in c - size//2 … c + (size-1)//2)) ** -beta
"""

from __future__ import annotations

import math
import numbers
from typing import Any, List, Union  # noqa: UP035

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from lrnorm._fronts.torch import autograd
from lrnorm._fronts.torch.formula import Window
from lrnorm._fronts.torch.front import check_tensor
from lrnorm._function.dispatch import front_of
from lrnorm._function.foreign_names import Translation, translation, unknown_parameter
from lrnorm._spec.errors import KindError, ParameterError, ShapeError


def local_response_norm(
    input: Tensor,
    size: int,
    alpha: float | Tensor = 1e-4,
    beta: float | Tensor = 0.75,
    k: float | Tensor = 1.0,
    **foreign: Any,
) -> Tensor:
    """`torch.nn.functional.local_response_norm`: right, and many times faster.

        D[c] = k + alpha/size * sum(x[j]**2 for j in c - size//2 … c + (size - 1)//2)
        y[c] = x[c] * D[c]**-beta

    Parameters
    ----------
    input : Tensor
        (batch, channels, …) of rank 3 or more, float16, bfloat16, float32 or float64, in any
        memory format, which the result keeps.
    size : int
        The width of the window. An even one has its extra channel in front, as PyTorch's has.
    alpha, beta, k : float or Tensor
        Tensors of one element get gradients.

    Differentiable to any order, in both modes, under torch.func, torch.compile, torch.export and
    autocast, which leaves the dtype of the input. Errors: ShapeError and ParameterError
    (ValueErrors), KindError (a TypeError).

    Source: torch.nn.LocalResponseNorm; Krizhevsky et al. (2012), section 3.3.

    >>> import torch
    >>> from lrnorm.torch import local_response_norm
    >>> x = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    >>> local_response_norm(x, 3, alpha=2.0, beta=0.75, k=0.5).flatten()
    tensor([0.3650, 0.3602, 0.5695])
    """
    if foreign:
        raise explain_words("local_response_norm", foreign, ("input", "size", "alpha", "beta", "k"))
    if has_torch_function_unary(input):
        return handle_torch_function(
            local_response_norm, (input,), input, size, alpha=alpha, beta=beta, k=k
        )
    window = window_of(size)
    check_input(input)
    coefficients = coefficients_of(size, alpha, beta, k, "k")
    return normalized(input, coefficients, window)


def _is_tensor(value: Union[float, int, Tensor]) -> bool:  # noqa: UP007
    return isinstance(value, Tensor)


def _as_number(value: Union[float, int, Tensor]) -> float:  # noqa: UP007
    if isinstance(value, Tensor):
        return value.item()
    return float(value)


def _as_tensor(value: Union[float, int, Tensor], input: Tensor) -> Tensor:  # noqa: UP007
    if isinstance(value, Tensor):
        return value.to(device=input.device, dtype=torch.float64).reshape([])
    return torch.tensor(float(value), dtype=torch.float64, device=input.device)


def scripted(
    input: Tensor,
    size: int,
    alpha: Union[float, int, Tensor] = 1e-4,  # noqa: UP007 — TorchScript wants it so
    beta: Union[float, int, Tensor] = 0.75,  # noqa: UP007
    k: Union[float, int, Tensor] = 1.0,  # noqa: UP007
) -> Tensor:
    """`local_response_norm` in the Python that TorchScript compiles. A saved script calls the
    operator lrnorm::forward, so `import lrnorm.torch` comes before torch.jit.load."""
    if input.dim() < 3:
        raise ValueError("input must be (batch, channels, …) of rank 3 or more.")
    if size < 1:
        raise ValueError("size must be a positive integer.")
    return scripted_window(input, size // 2, (size - 1) // 2, 1, alpha, beta, k)


def scripted_layer(
    input: Tensor,
    sizes: List[int],  # noqa: UP006
    ends: List[int],  # noqa: UP006
    alpha: Union[float, int, Tensor],  # noqa: UP007
    beta: Union[float, int, Tensor],  # noqa: UP007
    bias: Union[float, int, Tensor],  # noqa: UP007
) -> Tensor:
    """`layer_response_norm` for TorchScript; a size of -1 is any."""
    rank = input.dim()
    if rank != 3 and rank != 4:
        raise ValueError("port 'Input' expects rank 3, or a batch of rank 4.")
    for i in range(3):
        if sizes[i] != -1 and sizes[i] != input.size(rank - 3 + i):
            raise ValueError("port 'Input' expects (channels, height, width) of other sizes.")
    return scripted_window(input, ends[0], ends[1], rank - 3, alpha, beta, bias)


def scripted_window(
    input: Tensor,
    before: int,
    after: int,
    axis: int,
    alpha: Union[float, int, Tensor],  # noqa: UP007
    beta: Union[float, int, Tensor],  # noqa: UP007
    bias: Union[float, int, Tensor],  # noqa: UP007
) -> Tensor:
    """`normalized` for TorchScript."""
    x = input if input.is_floating_point() else input / 1
    size = before + after + 1
    if _is_tensor(alpha) or _is_tensor(beta) or _is_tensor(bias):
        numbers = torch.stack(
            [_as_tensor(alpha, x) / size, _as_tensor(beta, x), _as_tensor(bias, x)]
        )
        learned: Tensor = torch.ops.lrnorm.learned_forward(x, numbers, [before], [after], [axis])
        return learned
    scale = _as_number(alpha) / size
    y: Tensor = torch.ops.lrnorm.forward(
        x, scale, _as_number(beta), _as_number(bias), [before], [after], [axis]
    )
    return y


# torch.jit.script asks a callable for what it should compile in its place.
setattr(local_response_norm, "__prepare_scriptable__", lambda: scripted)  # noqa: B010


def explain_words(function: str, words: dict[str, Any], known: tuple[str, ...]) -> KindError:
    """The error for keywords that PyTorch's function does not have, with what to write instead."""
    word, value = next(iter(words.items()))
    ours = f"{word} is a parameter of lrnorm.local_response_norm(x, {word}=…), which takes tensors"
    found = translation(word, value)
    if found is not None and found.parameter != word:
        here = f"lrnorm.local_response_norm(x, {found.parameter}={found.value})"
        ours = f"{word} is {found.meaning}: {here} takes tensors"
    if found is not None and (here := _as_keywords(found)):
        way_out = f"{word} is {found.meaning}: here {here}"
    elif found is not None or word in ("spec", "axis", "dtype", "out"):
        way_out = ours
    else:
        way_out = f"It takes {', '.join(known)}"
    return unknown_parameter(f"lrnorm.torch.{function}", word, value, way_out)


def _as_keywords(found: Translation) -> str:
    """The parameters of PyTorch that say the same; empty where none do."""
    if found.parameter in ("alpha", "beta", "bias"):
        return f"{found.parameter.replace('bias', 'k')}={found.value}"
    if found.parameter != "channel_window_size":
        return ""
    here = "size=before + after + 1"
    if found.window is not None:
        before, after = found.window
        if before - after not in (0, 1):  # a window that no width gives
            return ""
        here = f"size={before + after + 1}"
    return here + (f" and alpha=alpha * {found.factor}" if found.factor else "")


def layer_response_norm(
    input: Tensor, ports: Any, channel_window_size: Any, alpha: Any, beta: Any, bias: Any
) -> Tensor:
    """What `LocalResponseNormalizationLayer` computes: (…, channels, height, width) of rank 3 or
    4, whose sizes are `ports`, None being any."""
    if has_torch_function_unary(input):
        return handle_torch_function(
            layer_response_norm, (input,), input, ports, channel_window_size, alpha, beta, bias
        )
    check_tensor(input, "port 'Input'")
    shape = tuple(input.shape)
    if len(shape) not in (3, 4) or any(
        expected is not None and expected != size
        for expected, size in zip(ports, shape[-3:], strict=True)
    ):
        rule = f"expects (channels, height, width) = {ports}, or a batch of them"
        raise ShapeError("port 'Input'", rule, value=shape)
    size = channel_window_size
    before, after = size if isinstance(size, tuple) else (size, size)
    coefficients = coefficients_of(before + after + 1, alpha, beta, bias, "bias")
    return normalized(input, coefficients, Window((before,), (after,), (len(shape) - 3,)))


def check_input(x: Any) -> None:
    """Refuse an input that torch.nn.LocalResponseNorm refuses: fewer than three axes."""
    check_tensor(x, "input")
    if x.ndim < 3:
        raise ShapeError(
            "input",
            "must be (batch, channels, …) of rank 3 or more",
            value=tuple(x.shape),
            got=f"shape {tuple(x.shape)}",
            way_out="For other ranks: lrnorm.local_response_norm(x, axis=…).",
        )


def window_of(size: Any) -> Window:
    """PyTorch's window of that width, along axis 1."""
    if isinstance(size, bool) or not isinstance(size, (int, numbers.Integral)) or size < 1:
        error = ParameterError if isinstance(size, numbers.Real) else KindError
        way_out = "It is the width of the window: 5 averages over 5 channels."
        raise error("size", "must be a positive integer", value=size, way_out=way_out)
    size = int(size)
    return Window((size // 2,), ((size - 1) // 2,), (1,))


def _number(name: str, value: Any) -> Any:
    """A finite float, or a tensor of one element."""
    if isinstance(value, Tensor):
        # While torch.jit.trace looks on, sizes are tensors, and a comparison is a warning.
        whole = torch.jit._trace.is_tracing() or value.numel() == 1  # type: ignore[no-untyped-call]
        if not (whole and value.is_floating_point()):
            rule, shape = "must be a number or a floating-point tensor of one element", value.shape
            got = f"{value.dtype} of shape {tuple(shape)}"
            raise ParameterError(name, rule, value=tuple(shape), got=got)
        return value
    if type(value) is not float:
        if isinstance(value, (bool, str)) or not isinstance(value, (int, numbers.Real)):
            raise KindError(name, "must be a number or a tensor of one element", value=value)
        value = float(value)
    if not -math.inf < value < math.inf:  # Dynamo cannot trace math.isfinite of a symbol
        raise ParameterError(name, "must be finite", value=value)
    return value


def coefficients_of(divisor: int, alpha: Any, beta: Any, bias: Any, bias_name: str) -> Any:
    """(scale, beta, bias): numbers, or one float64 tensor of them if any of them is a tensor."""
    given = _number("alpha", alpha), _number("beta", beta), _number(bias_name, bias)
    if not any(isinstance(value, Tensor) for value in given):
        return given[0] / divisor, given[1], given[2]
    device = next(value.device for value in given if isinstance(value, Tensor))
    alpha, beta, bias = (
        value.to(device=device, dtype=torch.float64).reshape(())
        if isinstance(value, Tensor)
        else torch.tensor(value, dtype=torch.float64, device=device)
        for value in given
    )
    return torch.stack([alpha / divisor, beta, bias])


def normalized(x: Tensor, coefficients: Any, window: Window) -> Tensor:
    """y for a checked tensor; one LRN node where a model is exported to ONNX."""
    if x.dtype not in _FLOAT:
        x = x / 1  # integers become the default type
    return autograd.forward(x, coefficients, window)


_FLOAT = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

# Found now: torch.compile cannot trace the import that the first tensor of a kind causes.
for _kind in (Tensor, torch.nn.Parameter):
    front_of(_kind())
