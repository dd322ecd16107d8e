"""The keywords of the functions: their defaults, and the LRNSpec that they give."""

from __future__ import annotations

from typing import Any

from lrnorm._function.foreign_names import explain_foreign
from lrnorm._spec.errors import KindError
from lrnorm._spec.spec import Axis, LRNSpec, spec_from_keywords

NUMBERS = ("alpha", "beta", "bias", "channel_window_size")


class _Radius(int):
    """An int with an identity of its own: Python shares small ones."""


# A default is distinguished from an equal value by identity, so that a number given beside spec=
# is noticed.
ALPHA = float("1.0")
BETA = float("0.5")
BIAS = float("1.0")
RADIUS = _Radius(2)

# The keywords of each function beside the four numbers, spec and axis.
_OTHERS = {
    "local_response_norm": ("dtype", "out"),
    "local_response_norm_vjp": ("parameters", "out"),
    "local_response_norm_jvp": ("out",),
}


def spec_of(
    function: str,
    alpha: Any,
    beta: Any,
    bias: Any,
    size: Any,
    spec: Any,
    foreign: dict[str, Any],
    axis: Axis = None,
) -> LRNSpec:
    """The LRNSpec that the keywords of `function` give along `axis`, each checked."""
    if foreign:
        raise explain_foreign(function, foreign, (*NUMBERS, "spec", "axis", *_OTHERS[function]))
    if spec is None:
        return spec_from_keywords(alpha, beta, bias, size, axis)
    if not isinstance(spec, LRNSpec):
        raise KindError(
            "spec",
            "must be an LRNSpec",
            value=spec,
            way_out="Write LRNSpec(scale, beta, bias, before, after).",
        )
    values, defaults = (alpha, beta, bias, size), (ALPHA, BETA, BIAS, RADIUS)
    places = zip(NUMBERS, values, defaults, strict=True)
    given = [name for name, value, default in places if value is not default]
    if given:
        raise KindError(
            "spec",
            f"replaces {', '.join(NUMBERS)}",
            value=spec,
            got=f"spec and {', '.join(given)}",
            way_out="Give one or the other.",
        )
    return spec


def width_of(spec: LRNSpec) -> int:
    """The window size of a spec that was made from keywords, which give both ends."""
    return spec.width or 1


def by_keywords(gradients: dict[str, Any], spec: LRNSpec) -> dict[str, Any]:
    """Gradients by scale, beta and bias as gradients by alpha, beta and bias."""
    by_alpha = gradients["scale"] / width_of(spec)
    return {"alpha": by_alpha, "beta": gradients["beta"], "bias": gradients["bias"]}
