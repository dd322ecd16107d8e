"""Pictures, in every format that Pillow reads: (channels, height, width) in 0 … 1 and back.

Pillow has no mode for 16 bits in several channels and keeps the high byte of each number. Such
pictures are read another way, or refused, but never without their low bytes:

    .png    its bytes are filtered in lanes that do not mix, so the high bytes and the low bytes
            are two pictures of 8 bits, which Pillow reads
    .tif    by tifffile;  .ppm  as the bytes stand
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from lrnorm._layers.shapes import shape_text
from lrnorm._spec.errors import FileError, KindError, ShapeError, missing
from lrnorm.files.checks import Array, numbers, reading

# Formats that Pillow hands to another program, or only recognizes.
_NOT_READ = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "FPX", "MIC"}
# How each is written so that as little as possible is lost.
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}


def pillow() -> Any:
    """The package Pillow, or the error that says how to get it."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise missing("a picture", "Pillow", "'lrnorm[cli]'") from error
    return PIL


@cache
def endings() -> dict[str, str]:
    """The endings of names that are pictures → Pillow's name of the format."""
    image = pillow().Image
    image.init()
    return {
        ending: kind
        for ending, kind in image.registered_extensions().items()
        if kind in image.OPEN and kind not in _NOT_READ
    }


def _opened(source: Path) -> Any:
    return pillow().Image.open(source, formats=sorted(set(endings().values())))


def read_picture(source: Path) -> Array:
    """float32 of (channels, height, width) in 0 … 1: 255 or 65535 becomes 1, turned by its EXIF
    data."""
    pil = pillow()
    with _opened(source) as opened:
        if opened.mode not in ("I", "F") and _has_16_bits(opened):
            return _read_16_bits(source, opened)
        picture = pil.ImageOps.exif_transpose(opened)
        kind = opened.format
    if picture.mode.startswith("I;16") or (picture.mode == "I" and kind in ("PNG", "PPM")):
        return (np.asarray(picture, np.float32) / np.float32(65535))[np.newaxis]
    if picture.mode in ("I", "F"):
        raise FileError(
            str(source),
            "holds numbers of 32 bits, of which none stands for white",
            way_out="Save them as .npy: numpy.save(name, numpy.asarray(PIL.Image.open(picture))).",
        )
    if picture.mode == "P":  # by way of RGBA: Pillow warns of transparent palettes otherwise
        picture = picture.convert("RGBA")
    picture = picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")
    values = np.atleast_3d(np.asarray(picture, np.float32) / np.float32(255))
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))


# 16 bits a channel


def _has_16_bits(picture: Any) -> bool:
    """Whether Pillow would drop the low byte of each number."""
    if picture.format == "JPEG2000":
        picture.fp.seek(0)
        head = picture.fp.read(4096)
        size = head.find(b"\xff\x51")  # the marker SIZ: 40 bytes on stands the depth, less 1
        return size >= 0 and (head[size + 40] & 0x7F) >= 8 and not picture.mode.startswith("I")
    if picture.format == "TIFF":
        depths = picture.tag_v2.get(258, (8,))  # BitsPerSample
        return len(depths) > 1 and max(depths) > 8
    if picture.format == "PPM":
        arguments = picture.tile[0].args
        return isinstance(arguments, tuple) and picture.mode == "RGB" and arguments[1] > 255
    deep = re.compile(";16[BLN]")  # ";16" alone is 16 bits for all colours of a pixel
    return any(deep.search(str(tile.args)) for tile in picture.tile) and ";" not in picture.mode


def _read_16_bits(source: Path, picture: Any) -> Array:
    """The same for 16 bits in each of several channels, by a reader for its format."""
    read = {"PNG": _read_png, "TIFF": _read_tiff, "PPM": _read_ppm}.get(picture.format)
    if read is None:
        raise FileError(
            str(source),
            "has 16 bits in each of several channels, of which Pillow keeps 8",
            way_out="Save it as .png.",
        )
    values, white = read(source, picture)
    values = values[..., : 1 if values.shape[-1] < 3 else 3]  # without transparency
    scaled = np.moveaxis(values, -1, 0).astype(np.float32) / np.float32(white)
    return np.ascontiguousarray(scaled)


def _read_png(source: Path, picture: Any) -> tuple[Array, int]:
    """(uint16 of (height, width, channels), 65535), from two pictures of 8 bits.

    The pixels of 16 bits RGB are 6 bytes each, R1 R0 G1 G0 B1 B0. Each byte is filtered by the byte
    one pixel to its left, so R1 G1 B1 alone are a valid picture of 8 bits, and R0 G0 B0 another.
    Source: the PNG specification, sections 8 (interlacing) and 9 (filtering).
    """
    pil = pillow()
    chunks = list(_png_chunks(source.read_bytes()))
    [header] = [data for kind, data in chunks if kind == b"IHDR"]
    width, height, _, colour, *_, interlaced = struct.unpack(">IIBBBBB", header)
    lanes = {2: 6, 4: 4, 6: 8}[colour]  # bytes a pixel, high and low in turn
    rows = sum(h * (1 + w * lanes) for w, h in _passes(width, height, interlaced))
    data = zlib.decompressobj().decompress(
        b"".join(data for kind, data in chunks if kind == b"IDAT"), rows
    )
    halves = []
    for half in (0, 1):
        part, place = [], 0
        for w, h in _passes(width, height, interlaced):
            size = h * (1 + w * lanes)
            lines = np.frombuffer(data[place : place + size], np.uint8).reshape(h, -1)
            # The filter's number, then every second byte: a row of a picture of 8 bits.
            part.append(np.hstack([lines[:, :1], lines[:, 1 + half :: 2]]).tobytes())
            place += size
        smaller = header[:8] + b"\x08" + header[9:]
        packed = zlib.compress(b"".join(part), 1)
        kept = [(kind, data) for kind, data in chunks if kind == b"eXIf"]
        stream = io.BytesIO(_png([(b"IHDR", smaller), *kept, (b"IDAT", packed), (b"IEND", b"")]))
        halves.append(np.asarray(pil.ImageOps.exif_transpose(pil.Image.open(stream)), np.uint16))
    return halves[0] << 8 | halves[1], 65535


