"""MXNet: the symbol file, -symbol.json. Attributes are texts, under attrs, attr or param.

Operator LRN: nsize required, alpha 1e-4, beta 0.75, knorm 2.
Source: MXNet, src/operator/nn/lrn.cc and nnvm's pass/saveload_json.cc.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from lrnorm.models.found import Found, ModelFile, lrn, one_line
from lrnorm.models.source import DamagedError, Source

_WORDS = {"nsize": None, "alpha": 1e-4, "beta": 0.75, "knorm": 2.0}


def is_symbol(source: Source) -> bool:
    head = source.head.lstrip()
    return head.startswith(b"{") and b'"nodes"' in head and b'"op"' in head


def parsed(source: Source) -> Any:
    """The file as JSON."""
    try:
        return json.loads(source.text())
    except (ValueError, RecursionError) as error:
        raise DamagedError(one_line(error)) from None


def read(source: Source) -> ModelFile:
    graph = parsed(source)
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
    words: dict[str, Any] = {}
    for word, default in _WORDS.items():
        value = given.get(word, default)
        try:
            number = None if value is None else float(str(value).strip("() ,"))
        except ValueError:
            raise DamagedError(f"{word} is {str(value)[:40]!r}, which is no number") from None
        whole = word == "nsize" and number is not None and number == number // 1
        words[word] = int(number) if whole and number is not None else number
    return lrn(name, "mxnet", {w: v for w, v in words.items() if v is not None}, 1)
