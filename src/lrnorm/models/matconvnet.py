"""MatConvNet: .mat with a SimpleNN (`layers`) or a DagNN.

    layer type `normalize` or `lrn`, block `dagnn.LRN`: param = [N KAPPA ALPHA BETA]

alpha is not divided by the size.

Source: MatConvNet, matlab/vl_nnnormalize.m, matlab/simplenn/vl_simplenn.m, matlab/+dagnn/LRN.m
(where param is left out: [5 1 0.0001/5 0.75]).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lrnorm.models.found import Found, Listing, ModelFile, lrn, unreadable
from lrnorm.models.mat5 import Mat
from lrnorm.models.source import DamagedError, Source
from lrnorm.models.texts import whole

_LAYERS = ("normalize", "lrn", "dagnn.LRN")
_DEFAULT = [5.0, 1.0, 0.0001 / 5, 0.75]


def is_mat(source: Source) -> bool:
    """True for the header of version 5 and its mark of the byte order, IM or MI."""
    return source.head.startswith(b"MATLAB 5.0 MAT-file") and source.head[126:128] in (b"IM", b"MI")


def is_newer_mat(source: Source) -> bool:
    """True for a .mat of version 7.3, which is HDF5."""
    return source.head.startswith(b"MATLAB 7.3 MAT-file")


def read_newer(source: Source) -> ModelFile:
    """Refuses the file, and says in which version it can be read."""
    raise DamagedError("it is a .mat of version 7.3. Save it in MATLAB with the option -v7")


def read(source: Source) -> ModelFile:
    """Each layer of type lrn or normalize, and each block dagnn.LRN, in a .mat."""
    listing = Listing()
    for path, layer in _layers(Mat(source.data).variables()):
        kind = layer["type"]
        listing.operators[kind] += 1
        if kind in _LAYERS:
            name = layer.get("name")
            listing.lrns.append(_lrn(name if isinstance(name, str) and name else path, layer))
    return listing.file(source, "MatConvNet model (.mat)")


def _layers(root: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every struct with a type, with its path; layers count from 1, as in MATLAB."""
    stack: list[tuple[str, Any]] = [("", root)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            if isinstance(value.get("type"), str):
                yield path, value
            inner = [(f"{path}.{key}" if path else key, item) for key, item in value.items()]
        elif isinstance(value, list):
            inner = [(f"{path}{{{i}}}", item) for i, item in enumerate(value, 1)]
        else:
            continue
        stack += reversed([pair for pair in inner if isinstance(pair[1], (dict, list))])


def _lrn(name: str, layer: dict[str, Any]) -> Found:
    """param = [N KAPPA ALPHA BETA] of the layer, or of its block in a DagNN."""
    block = layer.get("block")
    param = layer.get("param")
    if param is None and isinstance(block, dict):
        param = block.get("param", _DEFAULT)
    if not isinstance(param, list) or len(param) != 4 or not all(map(_is_number, param)):
        return unreadable(name, "param is no list of four numbers")
    size, kappa, alpha, beta = param
    words = {"N": whole(size), "ALPHA": alpha, "BETA": beta, "KAPPA": kappa}
    return lrn(name, "matconvnet", words, 2)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < 1e300
