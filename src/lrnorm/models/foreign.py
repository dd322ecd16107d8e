"""Files that people have in place of a model: named by their first bytes, with what to do."""

from __future__ import annotations

from lrnorm._spec.errors import FileError
from lrnorm.models.source import Source

_WEIGHTS = "holds weights alone, which say nothing about LRN layers"
_DEFINITION = "Give the file that holds the layers."
_PICTURE = ("is a picture", "lrnorm apply normalizes it.")
_PAGE = ("is a web page", "Download the model itself.")
# first bytes, in lower case → what it is, what to do
_FOREIGN: tuple[tuple[bytes, tuple[str, str]], ...] = (
    (b"version https://git-lfs", ("is a pointer of Git LFS, not the model", "Run git lfs pull.")),
    (b"<!doctype html", _PAGE),
    (b"<html", _PAGE),
    (b"gguf", (_WEIGHTS, _DEFINITION)),
    (b"\x12\x01\0\0\0\0\0\0", (_WEIGHTS, "Give MXNet's symbol file, .json, beside it.")),
    (b"\x93numpy", ("is an array", "lrnorm apply normalizes it.")),
    (b"\x89png", _PICTURE),
    (b"\xff\xd8\xff", _PICTURE),
    (b"%pdf", ("is a PDF document", "Give the model itself.")),
    (b"\x1f\x8b", ("is compressed by gzip", "Unpack it first: gunzip or tar -xf.")),
    (b"7z\xbc\xaf", ("is a 7z archive", "Unpack it first.")),
)


def refuse(source: Source) -> None:
    """Raises a FileError for a file that is empty, or certainly no model."""
    if source.is_folder:
        return
    head = source.head
    if not head:
        raise FileError(str(source.path), "is empty", way_out="Save or download it again.")
    size = int.from_bytes(head[:8], "little")
    if head[8:].startswith((b'{"', b"{}")) and 8 + size <= len(source.data):
        raise FileError(str(source.path), f"is .safetensors: it {_WEIGHTS}", way_out=_DEFINITION)
    start = head[:64].lower()
    for mark, (rule, way_out) in _FOREIGN:
        if (start.lstrip() if mark[:1] == b"<" else start).startswith(mark):
            raise FileError(str(source.path), rule, way_out=way_out)
