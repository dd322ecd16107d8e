"""Arrays larger than memory: cut into pieces, normalized piece by piece, and taken up again.

    piece       what is computed at once: all channels of some pixels, or as many as it takes
    file        what is written at once: a chunk of a .zarr, or a shard

A run into a .zarr keeps its records in the unfinished folder: what the work is, and each file
with its size once it is written. What is recorded is not written again.
"""

from __future__ import annotations

import itertools
import json
import math
import mmap
import os
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import lrnorm
from lrnorm._fronts.core import core as _core
from lrnorm._function.functions import local_response_norm
from lrnorm._spec.errors import (
    DeviceError,
    FileError,
    LRNormError,
    MissingDependencyError,
    ParameterError,
)
from lrnorm._spec.spec import LRNSpec
from lrnorm.files import formats
from lrnorm.files.atomic import RECORDS, reason, storing
from lrnorm.files.formats import Array
from lrnorm.files.locks import try_to_lock
from lrnorm.files.zarr_store import DOCUMENTS, Index, Stored

PIECE = 2**23  # elements of a piece: 32 MiB of float32, enough for the disk and the threads
LARGEST = 2**25  # where the chunks would make a piece larger, it is cut some other way
CHUNK = 2**21  # elements of a chunk of a new .zarr
MEMORY = 2**29  # bytes that the pieces being worked on may take together

Source = Array | Stored


# Cutting


def cut(x: Source, channels: int) -> list[Index]:
    """Indices that cut x, never between channels, into parts of about PIECE elements at most; of
    a .zarr, into whole chunks if that makes parts of LARGEST at most."""
    steps = _steps(x, channels, PIECE, getattr(x, "grid", (1,) * x.ndim))
    if math.prod(steps) > LARGEST:
        steps = _steps(x, channels, LARGEST, (1,) * x.ndim)
    cuts = (
        [slice(start, min(start + step, n)) for start in range(0, n, step)]
        for n, step in zip(x.shape, steps, strict=True)
    )
    return list(itertools.product(*cuts))


