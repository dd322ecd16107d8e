"""The interface of `lrnorm._core` over NumPy, for installations without the compiled core.

    y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

The array API front computes, with the same accuracy and many times slower. The first call warns.
"""

from __future__ import annotations

import functools
import os
import warnings
from typing import Any

import numpy as np

from lrnorm._fronts import array_api
from lrnorm._spec.errors import missing
from lrnorm._spec.spec import LRNSpec

reason = ""  # why the compiled core is missing

_threads = 1


class Memory(bytearray):
    """A buffer of so many bytes."""

    fresh = False


@functools.cache
def _warn() -> None:
    """Once in a process, at the first array."""
    if not hasattr(np, "astype"):
        needs = f"its compiled core ({reason}), or NumPy 2 in its place"
        raise missing("lrnorm", needs, "'numpy>=2'")
    warnings.warn(
        f"lrnorm computes with NumPy, many times slower, because its compiled core is missing "
        f"({reason}). Run pip install --force-reinstall --no-cache-dir lrnorm, which needs a wheel "
        "for this system or a C++ compiler (GCC or Clang).",
        stacklevel=5,
    )


def _numbers(a: Any) -> Any:
    """Floats of what the core reads: bfloat16 comes as its bits."""
    if a.dtype != np.uint16:
        return a
    return (a.astype(np.uint32) << 16).view(np.float32)


def _put(y: Any, out: Any) -> bool:
    """Write floats to where the core would, bfloat16 rounded to its bits."""
    if out.dtype == np.uint16:
        bits = np.ascontiguousarray(y, np.float32).view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        y = np.where(np.isnan(y), 0x7FC0, rounded).astype(np.uint16)
    with np.errstate(all="ignore"):
        out[...] = y
    return True


def _where(
    scale: float, beta: float, bias: float, before: Any, after: Any, axis: Any, *_: Any
) -> tuple[LRNSpec, Any]:
    """The spec and the axis in the numbers that follow the arrays of a verb."""
    return LRNSpec(scale, beta, bias, before, after), axis


def forward(x: Any, out: Any, *numbers: Any, **_: Any) -> bool:
    """Write y into `out`; True, since NumPy reads every array."""
    _warn()
    return _put(array_api.forward(_numbers(x), *_where(*numbers)), out)


def vjp(x: Any, g: Any, out: Any, *numbers: Any, **_: Any) -> bool:
    """Write the gradient of sum(g * y) into `out`."""
    _warn()
    return _put(array_api.vjp(_numbers(x), _numbers(g), *_where(*numbers)), out)


def jvp(x: Any, t: Any, out: Any, *numbers: Any, **_: Any) -> bool:
    """Write the derivative of y along t into `out`."""
    _warn()
    return _put(array_api.jvp(_numbers(x), _numbers(t), *_where(*numbers)), out)


def parameters(x: Any, g: Any, *numbers: Any, **_: Any) -> tuple[float, ...]:
    """The gradients of sum(g * y) by scale, beta and bias."""
    _warn()
    by = array_api.parameter_gradients(_numbers(x), _numbers(g), *_where(*numbers))
    return tuple(float(by[name]) for name in ("scale", "beta", "bias"))


def vjp_parameters(x: Any, g: Any, out: Any, *numbers: Any, **_: Any) -> tuple[float, ...]:
    """Write dx into `out` and return the gradients by scale, beta and bias."""
    totals = parameters(x, g, *numbers)
    vjp(x, g, out, *numbers)
    return totals


def forward_period(*_: Any) -> int:
    """No sum depends on where the axis begins: regions may begin anywhere."""
    return 1


# A box is a tuple of axes, with a tuple for each end: the front takes both.
box_forward, box_vjp, box_jvp, box_parameters = forward, vjp, jvp, parameters


def xla_handler(verb: str) -> Any:
    """XLA needs the compiled core; JAX computes in plain operations instead."""
    raise RuntimeError(f"the compiled core is missing ({reason})")


def isa_names() -> tuple[str, ...]:
    """The only name, in place of instruction sets."""
    return ("numpy",)


def isa_in_use() -> str:
    """ "numpy", in place of an instruction set."""
    return "numpy"


def choose_isa(name: str) -> bool:
    """True for the only name."""
    return name == "numpy"


def thread_count() -> int:
    """The number asked for; NumPy computes on the calling thread."""
    return _threads


def set_thread_count(count: int) -> None:
    """Keep the number for `thread_count`."""
    global _threads
    _threads = count


def usable_processors() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
