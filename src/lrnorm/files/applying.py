"""Arrays from and to files; an output appears whole or not at all.

    .npy            one array; large ones go through in pieces
    .npz            arrays by name
    .zarr           one array in chunks; goes through in pieces, and on after an interruption
    .png .jpg       a picture: (channels, height, width) in 0 … 1

Nothing is overwritten unless asked.
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
from lrnorm._spec.errors import FileError, MissingDependencyError, ParameterError
from lrnorm._spec.spec import LRNSpec, resolve_axis
from lrnorm.files import atomic, chunked, formats, zarr_store
from lrnorm.files.atomic import PathLike, path_of, writing
from lrnorm.files.chunked import Source
from lrnorm.files.formats import Array
from lrnorm.files.statistics import Change, Summary, Tally

__all__ = ["Change", "Summary", "apply", "first", "read", "summarize", "write", "writing"]

# The arrays of a source by name, each loaded when its turn comes. Where a file is one array it
# has the empty name.
Members = Mapping[str, Callable[[], Source]]

# Read where they are indexed.
_IN_PIECES: dict[str, Callable[[Path], Source]] = {
    ".npy": formats.map_npy,
    ".zarr": formats.map_zarr,
}


def read(path: PathLike) -> Any:
    """What a file holds.

    A .npy or .zarr gives its array, an .npz a dict of arrays by name. A picture gives float32 of
    shape (channels, height, width) in 0 … 1: one channel for gray, else red, green and blue;
    upright as its EXIF data say; transparency is left out.

    Errors: FileError (an OSError) for a file that is missing, damaged, of an unknown ending, or
    that holds Python objects, and for a group of Zarr, whose arrays are named as x.zarr/name;
    MissingDependencyError (an ImportError) without Pillow for pictures, or Zarr for .zarr.

    >>> import os, tempfile, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.npy")
    ...     line = lrnorm.files.write(path, [[1.0, 2.0]])
    ...     lrnorm.files.read(path)
    array([[1., 2.]])
    """
    source = path_of(path)
    kind = formats.FORMATS[formats.ending(source)]
    with formats.reading(source):
        return kind.read(source)


def write(path: PathLike, array: Any, *, overwrite: bool = False) -> str:
    """Write an array, or into an .npz also a dict of them. The result is a line that says what was.

    A picture takes (1 or 3 channels, height, width) of finite numbers. It is written with its
    largest value at 255 and what is below 0 at 0, and the line says so. JPEG is of quality 95.

    Errors: FileError (an OSError) where the file exists already and `overwrite` is not set, for
    an unknown ending, and for whatever the system refuses; KindError (a TypeError) for what the
    format cannot hold; ShapeError (a ValueError) for what is no picture. After an error `path` is
    as it was.

    >>> import os, tempfile, numpy, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.npz")
    ...     line = lrnorm.files.write(path, {"a": numpy.ones((3, 2))})
    ...     lrnorm.files.read(path)["a"].shape
    (3, 2)
    """
    target = path_of(path)
    kind = formats.FORMATS[formats.ending(target)]
    with kind.place(target, overwrite=overwrite) as place, formats.named(target):
        remark = kind.write(place, array)
    return f"wrote {target}: {remark}"


def apply(
    source: PathLike,
    target: PathLike,
    *,
    axis: int | None = None,
    dtype: Any = None,
    keys: Collection[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
    scheduler: Any = None,
    **parameters: Any,
) -> str:
    """Normalize a file into another: read, local_response_norm, write.

    `parameters` are alpha, beta, bias, channel_window_size, or spec; they, axis and dtype are
    those of `lrnorm.local_response_norm`. Of an .npz every array is normalized, or those named in
    `keys` while the others are copied as they are. source and target may be one file.
    `progress` shows a bar on stderr. The result is a line that says what was written.

    A .npy or .zarr goes through in pieces, in memory that does not grow with it, to the same values
    as in one. A .zarr from a .zarr has its chunks, shards, codecs and attributes. A run into a
    .zarr that is interrupted leaves NAME.partial, and the same call goes on from there; finished
    chunks are not written again. `scheduler`, the address of a Dask scheduler, has the workers of
    that cluster do the pieces of a .zarr.

    Errors: those of `read`, `write` and `local_response_norm`, led by the name of the file;
    FileError (an OSError) where NAME.partial is held by another run or is of other work;
    DeviceError (a RuntimeError) where no scheduler answers.

    >>> import os, tempfile, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     x, y = os.path.join(folder, "x.npy"), os.path.join(folder, "y.npy")
    ...     line = lrnorm.files.write(x, [-2.0, -1.0, 0.0, 1.0, 2.0])
    ...     line = lrnorm.files.apply(x, y, axis=0)
    ...     lrnorm.files.read(y).round(4)
    array([-1.4142, -0.6742,  0.    ,  0.6742,  1.4142])
    """
    source, target = path_of(source, "source"), path_of(target, "target")
    kinds = formats.ending(source), formats.ending(target)
    atomic.put_back(target)
    atomic.check_free(target, overwrite)
    mapped = kinds[0] in _IN_PIECES
    if scheduler is not None and not (mapped and kinds[1] == ".zarr"):
        raise ParameterError(
            f"a scheduler hands out the chunks of a .zarr made from a .zarr or .npy, got {source} "
            f"and {target}. Leave it out, or write a .zarr."
        )
    if scheduler is not None:
        chunked.check_scheduler(scheduler)
    parameters |= {"axis": axis, "dtype": dtype}
    order = _Order(target, overwrite, progress, parameters)
    with _opened(source) as members:
        chosen = _chosen(source, members, keys)
        if kinds == (".npz", ".npz"):
            return _apply_npz(source, chosen, order)
        if len(chosen) != 1:
            raise FileError(
                f"{source} holds {formats.count_text(chosen)} ({', '.join(chosen)}) where "
                f"{target} takes one. Choose it with --key NAME (keys=[NAME] in Python), or "
                "write an .npz."
            )
        [(name, load)] = chosen.items()
        x = load()
        with formats.named(_label(source, name)):
            result = _result_dtype(x, parameters)
        if mapped and kinds[1] == ".npy":
            return _apply_npy(x, result, order)
        if mapped and kinds[1] == ".zarr":
            return _apply_zarr(source, x, result, order, scheduler)
        with formats.named(_label(source, name)):
            y = local_response_norm(x[...], **parameters)
    opaque = kinds[0] not in formats.PICTURES or not formats.has_transparency(source)
    line = write(target, y, overwrite=overwrite)
    return line if opaque else f"{line}; transparency is left out"


def summarize(
    source: PathLike,
    *,
    axis: int | None = None,
    dtype: Any = None,
    keys: Collection[str] | None = None,
    progress: bool = False,
    **parameters: Any,
) -> list[Change]:
    """What `apply` would change, array by array; nothing is written. Arguments, errors: as there.

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
            with formats.named(_label(source, name)):
                result = _result_dtype(x, parameters)
                channels = resolve_axis(axis, x.ndim)
                before, after = Tally(), Tally()
                cuts = chunked.cut(x, channels)
                for index in _bar(cuts, len(cuts), progress, name or source.name):
                    piece = x[index]
                    before.add(piece)
                    after.add(local_response_norm(piece, **parameters))
                    chunked.release(x)
            pair = before.summary(x.shape, x.dtype), after.summary(x.shape, result)
            changes.append(Change(name, channels, *pair))
    return changes


