"""Arrays larger than memory: cut into pieces and normalized piece by piece.

    piece       what is computed at once: all channels of some pixels, or as many as it takes
    file        what is written at once: a chunk of a .zarr, or a shard

Example: x of (8, 64, 1000, 1000) with the channels on axis 1 is 512 million elements. With PIECE =
8 million, each cut is [i:i+1, :, j:j+131, :]: one image, all its channels, 131 of its rows.
"""

from __future__ import annotations

import itertools
import math
import mmap
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from lrnorm._fronts.core import core as _core
from lrnorm._fronts.numpy import computing_dtype, region_for
from lrnorm._function.functions import local_response_norm
from lrnorm._spec.spec import LRNSpec, ends_along
from lrnorm.files.atomic import storing
from lrnorm.files.checks import reading
from lrnorm.files.formats import Source, format_of
from lrnorm.files.resume import Axes, Piece, Work, note
from lrnorm.files.zarr_store import Index, Stored

PIECE = 2**23  # elements of a piece: 32 MiB of float32, enough for the disk and the threads
LARGEST = 2**25  # where the chunks would make a piece larger, it is cut some other way
CHUNK = 2**21  # elements of a chunk of a new .zarr
MEMORY = 2**29  # bytes that the pieces being worked on may take together

# Cutting


def cut(x: Source, axes: Axes) -> list[Index]:
    """Indices that cut x, never along `axes`, into parts of about PIECE elements; a .zarr into
    whole chunks, if no part then has more than LARGEST."""
    steps = _steps(x, axes, PIECE, getattr(x, "grid", (1,) * x.ndim))
    if math.prod(steps) > LARGEST:
        steps = _steps(x, axes, LARGEST, (1,) * x.ndim)
    cuts = (
        [slice(start, min(start + step, n)) for start in range(0, n, step)]
        for n, step in zip(x.shape, steps, strict=True)
    )
    return list(itertools.product(*cuts))


def _steps(x: Source, axes: Axes, limit: int, units: tuple[int, ...]) -> list[int]:
    """How long a part is along each axis, in whole units."""
    steps, size = [max(n, 1) for n in x.shape], max(x.size, 1)
    # The slowest axes first, so that a piece is few long runs of the file.
    strides = getattr(x, "strides", range(x.ndim, 0, -1))
    for i in sorted(range(x.ndim), key=lambda i: -abs(strides[i])):
        if i not in axes and size > limit:
            rest = size // steps[i]
            steps[i] = min(steps[i], max(limit // rest // units[i], 1) * units[i])
            size = rest * steps[i]
    return steps


def chunks_for(x: Source, axes: Axes) -> tuple[int, ...]:
    """Chunks for a .zarr of the shape of x: all of `axes`, about CHUNK elements."""
    return tuple(_steps(x, axes, CHUNK, (1,) * x.ndim))


def release(x: Source) -> None:
    """Release the pages of a mapped file that were touched: they stay in the system's cache, and
    no longer count as memory of this process."""
    base = getattr(x, "base", None)
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def pieces_of(x: Source, y: Stored, axes: Axes, spec: LRNSpec) -> list[Piece]:
    """Every file of y once, in pieces of whole files, and the regions of x to read for them."""
    steps = list(y.grid)
    for axis in axes:
        rest, unit = math.prod(steps) // steps[axis], y.grid[axis]
        fitting = LARGEST // rest // unit * unit  # channels, in whole chunks
        steps[axis] = max(y.shape[axis], 1)
        if math.prod(steps) > LARGEST:
            steps[axis] = max(fitting, unit)
    cuts = [range(0, n, step) for n, step in zip(y.shape, steps, strict=True)]
    befores, afters = ends_along(spec, [y.shape[axis] for axis in axes])
    dtype = computing_dtype(x.dtype, y.dtype)
    pieces = []
    for starts in itertools.product(*cuts):
        ends = zip(starts, steps, y.shape, strict=True)
        region = tuple(slice(start, min(start + step, n)) for start, step, n in ends)
        read = list(region)
        for axis, before, after in zip(axes, befores, afters, strict=True):
            read[axis] = region_for(region[axis], y.shape[axis], spec, (before, after), dtype)
        pieces.append(Piece(tuple(read), tuple(y.files(region))))
    return pieces


# Working


def _do_piece(work: Work, piece: Piece, x: Source, y: Stored) -> None:
    """Read, normalize, write, and note what is written."""
    with reading(Path(work.source)):
        values = x[piece.read]
    values = local_response_norm(values, spec=work.spec, axis=work.axis, dtype=work.dtype)
    for name, index in piece.files:
        ends = zip(index, piece.read, strict=True)
        inside = tuple(slice(i.start - r.start, i.stop - r.start) for i, r in ends)
        with storing(work.folder):
            y[index] = values[inside]
            note(Path(work.folder), name)
    release(x)


def do(work: Work, pieces: list[Piece]) -> Generator[None, None, None]:
    """Do the pieces in threads, so that the disk, codecs and the core work at the same time."""
    if not pieces:
        return
    mapped = format_of(Path(work.source)).mapped
    assert mapped is not None
    x, y = mapped(Path(work.source)), Stored(Path(work.folder), "r+")
    largest = max(math.prod(s.stop - s.start for s in piece.read) for piece in pieces)
    # Of each piece, for reading and for writing: its bytes, its chunks, and the whole.
    needed = 3 * largest * (x.dtype.itemsize + y.dtype.itemsize)
    threads = max(1, min(_core.thread_count() + 1, MEMORY // needed, len(pieces)))
    with ThreadPoolExecutor(threads) as pool:
        try:
            futures = [pool.submit(_do_piece, work, piece, x, y) for piece in pieces]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
