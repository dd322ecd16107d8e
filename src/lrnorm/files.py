"""Arrays from and to files; an output appears whole or not at all.

    .npy            one array; large ones go through in pieces
    .npz            arrays by name
    .png .jpg       a picture: (channels, height, width) in 0 … 1

Nothing is overwritten unless asked.
"""

from __future__ import annotations

import itertools
import math
import mmap
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lrnorm import _formats
from lrnorm._dispatch import local_response_norm
from lrnorm._errors import FileError, MissingDependencyError
from lrnorm._formats import Array, PathLike, writing
from lrnorm._spec import resolve_axis

__all__ = ["Change", "Summary", "apply", "first", "read", "summarize", "write", "writing"]

PIECE = 2**23  # elements of a piece: 32 MiB of float32, enough for the disk and the threads

# The arrays of a source by name, each loaded when its turn comes. The one array of a .npy or of a
# picture has the empty name.
Members = Mapping[str, Callable[[], Array]]


@dataclass(frozen=True)
class Summary:
    """What an array holds. The numbers are of its finite entries, nan where there are none."""

    shape: tuple[int, ...]
    dtype: str
    min: float
    max: float
    mean: float
    std: float
    not_finite: int


@dataclass(frozen=True)
class Change:
    """One array before and after, with the axis of its channels; `name` is that in an .npz."""

    name: str
    axis: int
    before: Summary
    after: Summary


def read(path: PathLike) -> Any:
    """What a file holds.

    A .npy gives its array, an .npz a dict of arrays by name. A picture gives float32 of shape
    (channels, height, width) in 0 … 1: one channel for gray, else red, green and blue; upright as
    its EXIF data say; transparency is left out.

    Errors: FileError (an OSError) for a file that is missing, damaged, of an unknown ending, or
    that holds Python objects; MissingDependencyError (an ImportError) without Pillow for pictures.

    >>> import os, tempfile, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.npy")
    ...     line = lrnorm.files.write(path, [[1.0, 2.0]])
    ...     lrnorm.files.read(path)
    array([[1., 2.]])
    """
    source = Path(path)
    kind = _formats.FORMATS[_formats.ending(source)]
    with _formats.reading(source):
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
    target = Path(path)
    kind = _formats.FORMATS[_formats.ending(target)]
    with writing(target, overwrite=overwrite) as stream, _formats.named(target):
        remark = kind.write(stream, array)
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
    **parameters: Any,
) -> str:
    """Normalize a file into another: read, local_response_norm, write.

    `parameters` are alpha, beta, bias, channel_window_size, or spec; they, axis and dtype are
    those of `lrnorm.local_response_norm`. Of an .npz every array is normalized, or those named in
    `keys` while the others are copied as they are. A .npy goes through in pieces, in memory that
    does not grow with it, to the same bytes as in one. source and target may be one file.
    `progress` shows a bar on stderr. The result is a line that says what was written.

    Errors: those of `read`, `write` and `local_response_norm`, led by the name of the file.

    >>> import os, tempfile, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     x, y = os.path.join(folder, "x.npy"), os.path.join(folder, "y.npy")
    ...     line = lrnorm.files.write(x, [-2.0, -1.0, 0.0, 1.0, 2.0])
    ...     line = lrnorm.files.apply(x, y, axis=0)
    ...     lrnorm.files.read(y).round(4)
    array([-1.4142, -0.6742,  0.    ,  0.6742,  1.4142])
    """
    source, target = Path(source), Path(target)
    kinds = _formats.ending(source), _formats.ending(target)
    _formats.check_free(target, overwrite)
    parameters |= {"axis": axis, "dtype": dtype}
    with _opened(source) as members:
        chosen = _chosen(source, members, keys)
        if kinds == (".npz", ".npz"):
            return _apply_npz(source, chosen, target, overwrite, progress, parameters)
        if len(chosen) != 1:
            raise FileError(
                f"{source} holds {_formats.count_text(chosen)} ({', '.join(chosen)}) where "
                f"{target} takes one. Choose it with --key NAME (keys=[NAME] in Python), or "
                "write an .npz."
            )
        [(name, load)] = chosen.items()
        x = load()
        with _formats.named(_label(source, name)):
            result = _result_dtype(x, parameters)
            if kinds != (".npy", ".npy"):
                y = local_response_norm(x, **parameters)
        if kinds == (".npy", ".npy"):
            return _apply_npy(x, result, target, overwrite, progress, parameters)
    opaque = kinds[0] not in _formats.PICTURES or not _formats.has_transparency(source)
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
    source = Path(source)
    parameters |= {"axis": axis, "dtype": dtype}
    changes = []
    with _opened(source) as members:
        for name, load in _chosen(source, members, keys).items():
            x = load()
            with _formats.named(_label(source, name)):
                result = _result_dtype(x, parameters)
                channels = resolve_axis(axis, x.ndim)
                before, after = _Tally(), _Tally()
                for index in _bar(_pieces(x, channels), progress, name or source.name):
                    before.add(x[index])
                    after.add(local_response_norm(x[index], **parameters))
                    _release(x)
            pair = before.summary(x.shape, x.dtype), after.summary(x.shape, result)
            changes.append(Change(name, channels, *pair))
    return changes


def first(source: PathLike, *, keys: Collection[str] | None = None) -> Array:
    """The first of the arrays that `apply` would normalize; of a .npy a map of the file.

    >>> import os, tempfile, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.npz")
    ...     line = lrnorm.files.write(path, {"a": [1.0], "b": [2.0]})
    ...     lrnorm.files.first(path, keys=["b"])
    array([2.])
    """
    source = Path(source)
    with _opened(source) as members:
        return next(iter(_chosen(source, members, keys).values()))()


