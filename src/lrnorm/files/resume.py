"""The records of a run into a .zarr, from which an interrupted run is taken up again.

They stand in the unfinished folder: what the work is, and each file with its size once it is
written. A file that is recorded is not written again.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import lrnorm
from lrnorm._spec.errors import FileError
from lrnorm._spec.spec import LRNSpec
from lrnorm.files.atomic import RECORDS
from lrnorm.files.locks import try_to_lock
from lrnorm.files.zarr_store import DOCUMENTS, Index

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """What is to be done. It stays the same when an interrupted run is taken up again."""

    source: str
    folder: str  # where the output stands until it is whole
    axis: Axes
    spec: LRNSpec
    dtype: str


@dataclass(frozen=True)
class Piece:
    """The region to read of the source, and the files of the target that can be computed from it,
    each with its place in the array."""

    read: Index
    files: tuple[tuple[str, Index], ...]


@contextmanager
def unfinished(folder: Path, work: Work, make: Callable[[], None]) -> Iterator[None]:
    """Hold the unfinished folder, so that no other run can; `make` fills a new one with an empty
    array. Errors: FileError where another run holds it, or where it is of other work."""
    records = folder / RECORDS
    if not folder.parent.is_dir():
        raise FileError(str(folder), f"cannot be written: there is no folder {folder.parent}")
    if folder.exists() and not records.is_dir() and (folder.is_file() or os.listdir(folder)):
        raise FileError(
            str(folder),
            "exists, and is not the unfinished output of an interrupted run",
            way_out="Delete it if no other run is writing it.",
        )
    records.mkdir(parents=True, exist_ok=True)
    lock = records / "lock"
    with open(lock, "ab") as stream:
        if not try_to_lock(stream):
            raise FileError(
                str(folder), "is being written by another run", way_out="Wait until it has ended."
            )
        if not lock.exists() or not os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
            raise FileError(
                str(folder), "was just finished by another run", way_out="Look at what it wrote."
            )
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
    """Everything that has to be the same for one run to go on where another stopped."""
    return {
        "source": work.source,
        "content of the source": _fingerprint(Path(work.source)),
        "spec": repr(work.spec),
        "axis": ", ".join(map(str, work.axis)),
        "dtype": work.dtype,
        "version of lrnorm": lrnorm.__version__,
    }


def _fingerprint(source: Path) -> str:
    """The number of files, their bytes, and when the last was written, not their contents."""
    files = [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
    stats = [path.stat() for path in files]
    newest = max((stat.st_mtime_ns for stat in stats), default=0)
    return f"{len(stats)} files of {sum(stat.st_size for stat in stats)} bytes, changed {newest}"


def _check_same(folder: Path, begun: dict[str, str], now: dict[str, str]) -> None:
    """Refuse to go on where an entry of work.json is not what the same call gives now."""
    for name, value in now.items():
        if begun.get(name) != value:
            raise FileError(
                str(folder),
                f"is the unfinished output of other work: its {name} was {begun.get(name)}, and "
                f"is {value} now",
                way_out=f"Go on with the same, or delete {folder} to begin anew.",
            )


def note(folder: Path, name: str) -> None:
    """Record a file as written. Each process has a list of its own, to which lines are added
    whole."""
    list_of_mine = folder / RECORDS / f"done-{socket.gethostname()}-{os.getpid()}"
    with open(list_of_mine, "ab", buffering=0) as stream:
        stream.write(f"{_size(folder / name)} {name}\n".encode())


def _size(path: Path) -> int:
    """In bytes; 0 where there is none: a chunk that holds nothing but the fill value has none."""
    return path.stat().st_size if path.exists() else 0


def left_to_do(folder: Path, pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces without the files that are finished. Every other file in the folder is half
    written, and is deleted."""
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
        replace(piece, files=tuple(file for file in piece.files if file[0] not in finished))
        for piece in pieces
    )
    return [piece for piece in rest if piece.files]