def first(
    source: PathLike, *, keys: Collection[str] | None = None, axis: int | None = None
) -> Array:
    """The first of the arrays that `apply` would normalize; of a .npy a map of the file, of a
    .zarr its first item: all channels, on `axis`, and the last two of the other axes.

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
        with formats.named(source):
            channels = resolve_axis(axis, x.ndim)
        others = [i for i in range(x.ndim) if i != channels]
        item = tuple(slice(0, 1) if i in others[:-2] else slice(None) for i in range(x.ndim))
        with formats.reading(source):
            return x[item]


def _label(source: Path, name: str) -> str:
    return f"{source}[{name}]" if name else str(source)


@contextmanager
def _opened(source: Path) -> Iterator[Members]:
    kind = formats.ending(source)
    if kind in _IN_PIECES:
        yield {"": partial(_IN_PIECES[kind], source)}
        return
    if kind != ".npz":
        yield {"": partial(read, source)}
        return
    with formats.reading(source):
        archive = zipfile.ZipFile(source)

    def load(name: str) -> Array:
        with formats.reading(source):
            return formats.read_member(archive, name)

    with archive:
        yield {name: partial(load, name) for name in formats.npz_names(archive)}


def _chosen(source: Path, members: Members, keys: Collection[str] | None) -> Members:
    if not members:
        raise FileError(f"{source} holds no array. Put at least one into it.")
    if keys is None:
        return members
    keys = [keys] if isinstance(keys, str) else keys
    unknown = [key for key in keys if not key or key not in members]
    if unknown:
        there = ", ".join(filter(None, members)) or "no array with a name"
        raise FileError(f"{source} has no array {unknown[0]!r}. It holds {there}.")
    return {name: load for name, load in members.items() if name in keys}


def _result_dtype(x: Source, parameters: Mapping[str, Any]) -> np.dtype[Any]:
    """The dtype of the result, and every check of the arguments, before any work is done."""
    empty = formats.numbers(np.empty((0,) * x.ndim, x.dtype))
    result: Array = local_response_norm(empty, **parameters)
    return result.dtype


def _bar(items: Iterable[Any], count: int, progress: bool, title: str) -> Iterable[Any]:
    if not progress or count < 2:
        return items
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError as error:
        raise MissingDependencyError(
            "the progress bar needs rich: pip install 'lrnorm[cli]'."
        ) from error
    return track(items, title, total=count, console=Console(stderr=True))


@dataclass(frozen=True)
class _Order:
    """What `apply` was told about its result."""

    target: Path
    overwrite: bool
    progress: bool
    parameters: dict[str, Any]


def _apply_npy(x: Source, dtype: np.dtype[Any], order: _Order) -> str:
    fortran = isinstance(x, np.ndarray) and x.flags.f_contiguous and not x.flags.c_contiguous
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": fortran,
        "shape": x.shape,
    }
    parameters = order.parameters | {"dtype": dtype}
    with writing(order.target, overwrite=order.overwrite) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        stream.flush()
        if x.size:
            offset = stream.tell()
            atomic.reserve(stream, offset + x.size * dtype.itemsize)
            y = np.memmap(stream, dtype, "r+", offset, x.shape, "F" if fortran else "C")
            cuts = chunked.cut(x, resolve_axis(parameters["axis"], x.ndim))
            for index in _bar(cuts, len(cuts), order.progress, order.target.name):
                local_response_norm(x[index], out=y[index], **parameters)
                chunked.release(x)
                chunked.release(y)
            y.flush()
    return f"wrote {order.target}: {formats.shape_text(x.shape)}, {dtype}"


def _apply_zarr(
    source: Path, x: Source, dtype: np.dtype[Any], order: _Order, scheduler: Any
) -> str:
    target, parameters = order.target, order.parameters
    numbers = {name: parameters[name] for name in NUMBERS if name in parameters}
    spec = parameters.get("spec") or LRNSpec.from_keywords(**numbers)
    axis = resolve_axis(parameters["axis"], x.ndim)
    place, folder = atomic.places(target)
    work = chunked.Work(os.path.realpath(source), str(folder), axis, spec, str(dtype))

    def make() -> None:
        if isinstance(x, zarr_store.Stored):
            zarr_store.create_like(x, folder, dtype)
        else:
            zarr_store.create(folder, x.shape, dtype, chunked.chunks_for(x, axis))

    try:
        with atomic.storing(target), chunked.unfinished(folder, work, make):
            y = zarr_store.Stored(folder, "r+")
            pieces = chunked.left_to_do(folder, chunked.pieces_of(y, axis, spec))
            doing = (
                chunked.here(work, pieces)
                if scheduler is None
                else chunked.on_cluster(work, pieces, scheduler)
            )
            with closing(doing):  # a stop while the bar is drawn does not reach into it
                for _ in _bar(doing, len(pieces), order.progress, target.name):
                    pass
            atomic.put_folder(folder, place, order.overwrite)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{folder} is left, and the same call goes on from there") from stop
    return f"wrote {target}: {formats.shape_text(x.shape)}, {dtype}"


def _apply_npz(source: Path, chosen: Members, order: _Order) -> str:
    names = {f"{name}.npy": name for name in chosen}
    with (
        writing(order.target, overwrite=order.overwrite) as stream,
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(stream, "w") as new,
    ):
        entries = old.infolist()
        for member in _bar(entries, len(entries), order.progress, order.target.name):
            entry = zipfile.ZipInfo(member.filename)
            entry.compress_type = member.compress_type
            if member.filename in names:
                name = names[member.filename]
                x = chosen[name]()
                with formats.named(_label(source, name)):
                    y = local_response_norm(x, **order.parameters)
                formats.write_member(new, entry, formats.numbers(y))
            else:
                with (
                    formats.reading(source),
                    old.open(member) as copied,
                    new.open(entry, "w", force_zip64=True) as out,
                ):
                    shutil.copyfileobj(copied, out)
        others = len(entries) - len(chosen)
    rest = f", {others} more copied as they were" if others else ""
    return f"wrote {order.target}: {formats.count_text(chosen)}{rest}"