def _label(source: Path, name: str) -> str:
    return f"{source}[{name}]" if name else str(source)


@contextmanager
def _opened(source: Path) -> Iterator[Members]:
    kind = _formats.ending(source)
    if kind == ".npy":
        yield {"": partial(_formats.map_npy, source)}
        return
    if kind != ".npz":
        yield {"": partial(read, source)}
        return
    with _formats.reading(source):
        archive = zipfile.ZipFile(source)

    def load(name: str) -> Array:
        with _formats.reading(source):
            return _formats.read_member(archive, name)

    with archive:
        yield {name: partial(load, name) for name in _formats.npz_names(archive)}


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


def _result_dtype(x: Array, parameters: Mapping[str, Any]) -> np.dtype[Any]:
    """The dtype of the result, and every check of the arguments, before any work is done."""
    empty = _formats.numbers(np.empty((0,) * x.ndim, x.dtype))
    result: Array = local_response_norm(empty, **parameters)
    return result.dtype


def _pieces(x: Array, channels: int) -> list[tuple[slice, ...]]:
    """Indices that cut x, never between channels, into parts of about PIECE elements at most."""
    steps, size = list(x.shape), x.size
    # The slowest axes first, so that a piece is few long runs of the file.
    for i in sorted(range(x.ndim), key=lambda i: -abs(x.strides[i])):
        if i != channels and size > PIECE:
            rest = size // steps[i]
            steps[i] = max(1, PIECE // rest)
            size = rest * steps[i]
    cuts = (
        [slice(start, start + step) for start in range(0, length, max(step, 1))]
        for length, step in zip(x.shape, steps, strict=True)
    )
    return list(itertools.product(*cuts))


def _bar(items: list[Any], progress: bool, title: str) -> Iterable[Any]:
    if not progress or len(items) < 2:
        return items
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError as error:
        raise MissingDependencyError(
            "the progress bar needs rich: pip install 'lrnorm[cli]'."
        ) from error
    return track(items, title, console=Console(stderr=True))


def _release(x: Array) -> None:
    """Let go of the touched pages of a mapped file: they stay in the system's cache, but leave
    the memory that this process holds."""
    if isinstance(x.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        x.base.madvise(mmap.MADV_DONTNEED)


def _apply_npy(
    x: Array,
    dtype: np.dtype[Any],
    target: Path,
    overwrite: bool,
    progress: bool,
    parameters: dict[str, Any],
) -> str:
    fortran = x.flags.f_contiguous and not x.flags.c_contiguous
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": fortran,
        "shape": x.shape,
    }
    parameters = parameters | {"dtype": dtype}
    with writing(target, overwrite=overwrite) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        stream.flush()
        if x.size:
            offset = stream.tell()
            _formats.reserve(stream, offset + x.size * dtype.itemsize)
            y = np.memmap(stream, dtype, "r+", offset, x.shape, "F" if fortran else "C")
            for index in _bar(
                _pieces(x, resolve_axis(parameters["axis"], x.ndim)), progress, target.name
            ):
                local_response_norm(x[index], out=y[index], **parameters)
                _release(x)
                _release(y)
            y.flush()
    return f"wrote {target}: {_formats.shape_text(x.shape)}, {dtype}"


def _apply_npz(
    source: Path,
    chosen: Members,
    target: Path,
    overwrite: bool,
    progress: bool,
    parameters: dict[str, Any],
) -> str:
    names = {f"{name}.npy": name for name in chosen}
    with (
        writing(target, overwrite=overwrite) as stream,
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(stream, "w") as new,
    ):
        for member in _bar(old.infolist(), progress, target.name):
            entry = zipfile.ZipInfo(member.filename)
            entry.compress_type = member.compress_type
            if member.filename in names:
                name = names[member.filename]
                x = chosen[name]()
                with _formats.named(_label(source, name)):
                    y = local_response_norm(x, **parameters)
                _formats.write_member(new, entry, _formats.numbers(y))
            else:
                with (
                    _formats.reading(source),
                    old.open(member) as copied,
                    new.open(entry, "w", force_zip64=True) as out,
                ):
                    shutil.copyfileobj(copied, out)
        others = len(old.infolist()) - len(chosen)
    rest = f", {others} more copied as they were" if others else ""
    return f"wrote {target}: {_formats.count_text(chosen)}{rest}"


class _Tally:
    """The numbers of a Summary, gathered piece by piece."""

    def __init__(self) -> None:
        self.count = self.not_finite = 0
        self.min, self.max = math.inf, -math.inf
        self.mean = self.squares = 0.0

    def add(self, piece: Array) -> None:
        values = piece.astype(np.float64, copy=False)
        finite = np.isfinite(values)
        if not finite.all():
            self.not_finite += int(values.size - finite.sum())
            values = values[finite]
        if not values.size:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            mean, squares = float(values.mean()), float(values.var()) * values.size
        step, total = mean - self.mean, self.count + values.size
        self.squares += squares + step * step * self.count * values.size / total
        self.mean += step * values.size / total
        self.count = total
        self.min = min(self.min, float(values.min()))
        self.max = max(self.max, float(values.max()))

    def summary(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Summary:
        low, high, mean, std = math.nan, math.nan, math.nan, math.nan
        if self.count:
            low, high, mean = self.min, self.max, self.mean
            std = math.sqrt(self.squares / self.count)
        return Summary(shape, str(dtype), low, high, mean, std, self.not_finite)
