"""MXNet: the symbol file, -symbol.json. Attributes are texts, under attrs, attr or param.

Operator LRN: nsize required, alpha 1e-4, beta 0.75, knorm 2.
Source: MXNet, src/operator/nn/lrn.cc and nnvm's pass/saveload_json.cc.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from lrnorm.models.found import Found, ModelFile, lrn
from lrnorm.models.source import DamagedError, Source
from lrnorm.models.texts import json_of, number_of, whole

_WORDS = {"alpha": 1e-4, "beta": 0.75, "knorm": 2.0}


def is_symbol(source: Source) -> bool:
    head = source.head.lstrip()
    return head.startswith(b"{") and b'"nodes"' in head and b'"op"' in head


def read(source: Source) -> ModelFile:
    graph = json_of(source.text())
    nodes = graph.get("nodes") if isinstance(graph, dict) else None
    if not isinstance(nodes, list):
        raise DamagedError("it has no list of nodes")
    found: list[Found] = []
    operators: Counter[str] = Counter()
    for node in nodes:
        kind = node.get("op") if isinstance(node, dict) else None
        if not isinstance(kind, str):
            raise DamagedError("a node has no operator")
        if kind != "null":  # a variable
            operators[kind] += 1
        if kind == "LRN":
            found.append(_lrn(str(node.get("name", "LRN")), node))
    return ModelFile(str(source.path), "MXNet symbol", tuple(found), operators)


def _lrn(name: str, node: dict[str, Any]) -> Found:
    given: dict[str, Any] = {}
    for key in ("param", "attr", "attrs"):
        if isinstance(part := node.get(key), dict):
            given.update(part)
    said = {word: given[word] for word in ("nsize", *_WORDS) if given.get(word) is not None}
    words = _WORDS | {w: number_of(str(value).strip("() ,"), w) for w, value in said.items()}
    if "nsize" in words:
        words["nsize"] = whole(words["nsize"])
    return lrn(name, "mxnet", words, 1)
