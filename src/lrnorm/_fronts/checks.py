"""Checks that the fronts share: the type of an argument, its dtype, `out`, and pairs of arrays.

Each rule and its text stand here once; a front adds the words of its own library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lrnorm._fronts.memory import Sharing, has_own_places
from lrnorm._spec.errors import KindError, OutputError, ShapeError

FLOATS = ("float16", "bfloat16", "float32", "float64")


def kind_name(x: Any) -> str:
    """The class of x with its module: numpy.ndarray."""
    return f"{type(x).__module__}.{type(x).__qualname__}"


def wrong_kind(subject: str, rule: str, x: Any, way_out: str) -> KindError:
    """The error for an argument of another class."""
    return KindError(subject, rule, value=type(x), got=kind_name(x), way_out=way_out)


def wrong_dtype(name: str, dtype: Any, *, is_complex: bool, conversion: str) -> KindError:
    """The error for an array of a dtype that is not computed."""
    way_out = (
        f"Normalize the real and the imaginary part, or abs({name}), as the model means."
        if is_complex
        else f"Convert it first, for example with {conversion}."
    )
    rule = f"must hold {', '.join(FLOATS)}, integers or booleans"
    return KindError(name, rule, value=dtype, got=str(dtype), way_out=way_out)


def wrong_request(dtype: Any, allowed: Iterable[str], where: str = "") -> KindError:
    """The error for a `dtype=` that no result can have; `where` follows the names allowed."""
    *others, last = allowed
    names = f"{', '.join(others)} or {last}" if others else last
    rule, got = f"must be {names}{where}", getattr(dtype, "name", None)
    way_out = "Use for example dtype='float32'."
    return KindError("dtype", rule, value=dtype, got=got or repr(dtype), way_out=way_out)


def check_shape(x: Any, other: Any, name: str) -> None:
    """`other` has the shape of x."""
    if other.shape != x.shape:
        rule, shape = f"must have the shape of x, {tuple(x.shape)}", tuple(other.shape)
        error = OutputError if name == "out" else ShapeError
        raise error(name, rule, value=shape, way_out=f"Pass {name} of that shape.")


def check_device(x: Any, other: Any, name: str) -> None:
    """`other` is on the device of x."""
    if other.device != x.device:
        rule, device = f"must be on the device of x, {x.device}", other.device
        error = OutputError if name == "out" else KindError
        way_out = "Move one of them to the device of the other."
        raise error(name, rule, value=device, got=str(device), way_out=way_out)


def check_out_dtype(out: Any, dtype: Any, way_out: str = "") -> None:
    """`out` has the dtype of the result."""
    if out.dtype != dtype:
        rule, found = f"must have the dtype of the result, {dtype}", out.dtype
        way_out = way_out or f"Pass out of the dtype {dtype}."
        raise OutputError("out", rule, value=found, got=str(found), way_out=way_out)


def check_places(
    out: Any,
    strides: tuple[int, ...],
    item: int,
    inputs: Mapping[str, Any],
    sharing: Callable[[Any, Any], Sharing],
    noun: str,
) -> None:
    """Every element of `out` has memory of its own, and of the inputs it has none, unless it is x
    itself. `inputs` begin with x; one of the others may be x too."""
    if not has_own_places(strides, out.shape, item):
        shared = "a broadcast array" if noun == "array" else "an expanded tensor"
        raise OutputError(
            "out",
            "must have a place of its own for every element",
            value=strides,
            got=f"{shared} or a view that overlaps itself, with strides {strides}",
            way_out=f"Leave it out for a new {noun}.",
        )
    new, in_place = f"a new {noun} with memory of its own.", False
    for name, a in inputs.items():
        how = Sharing.SAME if out is a else sharing(out, a)
        if name == "x":
            in_place = how is Sharing.SAME
        if how is Sharing.NONE or (how is Sharing.SAME and in_place):
            continue
        # out=x would not help beside another input, which may overlap x as well.
        itself, either = (" without being x itself", "out=x, or ") if name == "x" else ("", "")
        raise OutputError(
            "out",
            f"overlaps {name}{itself}, so elements would be overwritten before they are read",
            way_out=f"Pass {either}{new}",
        )
