"""MXNet: the symbol file, -symbol.json. Attributes are texts, under attrs, attr or param.

Operator LRN: nsize required, alpha 1e-4, beta 0.75, knorm 2.
Source: MXNet, src/operator/nn/lrn.cc and nnvm's pass/saveload_json.cc.
"""

from __future__ import annotations

from typing import Any

from lrnorm.models.found import Found, Listing, ModelFile, lrn
from lrnorm.models.source import DamagedError, Source
from lrnorm.models.texts import json_of, number_of, whole

_WORDS = {"alpha": 1e-4, "beta": 0.75, "knorm": 2.0}


def is_symbol(source: Source) -> bool:
    """True for JSON with the keys nodes and op."""
    head = source.head.lstrip()
    return head.startswith(b"{") and b'"nodes"' in head and b'"op"' in head


def read(source: Source) -> ModelFile:
    """Each node LRN in the JSON of a symbol."""
    graph = json_of(source.text())
    nodes = graph.get("nodes") if isinstance(graph, dict) else None
    if not isinstance(nodes, list):
        raise DamagedError("it has no list of nodes")
    listing = Listing()
    for node in nodes:
        kind = node.get("op") if isinstance(node, dict) else None
        if not isinstance(kind, str):
            raise DamagedError("a node has no operator")
        if kind != "null":  # a variable
            listing.operators[kind] += 1
        if kind == "LRN":
            listing.lrns.append(_lrn(str(node.get("name", "LRN")), node))
    return listing.file(source, "MXNet symbol")


def _lrn(name: str, node: dict[str, Any]) -> Found:
    """The attributes of the node, under whichever of the three names they stand."""
    given: dict[str, Any] = {}
    for key in ("param", "attr", "attrs"):
        if isinstance(part := node.get(key), dict):
            given.update(part)
    said = {word: given[word] for word in ("nsize", *_WORDS) if given.get(word) is not None}
    words = _WORDS | {w: number_of(str(value).strip("() ,"), w) for w, value in said.items()}
    if "nsize" in words:
        words["nsize"] = whole(words["nsize"])
    return lrn(name, "mxnet", words, 1)
