"""The functions of lrnorm.files: what `lrnorm apply` does with files.

An output appears whole or not at all, and replaces nothing unless asked to.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lrnorm._function.functions import local_response_norm
from lrnorm._function.keywords import NUMBERS
from lrnorm._layers.shapes import shape_text
from lrnorm._spec.errors import FileError, KindError, ShapeError, missing
from lrnorm._spec.spec import LRNSpec, count_axes, resolve_axes
from lrnorm.files import atomic, chunked, npy, pictures, resume, wxf, zarr_store
from lrnorm.files.atomic import PathLike, path_of, writing
from lrnorm.files.checks import Array, count_text, named, numbers, reading
from lrnorm.files.formats import FORMATS, Members, Source, format_of
from lrnorm.files.statistics import Change, Summary, Tally

__all__ = ["Change", "Summary", "apply", "first", "read", "summarize", "write", "writing"]


def read(path: PathLike) -> Any:
    """Read the arrays of a file.

    A .npy, .wxf or .zarr gives its array, an .npz or .safetensors a dict of arrays by name. A
    picture gives float32 of shape (channels, height, width) in 0 … 1: one channel for gray, else
    red, green and blue; turned as its EXIF data say, and without its transparency. Of several
    frames it gives the first.

    Errors: FileError (an OSError) for a file that is missing, damaged, of an unknown ending, or
    that holds Python objects, and for a group of Zarr, whose arrays are named as x.zarr/name;
    MissingDependencyError (an ImportError) without Pillow for pictures, Zarr for .zarr, or
    safetensors for .safetensors.

    >>> import os, tempfile, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.npy")
    ...     line = lrnorm.files.write(path, [[1.0, 2.0]])
    ...     lrnorm.files.read(path)
    array([[1., 2.]])
    """
    source = path_of(path)
    kind = format_of(source)
    with reading(source):
        return kind.read(source)


def write(path: PathLike, array: Any, *, overwrite: bool = False) -> str:
    """Write an array; into an .npz or .safetensors also a dict of arrays. The result is a line
    that says what was written.

    A picture takes (1 or 3 channels, height, width) of finite numbers. Its largest value becomes
    255 and values below 0 become 0, and the line says so. JPEG has quality 95. A .wxf holds float16
    as Real32 and booleans as UnsignedInteger8.

    Errors: FileError (an OSError) where the file exists already and `overwrite` is not set, for
    an unknown ending, and for whatever the system refuses; KindError (a TypeError) for a type that
    the format does not have; ShapeError (a ValueError) for a shape that is no picture. After an
    error `path` is as it was.

    >>> import os, tempfile, numpy, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.npz")
    ...     line = lrnorm.files.write(path, {"a": numpy.ones((3, 2))})
    ...     lrnorm.files.read(path)["a"].shape
    (3, 2)
    """
    target = path_of(path)
    kind = format_of(target)
    with kind.place(target, overwrite=overwrite) as place, named(target), atomic.storing(target):
        remark = kind.write(place, array)
    return f"wrote {target}: {remark}"


def apply(
    source: PathLike,
    target: PathLike,
    *,
    axis: Any = None,
    dtype: Any = None,
    keys: Collection[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
    **parameters: Any,
) -> str:
    """Normalize a file into another: read, local_response_norm, write.

    `parameters` are alpha, beta, bias, channel_window_size, or spec; they, axis and dtype are
    those of `lrnorm.local_response_norm`. Of a file of several arrays every array is normalized,
    or those named in `keys` while the others are copied as they are. source and target may be one
    file. `progress` shows a bar on stderr. The result is a line that says what was written.

    A .npy, .wxf or .zarr goes through in pieces, in memory that does not grow with it, to the bits
    of one call; for a box within the rounding of its sums. A .zarr from a .zarr has its chunks,
    shards, codecs and attributes. A run into a .zarr that is interrupted leaves NAME.partial, and
    the same call goes on from there; finished chunks are not written again.

    Errors: those of `read`, `write` and `local_response_norm`, led by the name of the file;
    FileError (an OSError) where NAME.partial is held by another run or is of other work.

    >>> import os, tempfile, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     x, y = os.path.join(folder, "x.npy"), os.path.join(folder, "y.npy")
    ...     line = lrnorm.files.write(x, [-2.0, -1.0, 0.0, 1.0, 2.0])
    ...     line = lrnorm.files.apply(x, y, axis=0)
    ...     lrnorm.files.read(y).round(4)
    array([-1.4142, -0.6742,  0.    ,  0.6742,  1.4142])
    """
    source, target = path_of(source, "source"), path_of(target, "target")
    kind, into = format_of(source), format_of(target)
    atomic.put_back(target)
    atomic.check_free(target, overwrite)
    parameters |= {"axis": axis, "dtype": dtype}
    order = _Order(source, target, overwrite, progress, parameters)
    with _opened(source) as members:
        chosen = _chosen(source, members, keys)
        if kind.members and into.members and into.mapped is None and list(members) != [""]:
            return _apply_several(members, chosen, order)
        if len(chosen) != 1:
            raise FileError(
                str(source),
                f"holds {count_text(chosen)} ({', '.join(chosen)}) where {target} takes one",
                way_out="Choose it with --key NAME (keys=[NAME] in Python), or write an .npz.",
            )
        [(name, load)] = chosen.items()
        x = load()
        result = _result_dtype(x, parameters, source, name, members)
        if kind.mapped and into.header:
            return _apply_in_place(x, result, order)
        if kind.mapped and into is FORMATS[".zarr"]:
            return _apply_zarr(x, result, order)
        with named(_label(source, name)):
            y = local_response_norm(x[...], **parameters)
    left_out = pictures.left_out(source) if kind.picture else ""
    return "; ".join(filter(None, (write(target, y, overwrite=overwrite), left_out)))


def summarize(
    source: PathLike,
    *,
    axis: Any = None,
    dtype: Any = None,
    keys: Collection[str] | None = None,
    progress: bool = False,
    **parameters: Any,
) -> list[Change]:
    """Describe what `apply` would change, array by array, and write nothing. The arguments and
    errors are those of `apply`.

    >>> import os, tempfile, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.npy")
    ...     line = lrnorm.files.write(path, [-2.0, -1.0, 0.0, 1.0, 2.0])
    ...     [change] = lrnorm.files.summarize(path, axis=0)
    >>> change.before.max, round(change.after.max, 4)
    (2.0, 1.4142)
    """
    source = path_of(source, "source")
    parameters |= {"axis": axis, "dtype": dtype}
    changes = []
    with _opened(source) as members:
        for name, load in _chosen(source, members, keys).items():
            x = load()
            result = _result_dtype(x, parameters, source, name, members)
            with named(_label(source, name)):
                axes = resolve_axes(axis, x.ndim)
                before, after = Tally(), Tally()
                cuts = chunked.cut(x, axes)
                for index in _bar(cuts, len(cuts), progress, name or source.name):
                    piece = x[index]
                    before.add(piece)
                    after.add(local_response_norm(piece, **parameters))
                    chunked.release(x)
            pair = before.summary(x.shape, x.dtype), after.summary(x.shape, result)
            changes.append(Change(name, axes[0] if len(axes) == 1 else axes, *pair))
    return changes


def first(source: PathLike, *, keys: Collection[str] | None = None, axis: Any = None) -> Array:
    """Read the first of the arrays that `apply` would normalize. Of a .npy or .wxf the result is a
    map of the file; of a .zarr it is the first item: all of `axis`, and the last two other axes.

    >>> import os, tempfile, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.npz")
    ...     line = lrnorm.files.write(path, {"a": [1.0], "b": [2.0]})
    ...     lrnorm.files.first(path, keys=["b"])
    array([2.])
    """
    source = path_of(source, "source")
    with _opened(source) as members:
        x = next(iter(_chosen(source, members, keys).values()))()
        if not isinstance(x, zarr_store.Stored):
            return x
        with named(source):
            axes = resolve_axes(axis, x.ndim)
        others = [i for i in range(x.ndim) if i not in axes]
        left = others[:-2] if len(axes) == 1 else others[:-1]  # of a box the channels stay
        item = tuple(slice(0, 1) if i in left else slice(None) for i in range(x.ndim))
        with reading(source):
            return x[item]


def _label(source: Path, name: str) -> str:
    return f"{source}[{name}]" if name else str(source)


@contextmanager
def _opened(source: Path) -> Iterator[Members]:
    """The arrays of a file by name, each loaded when it is called. A single array is called ""."""
    kind = format_of(source)
    if kind.members:
        with kind.members(source) as members:
            yield members
    else:
        yield {"": partial(kind.mapped or read, source)}


def _chosen(source: Path, members: Members, keys: Collection[str] | None) -> Members:
    """The members named in `keys`, all of them for None; refuses a file without arrays and unknown
    names."""
    if not members:
        raise FileError(str(source), "holds no array", way_out="Put at least one into it.")
    if keys is None:
        return members
    keys = [keys] if isinstance(keys, str) else keys
    if set(members) == {""}:
        raise FileError(
            str(source),
            "is one array, which has no name",
            way_out="Leave out --key (keys= in Python).",
        )
    unknown = [key for key in keys if not key or key not in members]
    if unknown:
        raise FileError(
            str(source), f"has no array {unknown[0]!r}", way_out=f"It holds {', '.join(members)}."
        )
    return {name: load for name, load in members.items() if name in keys}


def _result_dtype(
    x: Source, parameters: Mapping[str, Any], source: Path, name: str, members: Members
) -> np.dtype[Any]:
    """The dtype of the result, after every check of the arguments, before any work is done."""
    try:
        with named(_label(source, name)):
            if not x.ndim:
                raise ShapeError("the array", "must have at least one axis", got="one number")
            empty = np.empty((0,) * x.ndim, x.dtype)
            result: Array = local_response_norm(empty, **parameters)
            return result.dtype
    except (KindError, ShapeError) as error:
        if len(members) < 2:
            raise
        others = ", ".join(other for other in members if other != name)
        way_out = f"To leave it as it is, choose among {others} with --key (keys= in Python)."
        raise error.advising(f"{error.way_out} {way_out}".strip()) from error


def _bar(items: Iterable[Any], count: int, progress: bool, title: str) -> Iterable[Any]:
    """The items, with a bar on stderr if `progress` is set and there are at least two."""
    if not progress or count < 2:
        return items
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError as error:
        raise missing("the progress bar", "rich", "'lrnorm[cli]'") from error
    return track(items, title, total=count, console=Console(stderr=True))


@dataclass(frozen=True)
class _Order:
    """The arguments of `apply`."""

    source: Path
    target: Path
    overwrite: bool
    progress: bool
    parameters: dict[str, Any]


def _apply_in_place(x: Source, dtype: np.dtype[Any], order: _Order) -> str:
    """Into a file of one array, mapped and filled piece by piece."""
    target, into = order.target, format_of(order.target)
    assert into.header is not None
    fortran = isinstance(x, np.ndarray) and x.flags.f_contiguous and not x.flags.c_contiguous
    fortran = fortran and into is FORMATS[".npy"]
    with named(target):
        header, stored = into.header(dtype, x.shape, fortran)
    parameters = order.parameters | {"dtype": dtype}
    with writing(target, overwrite=order.overwrite) as stream:
        stream.write(header)
        stream.flush()
        if x.size:
            atomic.reserve(stream, len(header) + x.size * stored.itemsize)
            y = np.memmap(stream, stored, "r+", len(header), x.shape, "F" if fortran else "C")
            cuts = chunked.cut(x, resolve_axes(parameters["axis"], x.ndim))
            for index in _bar(cuts, len(cuts), order.progress, target.name):
                if stored == dtype:
                    local_response_norm(x[index], out=y[index], **parameters)
                else:  # float16 into a .wxf, which has none
                    y[index] = local_response_norm(x[index], **parameters)
                chunked.release(x)
                chunked.release(y)
            y.flush()
    said = str(dtype) if stored == dtype else wxf.remark(dtype)
    return f"wrote {target}: {shape_text(x.shape)}, {said}"


def _apply_zarr(x: Source, dtype: np.dtype[Any], order: _Order) -> str:
    """Into a .zarr, piece by piece. An interrupted run is taken up again from NAME.partial."""
    target, parameters = order.target, order.parameters
    words = {name: parameters[name] for name in NUMBERS if name in parameters}
    axis = parameters["axis"]
    spec = parameters.get("spec") or LRNSpec.from_keywords(**words, axes=count_axes(axis))
    axes = resolve_axes(axis, x.ndim)
    place, folder = atomic.places(target)
    source = x.folder if isinstance(x, zarr_store.Stored) else order.source
    work = resume.Work(os.path.realpath(source), str(folder), axes, spec, str(dtype))

    def make() -> None:
        if isinstance(x, zarr_store.Stored):
            zarr_store.create_like(x, folder, dtype)
        else:
            zarr_store.create(folder, x.shape, dtype, chunked.chunks_for(x, axes))

    try:
        with atomic.storing(target), resume.unfinished(folder, work, make):
            y = zarr_store.Stored(folder, "r+")
            pieces = resume.left_to_do(folder, chunked.pieces_of(x, y, axes, spec))
            with closing(chunked.do(work, pieces)) as doing:  # a stop while the bar is drawn
                for _ in _bar(doing, len(pieces), order.progress, target.name):
                    pass
            atomic.put_folder(folder, place, order.overwrite)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{folder} is left, and the same call goes on from there") from stop
    return f"wrote {target}: {shape_text(x.shape)}, {dtype}"


def _apply_several(members: Members, chosen: Members, order: _Order) -> str:
    """From a file of several arrays into another."""
    source, target = order.source, order.target

    def result(name: str) -> Array:
        x = members[name]()
        if name not in chosen:
            return np.asarray(x[...])
        _result_dtype(x, order.parameters, source, name, members)
        with named(_label(source, name)):
            return numbers(local_response_norm(x[...], **order.parameters))

    kinds = format_of(source), format_of(target)
    if kinds == (FORMATS[".npz"],) * 2:
        others = _fill_npz(chosen, result, order)
    else:
        names = _bar(members, len(members), order.progress, target.name)
        write(target, {name: result(name) for name in names}, overwrite=order.overwrite)
        others = len(members) - len(chosen)
    rest = f", {others} more copied as they were" if others else ""
    return f"wrote {target}: {count_text(chosen)}{rest}"


def _fill_npz(chosen: Members, result: Callable[[str], Array], order: _Order) -> int:
    """Member by member, with the compression of each; how many were copied as they are."""
    names = {f"{name}.npy": name for name in chosen}
    with (
        writing(order.target, overwrite=order.overwrite) as stream,
        zipfile.ZipFile(order.source) as old,
        zipfile.ZipFile(stream, "w") as new,
    ):
        entries = old.infolist()
        for member in _bar(entries, len(entries), order.progress, order.target.name):
            entry = zipfile.ZipInfo(member.filename)
            entry.compress_type = member.compress_type
            if member.filename in names:
                npy.write_member(new, entry, result(names[member.filename]))
                continue
            with (
                reading(order.source),
                old.open(member) as copied,
                new.open(entry, "w", force_zip64=True) as out,
            ):
                shutil.copyfileobj(copied, out)
        return len(entries) - len(chosen)
