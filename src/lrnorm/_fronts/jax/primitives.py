"""The verbs as JAX primitives: what makes them work under every transformation.

    forward(x)           x is all that is kept for the backward pass; its tangent is jvp's
    vjp(x, g)            linear in g, and the transpose of jvp
    jvp(x, t)            linear in t, and the transpose of vjp
    parameters(x, g)     linear in g, and the transpose of along
    along(x, direction)  linear in direction, and the transpose of parameters

Behind these operands come those of scale, beta and bias that are traced: their places in
`numbers` are None. What is not linear is differentiated through `_composed`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax._src import dispatch  # custom partitioning needs what no public module has
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import PartitionSpec, reshard

from lrnorm._fronts.jax import ffi, formula
from lrnorm._fronts.jax.ffi import StaticNumbers
from lrnorm._fronts.jax.formula import Window

_TRANSPOSED = {"vjp": "jvp", "jvp": "vjp", "parameters": "along", "along": "parameters"}
_PRIMITIVES = {verb: Primitive(f"lrnorm_{verb}") for verb in formula.VERBS}


# Where the type of an array tells the axes of a mesh it varies along: `vma` before JAX 0.10.
_TYPES_HOLD_AXES = hasattr(jax.typeof(0.0), "manual_axis_type")


def _varying_axes(a: Any) -> frozenset[str]:
    """The mesh axes of a shard_map along which it differs."""
    kind: Any = jax.typeof(a)
    axes: frozenset[str] = kind.manual_axis_type.varying if _TYPES_HOLD_AXES else kind.vma
    return axes


def _varying_alike(operands: Sequence[Any]) -> list[Any]:
    """Inside a shard_map operands vary along the same axes of the mesh: what does not yet is made
    to, whose derivative is the sum over them."""
    axes = frozenset[str]().union(*map(_varying_axes, operands))
    return [
        lax.pcast(a, tuple(sorted(missing)), to="varying")
        if (missing := axes - _varying_axes(a))
        else a
        for a in operands
    ]


def bind(verb: str, *operands: Any, numbers: StaticNumbers, window: Window) -> Array:
    """The verb of x, its second operand, and the traced numbers."""
    y: Array = _PRIMITIVES[verb].bind(*_varying_alike(operands), numbers=numbers, window=window)
    return y


def _arrays(verb: str) -> int:
    """How many operands stand before the traced numbers."""
    return 1 if verb == "forward" else 2


def _compose(
    verb: str,
    *operands: Array,
    numbers: StaticNumbers,
    window: Window,
    differentiated: bool = False,
) -> Array:
    """The verb in plain operations."""
    arrays, traced = operands[: _arrays(verb)], iter(operands[_arrays(verb) :])
    scale, beta, bias = (next(traced) if number is None else number for number in numbers)
    composed = functools.partial(formula.VERBS[verb], differentiated=differentiated)
    given = jax.typeof(operands[0]).sharding
    if all(given.spec[axis] is None for axis in window.axes):
        return composed(*arrays, (scale, beta, bias), window)
    # Where types tell shardings, an axis that is spread cannot be cut: gather, compute, spread.
    whole = given.update(spec=PartitionSpec(*_without(given.spec, window.axes)))
    gathered = [reshard(a, whole) if a.shape == operands[0].shape else a for a in arrays]
    y = composed(*gathered, (scale, beta, bias), window)
    return y if verb == "parameters" else reshard(y, given)


def _without(spec: Sequence[Any], axes: Sequence[int]) -> list[Any]:
    return [None if i in axes else entry for i, entry in enumerate(spec)]


def _abstract(verb: str, x: Any, *_: Any, numbers: StaticNumbers, window: Window) -> Any:
    if verb != "parameters":
        return x
    nowhere = x.sharding.update(spec=PartitionSpec(None))
    return x.update(shape=(3,), dtype=formula.total_dtype(), weak_type=False, sharding=nowhere)


def _tangent(verb: str, primals: Any, tangents: Any, **how: Any) -> tuple[Any, Any]:
    """The derivative along the tangents: by the linear operand the verb itself, by x and the
    numbers the formula."""
    y = bind(verb, *primals, **how)
    x, *_ = primals
    first, linear = tangents[0], tangents[1 : _arrays(verb)]
    traced, by_traced = primals[_arrays(verb) :], tangents[_arrays(verb) :]
    pieces = []
    if verb == "forward":
        if not _is_zero(first):
            pieces.append(bind("jvp", x, first, *traced, **how))
        if not all(map(_is_zero, by_traced)):
            direction = _direction(traced, by_traced, how["numbers"])
            pieces.append(bind("along", x, direction, *traced, **how))
    else:
        if not _is_zero(linear[0]):
            pieces.append(bind(verb, x, linear[0], *traced, **how))
        moving = [i for i, t in enumerate(tangents) if i != 1 and not _is_zero(t)]
        if moving:
            pieces.append(_composed_tangent(verb, primals, tangents, moving, **how))
    if not pieces:
        return y, ad.Zero(jax.typeof(y).to_tangent_aval())
    return y, functools.reduce(jnp.add, pieces)


def _is_zero(tangent: Any) -> bool:
    return type(tangent) is ad.Zero


def _direction(traced: Sequence[Array], tangents: Any, numbers: StaticNumbers) -> Array:
    """The tangents of the traced numbers in their places among the three, and zeros."""
    dtype = jnp.result_type(*traced)
    moving = iter(tangents)
    steps = [None if number is not None else next(moving) for number in numbers]
    return jnp.stack(
        [jnp.zeros((), dtype) if s is None or _is_zero(s) else s.astype(dtype) for s in steps]
    )


def _composed_tangent(
    verb: str, primals: Any, tangents: Any, moving: Sequence[int], **how: Any
) -> Array:
    """What the verb gains as those of its operands move."""

    def of_moving(*operands: Array) -> Array:
        every = list(primals)
        for i, operand in zip(moving, operands, strict=True):
            every[i] = operand
        return _compose(verb, *_varying_alike(every), **how, differentiated=True)

    steps = [tangents[i] for i in moving]
    _, tangent = jax.jvp(of_moving, [primals[i] for i in moving], steps)
    return tangent  # type: ignore[no-any-return]


def _transpose(verb: str, cotangent: Any, *operands: Any, **how: Any) -> list[Any]:
    """The transpose in the linear operand, the second: vjp and jvp are transposes of each other."""
    x, linear, *traced = operands
    result: list[Any] = [None] * len(operands)
    if _is_zero(cotangent):
        result[1] = ad.Zero(linear.aval)
    else:
        cotangent = bind(_TRANSPOSED[verb], x, cotangent, *traced, **how)
        result[1] = cotangent.astype(linear.aval.dtype)
    return result


def _batched(verb: str, operands: Any, dims: Any, **how: Any) -> tuple[Array, int]:
    """The rule of vmap: a mapped axis is one more axis of pixels; mapped numbers go one by one."""
    window = how["window"]
    arrays = 1 if verb in ("forward", "along") else 2  # that have the axes of x
    at = next((d for d in dims[:arrays] if d is not None), None)
    if verb == "parameters" or any(d is not None for d in dims[arrays:]):
        return _one_by_one(verb, operands, dims, **how), 0
    assert at is not None
    size = next(o.shape[d] for o, d in zip(operands, dims, strict=True) if d is not None)
    alike = [
        _broadcast(a, size, at) if d is None else jnp.moveaxis(a, d, at)
        for a, d in zip(operands[:arrays], dims, strict=False)
    ]
    inner = window._replace(axes=tuple(axis + (at <= axis) for axis in window.axes))
    return bind(verb, *alike, *operands[arrays:], numbers=how["numbers"], window=inner), at


def _broadcast(a: Array, size: int, at: int) -> Array:
    return jnp.broadcast_to(jnp.expand_dims(a, at), (*a.shape[:at], size, *a.shape[at:]))


def _one_by_one(verb: str, operands: Any, dims: Any, **how: Any) -> Array:
    """Numbers that differ from example to example, sums for each: a call for every one."""
    mapped = [jnp.moveaxis(o, d, 0) for o, d in zip(operands, dims, strict=True) if d is not None]

    def one(items: list[Array]) -> Array:
        item = iter(items)
        return bind(
            verb,
            *(o if d is None else next(item) for o, d in zip(operands, dims, strict=True)),
            **how,
        )

    y: Array = lax.map(one, mapped)
    return y


def _lowered(verb: str) -> Callable[..., Any]:
    """The plain operations."""
    return mlir.lower_fun(functools.partial(_compose, verb), multiple_results=False)


def _lowered_for_cpu(verb: str) -> Callable[..., Any]:
    """The core, where it can be called."""
    composed = _lowered(verb)

    def lowered(ctx: Any, *operands: Any, **how: Any) -> Any:
        if not _core_may_be_called(ctx.module_context) or not ffi.are_available():
            return composed(ctx, *operands, **how)
        kernel = ffi.partitioned(verb, **how)
        return mlir.lower_fun(kernel, multiple_results=False)(ctx, *operands)

    return lowered


def _core_may_be_called(module: Any) -> bool:
    """Not in a program that is exported, which runs where lrnorm is not; and not where nobody will
    say how an operand is spread over devices, as in a shard_map over some axes of a mesh."""
    if module.lowering_parameters.for_export:
        return False
    axes = module.axis_context
    if isinstance(axes, mlir.SPMDAxisContext):
        return set(axes.manual_axes) == set(axes.mesh.axis_names)
    return isinstance(axes, mlir.ShardingContext) and (
        axes.num_devices == 1 or axes.abstract_mesh is not None
    )


def _define(verb: str, primitive: Primitive) -> None:
    def evaluate(*operands: Any, numbers: StaticNumbers, window: Window) -> Any:
        return primitive.bind(*operands, numbers=numbers, window=window)

    evaluate.__name__ = primitive.name
    primitive.def_impl(jax.jit(evaluate, static_argnames=("numbers", "window")))
    primitive.def_abstract_eval(functools.partial(_abstract, verb))
    ad.primitive_jvps[primitive] = functools.partial(_tangent, verb)
    if verb in _TRANSPOSED:
        ad.primitive_transposes[primitive] = functools.partial(_transpose, verb)
    batching.primitive_batchers[primitive] = functools.partial(_batched, verb)
    mlir.register_lowering(primitive, _lowered(verb))
    if verb in ffi.VERBS:
        mlir.register_lowering(primitive, _lowered_for_cpu(verb), platform="cpu")
        dispatch.prim_requires_devices_during_lowering.add(primitive)


for _verb, _primitive in _PRIMITIVES.items():
    _define(_verb, _primitive)
