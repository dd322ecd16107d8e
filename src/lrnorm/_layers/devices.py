"""Target devices: PyTorch moves arrays to a GPU and results back."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from lrnorm._spec.errors import DeviceError, ParameterError, missing
from lrnorm._spec.spec import is_integer

Verb = Callable[..., Any]  # (front, array, …) → array


def gpu_number(target_device: Any) -> int | None:
    """1, 2, … for "GPU" or ("GPU", n); None for "CPU"."""
    if isinstance(target_device, str) and target_device == "CPU":
        return None
    name, number = target_device, 1
    if isinstance(target_device, (tuple, list)) and len(target_device) == 2:
        name, number = target_device
    if isinstance(name, str) and name == "GPU" and is_integer(number) and number > 0:
        return int(number)
    rule = "must be 'CPU', 'GPU' or ('GPU', n) with n = 1, 2, …"
    raise ParameterError("target_device", rule, value=target_device)


def device_of_gpu(number: int) -> str:
    """PyTorch's name of the n-th GPU; a DeviceError where there is none."""
    try:
        torch = import_module("torch")
    except ImportError as error:
        raise missing(
            "target_device='GPU'",
            "PyTorch",
            "'lrnorm[torch]'",
            otherwise="write target_device='CPU'",
        ) from error
    count = torch.cuda.device_count()
    if number > count:
        there = f"{count} GPU{'s' * (count != 1)}" if count else "no GPU"
        raise DeviceError(
            f"target_device=('GPU', {number})",
            f"must be there: PyTorch finds {there} here",
            way_out="Leave it out, or write target_device='CPU'.",
        )
    return f"cuda:{number - 1}"


def on_gpu(verb: Verb, number: int) -> Verb:
    """`verb` with its arrays taken to the n-th GPU, and the result taken back."""
    device = device_of_gpu(number)
    from lrnorm._fronts.torch import front

    def there_and_back(_: Any, axis: int, *arrays: Any) -> Any:
        result = verb(front, axis, *(front.taken_to(device, array) for array in arrays))
        return front.taken_back(result, arrays[0])

    return there_and_back
