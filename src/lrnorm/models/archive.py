"""Zip archives, read with limits: how many entries, and how many bytes of one."""

from __future__ import annotations

import io
import zipfile
import zlib

from lrnorm.models.source import MIB, DamagedError, Source

MOST_ENTRIES = 100_000
ENTRY_LIMIT = 256 * MIB


class Archive:
    """The entries of a .zip by name. Nothing is written to disk."""

    def __init__(self, source: Source) -> None:
        try:
            self.zip = zipfile.ZipFile(io.BufferedReader(_Raw(source.data)))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            raise DamagedError(f"its directory cannot be read: {error}") from None
        self.entries = {entry.filename: entry for entry in self.zip.infolist()}
        if len(self.entries) > MOST_ENTRIES:
            raise DamagedError(f"it has more than {MOST_ENTRIES} entries")

    def named(self, ending: str) -> list[str]:
        return [name for name in self.entries if name.endswith(ending)]

    def read(self, name: str, limit: int = ENTRY_LIMIT) -> bytes:
        """The bytes of an entry, however many its header claims."""
        if name not in self.entries:
            raise DamagedError(f"it has no entry {name[:80]!r}")
        try:
            with self.zip.open(self.entries[name]) as file:
                data = file.read(limit + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            RuntimeError,  # encrypted
            NotImplementedError,
        ) as error:
            raise DamagedError(f"its entry {name[:80]!r} cannot be read: {error}") from None
        if len(data) > limit:
            raise DamagedError(f"its entry {name[:80]!r} has more than {limit // MIB} MiB")
        return data


class _Raw(io.RawIOBase):
    """Mapped bytes as a file."""

    def __init__(self, data: object) -> None:
        self.view, self.at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: len(self.view)}[whence]  # type: ignore[arg-type]
        if start + offset < 0:
            raise OSError("a place before the start")  # what files raise, and zipfile expects
        self.at = start + offset
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: object) -> int:
        size = len(buffer)  # type: ignore[arg-type]
        data = bytes(self.view[self.at : self.at + size])  # type: ignore[index]
        buffer[: len(data)] = data  # type: ignore[index]
        self.at += len(data)
        return len(data)


def is_zip(source: Source) -> bool:
    """True for the signature of the first local file header, PK 03 04."""
    return source.head.startswith(b"PK\x03\x04")


def entry_names(source: Source) -> list[str]:
    """The names in an archive; empty for what is none."""
    try:
        return list(Archive(source).entries)
    except DamagedError:
        return []
