"""LRN layers of model files: find them, read their numbers, compare two files.

    D[c] = bias + scale · Σ x[j]²,   y[c] = x[c] · D[c]^-beta

Every format has one reader in a file of its own and one row in the table of `readers.py`. A file
is recognised by its content, then by its name. Nothing in a file is run: pickles are read as data,
code of Lambda layers is not touched, XML entities are refused, no path outside the model's folder
is opened, and sizes, depth and numbers of objects are limited.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from lrnorm._spec.errors import FileError, KindError
from lrnorm._spec.spec import LRNSpec
from lrnorm.models.differences import Difference, against, between
from lrnorm.models.foreign import refuse
from lrnorm.models.found import Found, ModelFile, Remark, one_line
from lrnorm.models.readers import READERS, Reader
from lrnorm.models.rules import remarked
from lrnorm.models.source import DamagedError, Source

__all__ = ["Difference", "Found", "ModelFile", "Remark", "compare", "find", "formats", "read"]

Model = str | os.PathLike[str]

_FOLDERS = "Name a file in it: of folders, a SavedModel, an .mlpackage and an NNEF graph are read."


def find(path: Model) -> list[Found]:
    """Every LRN of a model file, in the order of the file.

        y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

    `path` is a model file, or the folder of a SavedModel, an .mlpackage or an NNEF graph;
    `formats()` lists what is read. Each result has a name, the convention and its words, an
    LRNSpec, the axis of the channels in the file's memory layout, shape and dtype where the file
    tells them, and remarks. Parameters left out have the format's own defaults. float32 numbers are
    given as their shortest decimal: 1e-4, not 9.999999747378752e-05.

    Errors: FileError (an OSError) for a file that is not there, damaged, or of no known format;
    MissingDependencyError (an ImportError) where a format needs a package; KindError (a TypeError)
    for what is no path.

    Source: each format's own schema, which its reader names.

    >>> import pathlib, tempfile, lrnorm.models
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.prototxt"
    >>> _ = path.write_text('layer { name: "norm1" type: "LRN" lrn_param { alpha: 1e-4 } }')
    >>> [lrn] = lrnorm.models.find(path)
    >>> lrn.name, lrn.convention, lrn.words
    ('norm1', 'caffe', {'local_size': 5, 'alpha': 0.0001, 'beta': 0.75, 'k': 1.0})
    >>> lrn.spec, lrn.axis
    (LRNSpec(scale=2e-05, beta=0.75, bias=1.0, before=2, after=2), 1)
    """
    return list(read(path).lrns)


def compare(
    first: Model | Iterable[Found] | LRNSpec, second: Model | Iterable[Found]
) -> list[Difference]:
    """Compare the LRNs of two models of any formats, and name the known mistakes that explain a
    difference.

        scale, beta, bias, before, after: each number of the first beside that of the second

    Each side is a file, or what `find` returned for one. The first may be one LRNSpec, which every
    LRN of the second should have. LRNs of one name belong together, then those whose names end
    alike, then the others in their order. LRNs that are equal are not listed.

    Errors: those of `find`. Source: the mistakes are listed with examples in the documentation,
    "Is your model's LRN right?".

    >>> import pathlib, tempfile, lrnorm.models
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "net.prototxt").write_text(
    ...     'layer { name: "norm1" type: "LRN" lrn_param { alpha: 1e-4 k: 2 } }')
    >>> _ = (folder / "net.param").write_text("7767517\\n1 2\\nLRN norm1 1 1 a b 2=2e-5\\n")
    >>> for difference in lrnorm.models.compare(folder / "net.prototxt", folder / "net.param"):
    ...     print(difference)
    norm1: scale 2e-05 expected, 4e-06 found; bias 2 expected, 1 found
      because: alpha was divided by the size twice
      because: the bias (k) 2 was dropped: 1 is the default
    """
    if isinstance(first, LRNSpec):
        return against(Found("", None, {}, first), _side(second))
    return between(_side(first), _side(second))


def read(path: Model) -> ModelFile:
    """A model file as a whole: its format, its LRNs, how many operators of each type it holds.

    Errors: those of `find`. Source: each format's own schema, which its reader names.

    >>> import pathlib, tempfile, lrnorm.models
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.cfg"
    >>> _ = path.write_text("[net]\\nwidth=8\\n[lrn]\\nsize=3\\n[dropout]\\nprobability=.5\\n")
    >>> lrnorm.models.read(path).contents
    'Darknet net (.cfg) of 2 operators (1 dropout, 1 lrn)'
    """
    source = Source(path)
    try:
        reader = _reader(source)
        try:
            model = reader.read(source)
        except (DamagedError, struct.error, RecursionError, MemoryError, UnicodeError) as error:
            reason = one_line(error) or type(error).__name__
            raise FileError(
                str(source.path),
                f"is not a readable {reader.title}: {reason}",
                way_out="It may be cut short, or of another kind than its name says.",
            ) from error
    finally:
        source.close()
    return replace(model, lrns=tuple(map(remarked, model.lrns)))


def formats() -> dict[str, dict[str, Any]]:
    """The formats that are read: title, endings, and the package that reading needs, if any.

    >>> import lrnorm.models
    >>> lrnorm.models.formats()["openvino"]
    {'title': 'OpenVINO IR', 'endings': ['.xml'], 'needs': 'defusedxml'}
    """
    return {
        key: {"title": row.title, "endings": list(row.endings), "needs": row.needs}
        for key, row in READERS.items()
        if row.endings or key in ("tensorflow_saved",)
    }


def _reader(source: Source) -> Reader:
    """By content; where no content is recognised, by the ending."""
    refuse(source)
    for reader in READERS.values():
        try:
            if reader.recognises(source):
                return reader
        except (DamagedError, struct.error):
            continue
    for reader in READERS.values():
        if any(source.path.name.lower().endswith(ending) for ending in reader.endings):
            return reader
    raise FileError(
        str(source.path),
        f"is {'a folder' if source.is_folder else 'a file'} of no format that is read",
        way_out=_FOLDERS if source.is_folder else "lrnorm.models.formats() lists the formats.",
    )


def _side(model: Any) -> Sequence[Found]:
    """The LRNs of one side of `compare`: those of a file, or the result of `find`."""
    if isinstance(model, (str, os.PathLike)):
        return find(model)
    found = list(model) if isinstance(model, Iterable) else None
    if found is None or not all(isinstance(entry, Found) for entry in found):
        kind = type(model).__name__
        raise KindError("a side of compare", "must be a path or the result of find", got=kind)
    return found
