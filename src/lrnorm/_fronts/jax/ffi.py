"""The compiled core under XLA on the CPU, through its foreign function interface: registered and
tried at the first lowering, and split over devices along every axis but those of the window.
"""

from __future__ import annotations

import functools
import logging
import string
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from lrnorm._fronts import config
from lrnorm._fronts.core import core as _core
from lrnorm._fronts.jax.formula import Window, total_dtype

# Importing _config is what reads the environment into the core.
assert config

# Numbers known when a program is made are attributes of the call; None stands for an operand.
StaticNumbers = tuple[float | None, float | None, float | None]

VERBS = ("forward", "vjp", "jvp", "parameters")
_log = logging.getLogger("lrnorm")


def _target(verb: str) -> str:
    return f"lrnorm_{verb}"


def call(verb: str, *operands: Array, numbers: StaticNumbers, window: Window) -> Array:
    """One call of the core: x, for other verbs than forward a second array, traced numbers."""
    x = operands[0]
    totals = verb == "parameters"
    shape, dtype = ((3,), total_dtype()) if totals else (x.shape, x.dtype)
    named = zip(("scale", "beta", "bias"), numbers, strict=True)
    known = {name: np.float64(number) for name, number in named if number is not None}
    box = {name: np.array(ends, np.int64) for name, ends in window._asdict().items()}
    result = jax.ShapeDtypeStruct(shape, dtype)
    y: Array = jax.ffi.ffi_call(_target(verb), result)(*operands, **known, **box)
    return y


@functools.cache
def are_available() -> bool:
    """Whether XLA accepts the handlers, and a first call comes back right."""
    try:
        for verb in VERBS:
            jax.ffi.register_ffi_target(_target(verb), _core.xla_handler(verb), platform="cpu")
        _try_one()
    except Exception as error:  # whatever a version of XLA says when it does not fit
        _log.warning("lrnorm.jax computes with plain JAX, because XLA refuses the core: %s", error)
        return False
    return True


def _try_one() -> None:
    def double(x: Array) -> Array:
        return call("forward", x, numbers=(0.0, 1.0, 0.5), window=Window((0,), (0,), (0,)))

    cpu = jax.local_devices(backend="cpu")[0]
    with jax.ensure_compile_time_eval(), jax.default_device(cpu):
        y = jax.jit(double)(np.ones(1, np.float32))
    if y[0] != 2:
        raise RuntimeError(f"2 was expected of a first call, {y[0]} came back")


def partitioned(verb: str, numbers: StaticNumbers, window: Window) -> Callable[..., Array]:
    """`call` that each device makes for its own part, with the axes of the window whole."""

    totals = verb == "parameters"

    def compute(*operands: Array) -> Array:
        return call(verb, *operands, numbers=numbers, window=window)

    def split(arguments: Sequence[Any]) -> tuple[Any, Any, list[str]]:
        """How x is to lie, how what has no axes, and the mesh axes that x is spread over."""
        x = arguments[0]
        mesh, given = x.sharding.mesh, x.sharding.spec
        spec = [None if axis in window.axes else entry for axis, entry in enumerate(given)]
        names = [n for entry in spec if entry for n in (entry if type(entry) is tuple else [entry])]
        return (
            NamedSharding(mesh, PartitionSpec(*spec)),
            NamedSharding(mesh, PartitionSpec()),
            names,
        )

    def partition(mesh: Any, arguments: Any, result: Any) -> Any:
        spread, whole, names = split(arguments)

        def each(*operands: Array) -> Array:
            y = compute(*operands)
            return jax.lax.psum(y, names) if totals and names else y

        shardings = tuple(spread if len(a.shape) else whole for a in arguments)
        return mesh, each, whole if totals else spread, shardings

    def infer(mesh: Any, arguments: Any, result: Any) -> Any:
        spread, whole, _ = split(arguments)
        return whole if totals else spread

    def rule(mesh: Any, arguments: Any, results: Any) -> Any:
        axes = [f"axis_{letter}" for letter in string.ascii_lowercase]
        names = [" ".join(axes[: len(a.shape)]) for a in arguments]
        whole = tuple(axes[axis] for axis in sorted(window.axes))
        others = tuple(a for a in axes[: len(arguments[0].shape)] if a not in whole)
        if totals:
            return f"{', '.join(names)} -> total", {
                "need_replication_factors": (*whole, "total"),
                "reduction_factors": others,
            }
        return f"{', '.join(names)} -> {names[0]}", {"need_replication_factors": whole}

    partitioned_call = custom_partitioning(compute)
    partitioned_call.def_partition(
        partition, infer_sharding_from_operands=infer, sharding_rule=rule
    )
    return partitioned_call