def _steps(x: Source, channels: int, limit: int, units: tuple[int, ...]) -> list[int]:
    """How long a part is along each axis, in whole units."""
    steps, size = [max(n, 1) for n in x.shape], max(x.size, 1)
    # The slowest axes first, so that a piece is few long runs of the file.
    strides = getattr(x, "strides", range(x.ndim, 0, -1))
    for i in sorted(range(x.ndim), key=lambda i: -abs(strides[i])):
        if i != channels and size > limit:
            rest = size // steps[i]
            steps[i] = min(steps[i], max(limit // rest // units[i], 1) * units[i])
            size = rest * steps[i]
    return steps


def chunks_for(x: Source, channels: int) -> tuple[int, ...]:
    """Chunks for a .zarr of the shape of x: all channels, about CHUNK elements."""
    return tuple(_steps(x, channels, CHUNK, (1,) * x.ndim))


def release(x: Source) -> None:
    """Let go of the touched pages of a mapped file: they stay in the system's cache, but leave
    the memory that this process holds."""
    base = getattr(x, "base", None)
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Piece:
    """What is read of the source, and the files of the target that it suffices for, each with
    its place in the array."""

    read: Index
    files: tuple[tuple[str, Index], ...]


def pieces_of(y: Stored, axis: int, spec: LRNSpec) -> list[Piece]:
    """Every file of y once, in pieces of whole files."""
    channels, unit = y.shape[axis], y.grid[axis]
    pixels = math.prod(g for i, g in enumerate(y.grid) if i != axis)
    together = LARGEST // pixels // unit * unit  # channels, in whole chunks
    steps = list(y.grid)
    steps[axis] = max(channels, 1) if channels * pixels <= LARGEST else max(together, unit)
    cuts = [range(0, n, step) for n, step in zip(y.shape, steps, strict=True)]
    pieces = []
    for starts in itertools.product(*cuts):
        ends = zip(starts, steps, y.shape, strict=True)
        region = tuple(slice(start, min(start + step, n)) for start, step, n in ends)
        read = (*region[:axis], _context(region[axis], channels, spec), *region[axis + 1 :])
        pieces.append(Piece(read, tuple(y.files(region))))
    return pieces


def _context(wanted: slice, channels: int, spec: LRNSpec) -> slice:
    """The channels to read for the results of some, to the same bits as from all.

    The core sums wide windows in blocks as wide as the window, from the first channel on: what is
    read begins with a block. It is also not shorter than either end of the window, which the
    core would cut to it.
    """
    before, after = (min(end, channels) for end in spec.ends(channels))
    width, reach = before + after + 1, max(before, after)
    low = max(0, min(wanted.start - before, channels - reach)) // width * width
    return slice(low, min(channels, max(wanted.stop + after, low + reach)))


# Working


@dataclass(frozen=True)
class Work:
    """What is to be done: all that another process needs to know."""

    source: str
    folder: str  # where the output stands until it is whole
    axis: int
    spec: LRNSpec
    dtype: str

    def opened(self) -> tuple[Source, Stored]:
        source, folder = Path(self.source), Path(self.folder)
        is_npy = formats.ending(source) == ".npy"
        x = formats.map_npy(source) if is_npy else formats.map_zarr(source)
        return x, Stored(folder, "r+")


def do_piece(work: Work, piece: Piece, arrays: tuple[Source, Stored] | None = None) -> None:
    """Read, normalize, write, and note what is written. Other processes open the files anew."""
    x, y = arrays or work.opened()
    with formats.reading(Path(work.source)):
        values = x[piece.read]
    values = local_response_norm(values, spec=work.spec, axis=work.axis, dtype=work.dtype)
    for name, index in piece.files:
        ends = zip(index, piece.read, strict=True)
        inside = tuple(slice(i.start - r.start, i.stop - r.start) for i, r in ends)
        with storing(work.folder):
            y[index] = values[inside]
            _note(Path(work.folder), name)
    release(x)


def here(work: Work, pieces: list[Piece]) -> Generator[None, None, None]:
    """Do the pieces in threads, so that the disk, codecs and the core work at the same time."""
    if not pieces:
        return
    arrays = work.opened()
    x, y = arrays
    largest = max(math.prod(s.stop - s.start for s in piece.read) for piece in pieces)
    # Of each piece: bytes, chunks and whole twice, for reading and for writing.
    needed = 3 * largest * (x.dtype.itemsize + y.dtype.itemsize)
    threads = max(1, min(_core.thread_count() + 1, MEMORY // needed, len(pieces)))
    with ThreadPoolExecutor(threads) as pool:
        try:
            futures = [pool.submit(do_piece, work, piece, arrays) for piece in pieces]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def check_scheduler(scheduler: Any) -> None:
    """Whether someone listens there, asked before anything is made: distributed tries for long."""
    address = f"tcp://{scheduler}" if "://" not in str(scheduler) else scheduler
    if not isinstance(scheduler, str) or not address.startswith(("tcp://", "tls://")):
        return  # an object of Dask's, or a protocol that Dask knows
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise ParameterError(
            f"scheduler must be an address such as tcp://HOST:8786, got {scheduler!r}. "
            "`dask scheduler` starts one and prints its address."
        )
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError as error:
        raise _no_scheduler(scheduler, error) from error


def _no_scheduler(scheduler: Any, error: Exception) -> DeviceError:
    return DeviceError(
        f"there is no Dask scheduler at {scheduler}: {reason(error)}. "
        "`dask scheduler` starts one and prints its address."
    )


def on_cluster(work: Work, pieces: list[Piece], scheduler: Any) -> Generator[None, None, None]:
    """Do the pieces on the workers of a Dask cluster; they see the files under the same names."""
    try:
        import distributed
    except ImportError as error:
        raise MissingDependencyError(
            "a Dask cluster needs Dask: pip install 'lrnorm[dask]'."
        ) from error
    try:
        client = distributed.Client(scheduler, set_as_default=False)
    except Exception as error:
        raise _no_scheduler(scheduler, error) from error
    with client, client.as_current():
        futures = client.map(partial(do_piece, work), pieces, pure=False, retries=2)
        try:
            for future in distributed.as_completed(futures):
                yield future.result()
        except LRNormError:
            raise
        except Exception as error:
            raise FileError(
                f"{work.folder} could not be finished by the workers of {scheduler}: "
                f"{reason(error)}. Each needs lrnorm, and the files under the same names."
            ) from error
        finally:
            _stop(client, [future for future in futures if not future.done()])


def _stop(client: Any, futures: list[Any]) -> None:
    """Cancel what waits for a worker, and wait for what one is at: no thread can be stopped, and
    none may write when the folder is no longer held."""
    keys = {future.key for future in futures}
    client.cancel(futures)
    while keys:
        known = client.run_on_scheduler(_known_to_scheduler, keys)
        time.sleep(0.1)  # what the scheduler sent last has arrived at the workers then
        at_work = client.run(_known_to_worker, keys, on_error="ignore").values()
        if not known and not any(at_work):
            return


def _known_to_scheduler(keys: set[str], dask_scheduler: Any) -> bool:
    return not keys.isdisjoint(dask_scheduler.tasks)


def _known_to_worker(keys: set[str], dask_worker: Any) -> bool:
    return not keys.isdisjoint(dask_worker.state.tasks)


# Records


@contextmanager
def unfinished(folder: Path, work: Work, make: Callable[[], None]) -> Iterator[None]:
    """Hold the unfinished folder, which no other run can then, and which `make` fills with an
    empty array if it is new. Errors: FileError where it is held, or is of other work."""
    records = folder / RECORDS
    if not folder.parent.is_dir():
        raise FileError(f"{folder} cannot be written: there is no folder {folder.parent}.")
    if folder.exists() and not records.is_dir() and (folder.is_file() or os.listdir(folder)):
        raise FileError(
            f"{folder} exists, and is not what an interrupted run left to go on with. "
            "Delete it if no other run is writing it."
        )
    records.mkdir(parents=True, exist_ok=True)
    lock = records / "lock"
    with open(lock, "ab") as stream:  # the system lets go of it when the process ends
        if not try_to_lock(stream):
            raise FileError(f"{folder} is being written by another run. Wait until that has ended.")
        if not lock.exists() or not os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
            raise FileError(f"another run has just finished {folder}. Look at what it wrote.")
        begun = records / "work.json"
        now = _described(work)
        if begun.exists():
            _check_same(folder, json.loads(begun.read_text()), now)
        else:
            for name in DOCUMENTS:  # of a run that stopped here: Zarr makes no array over another
                (folder / name).unlink(missing_ok=True)
            make()
            new = begun.with_suffix(".new")
            new.write_text(json.dumps(now, indent=2))
            os.replace(new, begun)
        yield


def _described(work: Work) -> dict[str, str]:
    """What has to be the same for one run to go on where another stopped."""
    return {
        "source": work.source,
        "content of the source": _fingerprint(Path(work.source)),
        "spec": repr(work.spec),
        "axis": str(work.axis),
        "dtype": work.dtype,
        "version of lrnorm": lrnorm.__version__,
    }


def _fingerprint(source: Path) -> str:
    """Number of files, their bytes, and when the last was written: no look at what they hold."""
    files = [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
    stats = [path.stat() for path in files]
    newest = max((stat.st_mtime_ns for stat in stats), default=0)
    return f"{len(stats)} files of {sum(stat.st_size for stat in stats)} bytes, changed {newest}"


def _check_same(folder: Path, begun: dict[str, str], now: dict[str, str]) -> None:
    for name, value in now.items():
        if begun.get(name) != value:
            raise FileError(
                f"{folder} is the unfinished output of other work: its {name} was "
                f"{begun.get(name)}, and is {value} now. Go on with the same, or delete {folder} "
                "to begin anew."
            )


def _note(folder: Path, name: str) -> None:
    """Record a file as written. Each process has a list of its own, to which lines are added
    whole."""
    list_of_mine = folder / RECORDS / f"done-{socket.gethostname()}-{os.getpid()}"
    with open(list_of_mine, "ab", buffering=0) as stream:
        stream.write(f"{_size(folder / name)} {name}\n".encode())


def _size(path: Path) -> int:
    """In bytes; 0 where there is none: a chunk that holds nothing but the fill value has none."""
    return path.stat().st_size if path.exists() else 0


def left_to_do(folder: Path, pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces without the files that are finished. What else stands in the folder was cut off
    half written, and is deleted."""
    finished = set()
    for path in (folder / RECORDS).glob("done-*"):
        for line in path.read_text().splitlines():
            size, _, name = line.partition(" ")
            if size == str(_size(folder / name)):
                finished.add(name)
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        ours = name in finished or name in DOCUMENTS or name.startswith(RECORDS)
        if path.is_file() and not ours:
            path.unlink()
    rest = (
        Piece(piece.read, tuple(file for file in piece.files if file[0] not in finished))
        for piece in pieces
    )
    return [piece for piece in rest if piece.files]