# Where each pass of Adam7 begins, and its steps: x, y, dx, dy.
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def _passes(width: int, height: int, interlaced: int) -> list[tuple[int, int]]:
    """The sizes of the pictures that follow each other in a .png: one, or the seven of Adam7."""
    if not interlaced:
        return [(width, height)]
    sizes = ((-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in _ADAM7)
    return [(w, h) for w, h in sizes if w > 0 and h > 0]


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, data) of each chunk: 4 bytes length, 4 bytes type, the data, 4 bytes CRC."""
    place = 8
    while place + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        yield kind, data[place + 8 : place + 8 + size]
        place += 12 + size


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """The bytes of a .png of these chunks, with their lengths and CRCs."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        parts.append(struct.pack(">I", len(data)) + kind + data)
        parts.append(struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


def _read_tiff(source: Path, picture: Any) -> tuple[Array, int]:
    """(values of (height, width, channels), 65535) of the first page, by tifffile."""
    try:
        import tifffile
    except ImportError as error:
        raise missing(
            "a TIFF of 16 bits in each of several channels",
            "tifffile",
            "'lrnorm[cli]'",
            otherwise="save it as .png",
        ) from error
    with tifffile.TiffFile(source) as file:
        page: Any = file.pages[0]
        values: Array = page.asarray()
        if page.planarconfig == 2:  # a plane for each channel
            values = np.moveaxis(values, 0, -1)
    turned = pillow().ImageOps.exif_transpose  # the same turn that the picture asks for
    channels = [turned(_with_exif(values[..., i], picture)) for i in range(values.shape[-1])]
    return np.stack([np.asarray(channel) for channel in channels], -1), 65535


def _with_exif(values: Array, picture: Any) -> Any:
    """One channel as a picture that has the orientation (EXIF tag 0x0112) of the whole one."""
    channel = pillow().Image.fromarray(values.astype(np.uint16))
    channel.getexif().update({0x0112: picture.getexif().get(0x0112, 1)})
    return channel


def _read_ppm(source: Path, picture: Any) -> tuple[Array, int]:
    """(uint16 of (height, width, 3), white), stored big-endian; the header says what white is."""
    [tile] = picture.tile
    if tile.codec_name != "ppm" and tile.codec_name != "raw":
        raise FileError(
            str(source),
            "has numbers in digits, of which Pillow keeps 8 bits",
            way_out="Save it as .png.",
        )
    width, height = picture.size
    values = np.fromfile(source, ">u2", 3 * width * height, offset=tile.offset)
    return values.reshape(height, width, 3), tile.args[1]


def left_out(source: Path) -> str:
    """What reading the picture leaves out, in words; only its head is read."""
    with reading(source), _opened(source) as picture:
        parts = []
        if "A" in picture.getbands() or "transparency" in picture.info:
            parts.append("transparency is left out")
        if (frames := getattr(picture, "n_frames", 1)) > 1:
            parts.append(f"of its {frames} frames the first alone is read")
    return "; ".join(parts)


# Writing


def write_picture(stream: IO[bytes], array: Any, ending: str) -> str:
    """Write (1 or 3 channels, height, width) as 8 bits, the largest value as 255; the remark says
    so."""
    pil = pillow()
    kind = endings()[ending]
    if kind not in pil.Image.SAVE:
        raise FileError(
            f"a {ending}", "can be read but not written by Pillow", way_out="Write .png."
        )
    array = numbers(array)
    if array.dtype.kind == "c":
        raise KindError(
            "a picture", "takes real numbers", got=str(array.dtype), way_out="Pass abs(array)."
        )
    if array.ndim != 3 or array.shape[0] not in (1, 3) or not array.size:
        raise ShapeError(
            "a picture",
            "takes (1 or 3 channels, height, width)",
            value=array.shape,
            way_out="Write it as .npy, or bring it to such a shape.",
        )
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ShapeError(
            "a picture", "takes finite numbers", got="nan or inf", way_out="Write it as .npy."
        )
    largest = values.max()
    scaled = np.clip(values / largest, 0, 1) * 255 if largest > 0 else np.zeros_like(values)
    pixels = np.moveaxis(np.rint(scaled).astype(np.uint8), 0, -1)
    pixels = pixels[..., 0] if len(array) == 1 else pixels
    picture = pil.Image.fromarray(np.ascontiguousarray(pixels))
    picture.save(stream, kind, **_OPTIONS.get(kind, {}))
    remarks = [f"{shape_text(array.shape)}, its largest value, {largest:.6g}, as 255"]
    remarks += ["values below 0 as 0"] * bool(values.min() < 0)
    remarks += ["in a palette of 256 colours"] * (kind == "GIF" and len(array) == 3)
    return ", ".join(remarks)
