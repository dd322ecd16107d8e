"""Writes files that appear whole or not at all, and replace nothing unless asked to.

An unfinished file stands beside its place as NAME.partial.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lrnorm._spec.errors import FileError, KindError, LRNormError
from lrnorm.files import zarr_store

PathLike = str | os.PathLike[str]

# In an unfinished folder, what does not belong to the array.
RECORDS = ".lrnorm"


def reason(error: BaseException) -> str:
    """The text of another library's error, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


@contextmanager
def storing(path: PathLike) -> Iterator[None]:
    """Every error of an encoder or of the system becomes a FileError."""
    try:
        yield
    except LRNormError:
        raise
    except Exception as error:
        raise cannot_be_written(path, error) from error


@contextmanager
def writing(path: PathLike, *, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """A stream to `path` that is put in place when the block ends, and leaves no trace otherwise.

    Until then the bytes stand beside it as NAME.partial. Errors: FileError (an OSError) where
    `path` exists and `overwrite` is not set, and for whatever the system refuses.

    >>> import os, tempfile, lrnorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with lrnorm.files.writing(os.path.join(folder, "note")) as stream:
    ...         n = stream.write(b"all of it")
    ...     os.listdir(folder)
    ['note']
    """
    target, partial = places(path)
    check_free(path, overwrite)
    stream = _new(path, partial, _open_new)
    with _undone_on_error(path, partial.unlink):
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        check_free(path, overwrite)  # someone may have been faster
        if target.exists():
            shutil.copymode(target, partial)
        os.replace(partial, target)


@contextmanager
def writing_folder(path: PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """The same for a folder: an empty one, put in place when the block ends."""
    target, partial = places(path)
    put_back(path)
    check_free(path, overwrite)
    _new(path, partial, Path.mkdir)
    with _undone_on_error(path, lambda: shutil.rmtree(partial, ignore_errors=True)):
        yield partial
        put_folder(partial, target, overwrite)


@contextmanager
def _undone_on_error(path: PathLike, undo: Callable[[], Any]) -> Iterator[None]:
    """An error leaves no trace of the unfinished output, and one of the system becomes a FileError
    about `path`."""
    try:
        yield
    except BaseException as error:  # Ctrl-C too
        with suppress(FileNotFoundError):
            undo()
        if isinstance(error, OSError) and not isinstance(error, LRNormError):
            raise cannot_be_written(path, error) from error
        raise


def path_of(path: Any, name: str = "path") -> Path:
    """The name of a file as a Path; `name` is what errors call it."""
    if not isinstance(path, (str, os.PathLike)):
        raise KindError(
            name,
            "must be the name of a file, such as 'x.npy'",
            got=f"{type(path).__module__}.{type(path).__qualname__}",
            way_out="An array goes to lrnorm.local_response_norm(x, …), and to "
            "lrnorm.files.write(path, x).",
        )
    return Path(path)


def places(path: PathLike) -> tuple[Path, Path]:
    """Where the output goes, and where it stands until it is whole."""
    target = Path(os.path.realpath(path_of(path)))  # of a link, what it leads to is replaced
    return target, target.with_name(target.name + ".partial")


def put_folder(partial: Path, target: Path, overwrite: bool) -> None:
    """Give a finished folder its name, in place of the old folder. The old one and the records
    stand under RECORDS until they are deleted; a kill at any point leaves both folders whole."""
    sync(partial)
    check_free(target, overwrite)
    old = partial / RECORDS / "replaced"
    replaces = target.exists()
    if replaces:
        old.parent.mkdir(exist_ok=True)
        os.rename(target, old)
    try:
        os.rename(partial, target)
    except OSError:
        if replaces:
            os.rename(old, target)
        raise
    _sync_one(target.parent)
    shutil.rmtree(target / RECORDS, ignore_errors=True)


def put_back(path: PathLike) -> None:
    """Undo a kill between the two renamings of `put_folder`: the old folder gets its name back,
    and the new one is unfinished. If that run still lives, nothing is lost: its second renaming
    fails."""
    target, partial = places(path)
    old = partial / RECORDS / "replaced"
    if os.path.isdir(old) and not os.path.exists(target):  # Path's own may raise
        with storing(target):
            os.rename(old, target)


def sync(folder: Path) -> None:
    """Until every file of the folder is on the disk."""
    with ThreadPoolExecutor(8) as pool:  # waiting for the disk is all that they do
        for root, _, names in os.walk(folder):
            list(pool.map(_sync_one, (Path(root, name) for name in names)))
            _sync_one(Path(root))


def _sync_one(path: Path) -> None:
    """Wait until the bytes of one file, or the entries of one folder, are on the disk."""
    if sys.platform == "win32" and path.is_dir():
        return  # Windows cannot open a folder, and writes its entries by itself
    # Windows synchronizes only what was opened for writing.
    number = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def cannot_be_written(path: PathLike, error: BaseException) -> FileError:
    """The error for what the system refuses."""
    return FileError(str(path), f"cannot be written: {reason(error)}")


def _open_new(partial: Path) -> IO[bytes]:
    return open(partial, "x+b")


def _new(path: PathLike, partial: Path, make: Callable[[Path], Any]) -> Any:
    """Make the unfinished output by `make`; refuses a missing folder, and an output that stands
    there."""
    if not partial.parent.is_dir():
        raise FileError(str(path), f"cannot be written: there is no folder {partial.parent}")
    try:
        return make(partial)
    except FileExistsError as error:
        raise FileError(
            str(partial),
            "exists: another run is writing it, or one was killed",
            way_out="Delete it if no other is running.",
        ) from error
    except OSError as error:
        raise cannot_be_written(path, error) from error


def reserve(stream: IO[bytes], size: int) -> None:
    """Give the file its size: a full disk is an error here, and would kill us through the map."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, size)
    else:
        stream.truncate(size)


def check_free(path: PathLike, overwrite: bool) -> None:
    """Raise a FileError where writing to `path` would replace something."""
    if os.path.isdir(path) and not zarr_store.in_zarr(Path(path)):
        raise FileError(str(path), "is a folder", way_out="Give the name of a file in it.")
    if os.path.isdir(path) and os.listdir(path) and not zarr_store.is_zarr(Path(path)):
        raise FileError(str(path), "is a folder that holds no array", way_out="Give another name.")
    if os.path.exists(path) and not overwrite:
        raise FileError(
            str(path),
            "exists and is left as it is",
            way_out="To replace it pass --force (overwrite=True in Python).",
        )
