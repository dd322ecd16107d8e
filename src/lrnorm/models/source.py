"""Access to files that are not trusted: mapped into memory, with limits, inside one folder."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import struct
from pathlib import Path
from typing import Any

from lrnorm._spec.errors import FileError, KindError

Data = bytes | mmap.mmap

MIB = 2**20
TEXT_LIMIT = 64 * MIB  # of files that are read as one text


class DamagedError(Exception):
    """The bytes break the rules of their format. Becomes a FileError that names the file."""


class Source:
    """A model file or the folder of a model. `data` is read on first use; a large file is mapped,
    so that what a reader skips takes no memory."""

    def __init__(self, path: Any) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise KindError(
                "the model",
                "must be a path",
                got=type(path).__qualname__,
                way_out="Save the model and give the name of the file.",
            )
        self.path = Path(path)
        self._data: Data | None = None
        try:
            mode = os.stat(self.path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            name = os.fsdecode(path)
            if "://" in name:
                rule = "must be a file on this machine"
                raise FileError(name, rule, way_out="Download it first.") from None
            way_out = "Check its name and folder."
            raise FileError(name, "does not exist", way_out=way_out) from None
        except (OSError, ValueError) as error:
            raise FileError(str(self.path), f"cannot be read: {error}") from error
        self.is_folder = stat.S_ISDIR(mode)
        if not self.is_folder and not stat.S_ISREG(mode):
            raise FileError(str(self.path), "must be a file or a folder", got="a device or a pipe")

    @property
    def ending(self) -> str:
        return self.path.suffix.lower()

    @property
    def data(self) -> Data:
        if self.is_folder:
            return b""
        if self._data is None:
            try:
                with self.path.open("rb") as file:
                    self._data = _mapped(file)
            except OSError as error:
                reason = error.strerror or str(error)
                raise FileError(str(self.path), f"cannot be read: {reason}") from error
        return self._data

    @property
    def head(self) -> bytes:
        """The first bytes, by which a format is recognised."""
        return bytes(self.data[:4096])

    def text(self, limit: int = TEXT_LIMIT) -> str:
        """The whole file as text; bytes that are not UTF-8 become replacement characters."""
        if len(self.data) > limit:
            raise DamagedError(
                f"it has {len(self.data)} bytes, more than the {limit // MIB} MiB that are read as "
                "one text"
            )
        return bytes(self.data).decode("utf-8", "replace").removeprefix("\ufeff")

    def beside(self, name: str) -> Source | None:
        """A file named inside a model. Only files in the model's own folder are opened; None for a
        file that is not there."""
        folder = self.path if self.is_folder else self.path.parent
        try:
            inside = (folder / name).resolve().is_relative_to(folder.resolve())
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not inside:
            raise DamagedError(f"it names {name!r}, a file outside its own folder")
        try:
            return Source(folder / name)
        except FileError:
            return None

    def close(self) -> None:
        if isinstance(self._data, mmap.mmap):
            with contextlib.suppress(BufferError):  # a view is still alive: freed with it
                self._data.close()
        self._data = None


def _mapped(file: Any) -> Data:
    """The bytes of an open file: mapped into memory from 1 MiB on, else read."""
    if os.fstat(file.fileno()).st_size < MIB:
        return bytes(file.read())
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # a system without mapping, such as a browser
        return bytes(file.read())


def unpack(form: str, data: Any, offset: int) -> tuple[Any, ...]:
    """struct.unpack_from that refuses negative offsets, which Python would count from the end."""
    if offset < 0 or offset + struct.calcsize(form) > len(data):
        raise DamagedError("it ends in the middle of a value")
    return struct.unpack_from(form, data, offset)


def decimal32(number: float) -> float:
    """The shortest decimal that is the same float32: 1e-4 for 9.999999747378752e-05.

    >>> decimal32(9.999999747378752e-05)
    0.0001
    """
    return _shortest(number, "<f", range(1, 10))


def decimal16(number: float) -> float:
    """The shortest decimal that is the same float16.

    >>> decimal16(0.00010001659393310547)
    0.0001
    """
    return _shortest(number, "<e", range(1, 6))


def _shortest(number: float, form: str, digits: range) -> float:
    """The decimal of fewest digits that is stored as the same bits."""

    def stored(value: float) -> bytes | None:
        try:
            return struct.pack(form, value)
        except (OverflowError, struct.error):
            return None

    bits = stored(number)
    for count in digits:
        text = f"{number:.{count}g}"
        if bits is not None and stored(float(text)) == bits:
            return float(text)
    return number
