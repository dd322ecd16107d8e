"""Runs the callable on arrays of its own kind; probes go in and come back as float64."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lrnorm._spec.errors import IdentificationError, KindError, ParameterError

Array = npt.NDArray[np.float64]

# Significant bits, smallest and largest exponent of a normal number, of each type of a probe.
TYPES = {
    "float16": (11, -14, 15),
    "bfloat16": (8, -126, 127),
    "float32": (24, -126, 127),
    "float64": (53, -1022, 1023),
}


class Precision:
    """The floating-point type that the probes and the results have."""

    def __init__(self, name: str) -> None:
        self.name = name
        bits, low, high = TYPES[name]
        self.eps = 2.0 ** (1 - bits)
        self.tiny = 2.0**low
        self.largest = float(2.0**high * (2 - self.eps))
        self._bits, self._low = bits, low

    def spacing(self, size: Any) -> Any:
        """The distance between neighbouring numbers of this type at `size`."""
        _, exponent = np.frexp(np.abs(size))
        return np.ldexp(np.longdouble(1), np.maximum(exponent - 1, self._low) - self._bits + 1)

    def rounded(self, values: Any) -> Array:
        """The nearest numbers of this type, as float64."""
        with np.errstate(over="ignore"):
            if self.name != "bfloat16":
                return np.asarray(values).astype(self.name).astype(np.float64)
            bits = np.asarray(values, dtype=np.float32).view(np.uint32)
            bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
            return bits.view(np.float32).astype(np.float64)


def as_numpy(x: Array, dtype: str) -> Any:
    """A probe as a NumPy array of a dtype."""
    return x.astype(np.dtype(dtype))  # bfloat16 is known where ml_dtypes was imported


def as_torch(x: Array, dtype: str, device: Any = None) -> Any:
    """A probe as a PyTorch tensor of a dtype, on a device."""
    torch: Any = sys.modules["torch"]
    return torch.from_numpy(x.copy()).to(device, getattr(torch, dtype))


def as_jax(x: Array, dtype: str) -> Any:
    """A probe as a JAX array of a dtype."""
    numpy: Any = sys.modules["jax"].numpy
    return numpy.asarray(x.astype(np.float32) if dtype == "bfloat16" else x, dtype=dtype)


# The kinds of array that a callable may take, by the module that must be loaded for it.
KINDS: dict[str, Callable[..., Any]] = {"numpy": as_numpy, "torch": as_torch, "jax": as_jax}


def _is_module(f: Any) -> bool:
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(f, torch.nn.Module)


def as_float64(y: Any) -> tuple[Array, str]:
    """The values of a result, and the name of its dtype."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(y, torch.Tensor):
        name = str(y.dtype).removeprefix("torch.")
        return y.detach().to("cpu", torch.float64).numpy(), name
    array = np.asarray(y)
    return array.astype(np.float64), array.dtype.name


def _type_name(dtype: Any) -> str:
    """The name of a dtype: "float32" also for np.float32, np.dtype("float32"), torch.float32."""
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None)
    return name if isinstance(name, str) else str(dtype).rpartition(".")[2]


class Subject:
    """The callable behind one door. A probe is a column: the values along the channels at one
    place of the other axes. Columns are packed into arrays of one shape."""

    def __init__(self, f: Any, shape: tuple[int, ...], axis: int, dtype: Any) -> None:
        if not callable(f):
            raise KindError(
                "f", "must be callable", value=f, way_out="Pass a function or a module."
            )
        if isinstance(f, type):
            name = f.__qualname__
            rule, way_out = "must be a function or an instance", f"Pass {name}(…)."
            raise KindError("f", rule, got=f"the class {name}", way_out=way_out)
        name = _type_name(dtype)
        if name not in TYPES:
            raise ParameterError("dtype", f"must be one of {', '.join(TYPES)}", value=dtype)
        dtype = name
        self.f, self.shape, self.axis, self.dtype = f, shape, axis, dtype
        self.channels = shape[axis]
        self.columns = int(np.prod(shape)) // self.channels
        self.precision = Precision(dtype)
        self.calls = 0
        self._moved = tuple(np.delete(shape, axis))
        self._kind = "torch" if _is_module(f) else None
        self._device = None
        if self._kind:
            tensors = (*f.parameters(), *f.buffers())
            self._device = next((tensor.device for tensor in tensors), None)

    def _array(self, kind: str, x: Array) -> Any:
        more = {"device": self._device} if kind == "torch" else {}
        return KINDS[kind](x, self.dtype, **more)

    def _run(self, x: Array, kind: str) -> Any:
        self.calls += 1
        with np.errstate(all="ignore"):
            if kind != "torch":
                return self.f(self._array(kind, x))
            torch: Any = sys.modules["torch"]
            with torch.no_grad():
                return self.f(self._array(kind, x))

    def _kinds(self) -> Iterator[str]:
        """The kinds to try, the frameworks first that are already loaded."""
        yield from [self._kind] if self._kind else [k for k in KINDS if k in sys.modules]

    def result(self, x: Array) -> Any:
        """f of an array of the full shape. The first call finds the kind of array that f takes."""
        first: Exception | None = None
        for kind in self._kinds():
            try:
                y = self._run(x, kind)
            except Exception as error:
                first = first or error
                continue
            self._kind = kind
            return y
        name = type(first).__name__
        message = " ".join(str(first).split())[:200]
        raise IdentificationError(
            f"on {self.dtype} of shape {self.shape} it raises {name}: {message}",
            "raises",
            "If it takes arrays of another shape, pass that as shape=.",
        ) from first

    def values(self, x: Array) -> Array:
        """f of one array as float64, which must have the shape of the input."""
        y = self.result(np.ascontiguousarray(x))
        try:
            if y is None or isinstance(y, tuple):
                raise TypeError("no array")
            values, name = as_float64(y)
        except (TypeError, ValueError) as error:
            raise IdentificationError(
                f"it returns {None if y is None else type(y).__qualname__}, which is not an array",
                "shape",
            ) from error
        if values.shape != self.shape:
            raise IdentificationError(
                f"it turns the shape {self.shape} into {values.shape}", "shape"
            )
        if name in TYPES and TYPES[name][0] < TYPES[self.precision.name][0]:
            self.precision = Precision(name)
        return values

    def full(self, x: Array) -> Array:
        """f of (columns, channels) float64 numbers that fill one array."""
        stacked = x.reshape(*self._moved, self.channels)
        values = self.values(np.moveaxis(stacked, -1, self.axis))
        return np.moveaxis(values, self.axis, -1).reshape(self.columns, self.channels)

    def __call__(self, columns: Array) -> Array:
        """f of any number of columns, in as few calls as it takes; the rest of the last array
        repeats the first columns."""
        count = len(columns)
        calls = -(-count // self.columns)
        packed = np.resize(columns, (calls * self.columns, self.channels))
        parts = [self.full(part) for part in np.split(packed, calls)]
        return np.concatenate(parts)[:count]
