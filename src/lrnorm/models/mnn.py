"""MNN: .mnn, a FlatBuffer. An LRN averages over local_size channels, or over a square.

Source: schema/default/MNN.fbs (Net, Op, OpType LRN = 37, OpParameter LRN = 23) and CaffeOp.fbs
(LRN: regionType 0, localSize 0, alpha 0, beta 0, bias 1 where absent); source/geometry/
GeometryLRN.cpp, by which an even window reaches one further back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from lrnorm.models.flatbuffers import Buffer, Table
from lrnorm.models.found import Found, Listing, ModelFile, lrn, unreadable
from lrnorm.models.source import DamagedError, Source

_LRN, _PARAMETERS = 37, 23


def is_mnn(source: Source) -> bool:
    """MNN has no mark of its own: the root must have operators with a name and a type."""
    if source.ending != ".mnn":
        return False
    try:
        return next(_operators(source), None) is not None
    except (DamagedError, struct.error):
        return False


def _operators(source: Source) -> Iterator[tuple[Table, str]]:
    """(operator, name of its first output) in the net and its subgraphs."""
    net = Buffer(source.data).root
    for operator in net.tables(3):
        yield operator, _output(operator, net, 7)
    for graph in net.tables(10):
        for operator in graph.tables(4):
            yield operator, _output(operator, graph, 3)


def _output(operator: Table, owner: Table, names: int) -> str:
    """The name of the first output: outputIndexes of the Op, into the tensor names of its owner."""
    indices = operator.numbers(4)
    return owner.texts(names, indices[0]) if indices else ""


def read(source: Source) -> ModelFile:
    """Each operator LRN in a .mnn."""
    listing = Listing()
    for operator, output in _operators(source):
        kind = operator.number(5, "i")
        listing.operators["LRN" if kind == _LRN else f"type {kind}"] += 1
        if kind == _LRN:
            listing.lrns.append(
                _lrn(operator, operator.text(3) or output or f"LRN:{len(listing.lrns)}")
            )
    return listing.file(source, "MNN model")


def _lrn(operator: Table, name: str) -> Found:
    """The fields of the table LRN: 0 regionType, 1 localSize, 2 alpha, 3 beta, 4 bias."""
    parameters = operator.table(2)
    if parameters is None or operator.number(1, "B") != _PARAMETERS:
        return unreadable(name, "the operator has no parameters of an LRN")
    words = {
        "local_size": parameters.number(1, "i"),
        "alpha": parameters.float(2),
        "beta": parameters.float(3),
        "bias": parameters.float(4, 1.0),
    }
    within = parameters.number(0, "i") != 0
    return lrn(name, "mnn_within" if within else "mnn", words, (2, 3) if within else 1)
