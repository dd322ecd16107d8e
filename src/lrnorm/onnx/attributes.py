"""LRN nodes to LRNSpec and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from lrnorm import conventions
from lrnorm._spec.errors import ConventionError, KindError, LRNormError, ParameterError
from lrnorm._spec.spec import LRNSpec
from lrnorm.models.onnx import DEFAULTS, Located, words_of
from lrnorm.onnx.graph import Model, copied, lrn_nodes, opened, with_data


def specs(model: Model) -> dict[str, LRNSpec]:
    """Every LRN node of a model as an LRNSpec, by the node's name, in the model's order.

        scale = alpha / size,   before = (size - 1) // 2,   after = size // 2

    `model` is a path, bytes or an onnx.ModelProto; external data are not loaded. A node without a
    name goes by its output's, one whose name is doubled by `name:output`. One inside a graph or a
    function has the path there: `outer/then_branch/inner`, and for a function `call/inner`, once
    for each call. float32 attributes are read as their shortest decimal: 1e-4, not
    9.999999747378752e-05.

    Errors: FileError (an OSError) for what is no ONNX model; ParameterError (a ValueError) for an
    LRN that breaks ONNX's own rules; KindError (a TypeError) for a model of another kind.

    Source: the operator LRN-13 of the ONNX standard. Defaults: alpha 1e-4, beta 0.75, bias 1.

    >>> import lrnorm
    >>> spec = lrnorm.LRNSpec(scale=2e-05, beta=0.75, bias=2.0, before=2, after=2)
    >>> lrnorm.onnx.specs(lrnorm.onnx.to_onnx(spec))
    {'LRN': LRNSpec(scale=2e-05, beta=0.75, bias=2.0, before=2, after=2)}
    """
    return {path: spec_of(path, found) for path, found in lrn_nodes(opened(model)[0]).items()}


def spec_of(path: str, found: Located) -> LRNSpec:
    """The spec of an LRN node. Its window reaches (size - 1) // 2 before and size // 2 after."""
    said = attributes_of(path, found)
    size = said["size"]
    try:
        return LRNSpec(said["alpha"] / size, said["beta"], said["bias"], (size - 1) // 2, size // 2)
    except LRNormError as error:
        way_out = "lrnorm.onnx.rewrite gives the node other numbers."
        raise error.advising(way_out).at(path) from error


def attributes_of(path: str, found: Located) -> dict[str, Any]:
    """size, alpha, beta and bias of an LRN node as ONNX says them."""
    try:
        said = words_of(found.attributes)
    except ParameterError as error:
        raise error.about(f"{error.subject} of the LRN {path}") from error
    if said["size"] is None or said["size"] < 1:
        raise ParameterError(
            f"size of the LRN {path}",
            "must be a positive integer",
            value=said["size"],
            way_out="It is the number of channels in a window.",
        )
    return said


def in_onnx_words(spec: LRNSpec, channels: int | None = None) -> dict[str, Any] | str:
    """The attributes of the LRN node that is this spec, or the reason why there is none. On an
    axis of `channels` a window counts as far as it reaches."""
    try:
        words = conventions.write("onnx", spec)
    except ConventionError as error:
        narrower = spec if channels is None else clipped(spec, channels)
        return error.reason if narrower == spec else in_onnx_words(narrower)
    for name in ("alpha", "beta", "bias"):
        if not fits_float32(words[name]):
            return f"ONNX keeps {name} in float32, where {words[name]!r} does not fit"
    if words["size"] >= 2**63:
        return f"ONNX keeps size in 64 bits, where {words['size']} does not fit"
    return words


def clipped(spec: LRNSpec, channels: int) -> LRNSpec:
    """The spec with its window as far as it can reach on an axis of so many channels."""
    if isinstance(spec.before, tuple):
        return spec
    before, after = (min(end, max(channels - 1, 0)) for end in spec.ends(channels))
    return dataclasses.replace(spec, before=before, after=after)


def fits_float32(number: float) -> bool:
    """True if an attribute of a node, which is a float32, can hold the number."""
    with np.errstate(all="ignore"):
        return math.isclose(float(np.float32(number)), number, rel_tol=1e-6)


def rewrite(model: Model, changes: Mapping[str, LRNSpec]) -> ModelProto:
    """A copy of the model in which the named LRN nodes have these numbers.

        alpha = scale * (before + after + 1),   size = before + after + 1

    `changes` maps names, as `specs` gives them, to LRNSpecs. The model given is not changed. Of a
    path the external data come into the copy; a ModelProto or bytes keep their references.

    Errors: ParameterError (a ValueError) for a name that is not there, for numbers that no LRN node
    can say (`to_onnx` writes them as other operators), and for a node in a function whose calls
    are given different numbers; FileError (an OSError) and KindError (a TypeError) as in `specs`.

    Source: the operator LRN-13 of the ONNX standard.

    >>> import lrnorm
    >>> spec = lrnorm.LRNSpec(scale=2e-05, beta=0.75, bias=2.0, before=2, after=2)
    >>> model = lrnorm.onnx.to_onnx(spec)
    >>> wider = lrnorm.LRNSpec(scale=2e-05, beta=0.75, bias=2.0, before=3, after=3)
    >>> lrnorm.onnx.specs(lrnorm.onnx.rewrite(model, {"LRN": wider}))["LRN"].after
    3
    """
    copy, folder = copied(model)
    found = lrn_nodes(copy)
    if not isinstance(changes, Mapping):
        raise KindError("changes", "must map names of nodes to LRNSpecs", value=changes)
    words = {path: _checked(path, spec, found) for path, spec in changes.items()}
    for path, said in words.items():
        node = found[path].node
        calls = [other for other in found if found[other].node is node]
        if any(words.get(other) != said for other in calls):
            raise ParameterError(
                " and ".join(calls),
                "are one node in a function, and must get the same spec",
                value=[changes.get(other) for other in calls],
                way_out="To give them different ones, write the function out with "
                "onnx.inliner.inline_local_functions(model).",
            )
        kept = [attribute for attribute in node.attribute if attribute.name not in DEFAULTS]
        del node.attribute[:]
        node.attribute.extend([*kept, *map(helper.make_attribute, said, said.values())])
    return with_data(copy, model, folder)


def _checked(path: str, spec: Any, found: Mapping[str, Located]) -> dict[str, Any]:
    if path not in found:
        rule = f"must name an LRN node of the model, which has {', '.join(found) or 'none'}"
        raise ParameterError("changes", rule, value=path)
    if not isinstance(spec, LRNSpec):
        raise KindError(f"the new numbers of {path}", "must be an LRNSpec", value=spec)
    said = in_onnx_words(spec)
    if isinstance(said, str):
        raise ParameterError(
            path,
            f"cannot be {spec}: {said}",
            value=spec,
            got="",
            way_out="lrnorm.onnx.to_onnx(spec) writes such a window as other operators.",
        )
    return said
