"""Pictures in every format of Pillow, and 16 bits a channel without loss."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from refusals import refused

import lrnorm
from lrnorm import files
from lrnorm.files import pictures

pytestmark = pytest.mark.usefixtures("own_folder")

RNG = np.random.default_rng(3)
DEEP = RNG.integers(0, 65536, (13, 11, 3), np.uint16)


def png_16(pixels, colour, filters=(0, 1, 2, 3, 4), interlaced=0, extra=b""):
    """A .png of 16 bits: rows of big-endian numbers, each with the next of the filters."""
    height, width, channels = pixels.shape
    step = 2 * channels
    passes = [pixels[y::dy, x::dx] for x, y, dx, dy in pictures._ADAM7] if interlaced else [pixels]
    data, number = b"", 0
    for part in passes:
        if not part.size:
            continue
        rows = part.astype(">u2").reshape(len(part), -1).view(np.uint8).astype(int)
        above = np.zeros_like(rows[0])
        for row in rows:
            kind = filters[number % len(filters)]
            number += 1
            left = np.concatenate([np.zeros(step, int), row[:-step]])
            corner = np.concatenate([np.zeros(step, int), above[:-step]])
            data += bytes([kind]) + bytes(row_filter(kind, row, left, above, corner))
            above = row
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", header)]
    if extra:
        chunks.append((b"eXIf", extra))
    packed = zlib.compress(data)
    chunks += [(b"IDAT", packed[:40]), (b"IDAT", packed[40:]), (b"IEND", b"")]
    return pictures._png(chunks)


def row_filter(kind, row, left, above, corner):
    guess = left + above - corner
    distances = [abs(guess - side) for side in (left, above, corner)]
    nearest = np.where(
        (distances[0] <= distances[1]) & (distances[0] <= distances[2]),
        left,
        np.where(distances[1] <= distances[2], above, corner),
    )
    by = [0 * row, left, above, (left + above) // 2, nearest][kind]
    return ((row - by) % 256).astype(np.uint8).tobytes()


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_a_png_of_16_bits_keeps_its_low_bytes(colour, channels, interlaced):
    pixels = RNG.integers(0, 65536, (13, 11, channels), np.uint16)
    with open("x.png", "wb") as stream:
        stream.write(png_16(pixels, colour, interlaced=interlaced))
    x = files.read("x.png")
    kept = 1 if channels == 2 else 3
    expected = pixels[..., :kept].transpose(2, 0, 1).astype("f4") / np.float32(65535)
    assert x.dtype == np.float32 and x.flags.c_contiguous and np.array_equal(x, expected)
    line = files.apply("x.png", "y.png")
    assert line.endswith("transparency is left out") == (channels in (2, 4))


def test_a_picture_of_one_pixel_and_turned_ones():
    exif = Image.Exif()
    exif[0x0112] = 6
    for shape in ((1, 1, 3), (5, 2, 3)):
        pixels = RNG.integers(0, 65536, shape, np.uint16)
        with open("x.png", "wb") as stream:
            stream.write(png_16(pixels, 2, interlaced=1, extra=exif.tobytes()[6:]))
        expected = np.rot90(pixels, -1).transpose(2, 0, 1) / np.float32(65535)
        np.testing.assert_array_equal(files.read("x.png"), expected.astype("f4"))


@pytest.mark.parametrize("damage", ["half", "rows"])
def test_a_damaged_png_of_16_bits_is_refused(damage):
    whole = png_16(DEEP, 2)
    with open("x.png", "wb") as stream:
        stream.write(whole[: len(whole) // 2] if damage == "half" else whole[:33] + whole[-12:])
    with refused(lrnorm.FileError, "x.png", "is not a readable .png file"):
        files.read("x.png")


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_tiff_of_16_bits(planar):
    tifffile = pytest.importorskip("tifffile")
    values = DEEP if planar == "contig" else DEEP.transpose(2, 0, 1)
    tifffile.imwrite("x.tif", values, photometric="rgb", planarconfig=planar)
    expected = DEEP.transpose(2, 0, 1).astype("f4") / np.float32(65535)
    np.testing.assert_array_equal(files.read("x.tif"), expected)


@pytest.mark.parametrize("white", [65535, 1000])
def test_a_ppm_of_16_bits(white):
    pixels = np.minimum(DEEP, white).astype(">u2")
    with open("x.ppm", "wb") as stream:
        stream.write(b"P6\n11 13\n%d\n" % white + pixels.tobytes())
    expected = pixels.transpose(2, 0, 1).astype("f4") / np.float32(white)
    np.testing.assert_array_equal(files.read("x.ppm"), expected)
    with open("x.ppm", "wb") as stream:
        stream.write(b"P3\n1 1\n1000\n1 2 3\n")
    rule = "has numbers in digits, of which Pillow keeps 8 bits"
    with refused(lrnorm.FileError, "x.ppm", rule, way_out="Save it as .png"):
        files.read("x.ppm")


def test_numbers_without_a_white_are_refused():
    Image.fromarray(np.ones((2, 2), "f4")).save("x.tif")
    with refused(lrnorm.FileError, "x.tif", "of 32 bits, of which none stands for white"):
        files.read("x.tif")


@pytest.mark.parametrize(
    "ending", [*[".bmp", ".tiff", ".webp", ".gif", ".ppm", ".tga", ".jp2", ".pcx"]]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_formats_without_loss(ending, channels):
    """A palette of 256 colours holds the 40 of this picture."""
    x = np.linspace(0, 1, channels * 40).reshape(channels, 5, 8)
    line = files.write(f"x{ending}", x)
    assert ("palette" in line) == (ending == ".gif" and channels == 3)
    y = files.read(f"x{ending}")
    y = y[:1] if ending == ".webp" and channels == 1 else y  # WebP has no gray
    assert np.abs(y - x).max() <= 0.5 / 255 + 1e-6


def test_every_format_that_pillow_reads_and_writes():
    """Of those that take red, green and blue: written, and read again in the same shape."""
    for ending, kind in pictures.endings().items():
        if kind not in Image.SAVE or kind in ("ICNS", "ICO", "XBM", "MSP", "BLP", "SPIDER", "PALM"):
            continue
        name = f"x{ending}"
        try:
            files.write(name, np.ones((3, 16, 16)))
        except lrnorm.FileError as error:  # a codec that this Pillow was built without
            assert name in str(error)
        else:
            assert files.read(name).shape in ((3, 16, 16), (1, 16, 16)), ending


def test_what_pillow_does_not_write_is_said_and_leaves_nothing(own_folder):
    with refused(lrnorm.FileError, "a .psd", "can be read but not written by Pillow"):
        files.write("x.psd", np.ones((3, 2, 2)))
    with refused(lrnorm.FileError, "x.xbm", "cannot be written: cannot write mode"):
        files.write("x.xbm", np.ones((3, 2, 2)))
    for ending in (".eps", ".h5", ".wmf"):  # run by another program, or not pictures
        with refused(lrnorm.FileError, f"the ending of x{ending}", "must be one of"):
            files.read(f"x{ending}")
    assert not list(own_folder.iterdir())


def test_frames_that_are_left_out_are_said():
    frames = [Image.new("L", (4, 4), shade) for shade in (10, 200)]
    frames[0].save("x.gif", save_all=True, append_images=frames[1:])
    assert files.apply("x.gif", "y.png").endswith("of its 2 frames the first alone is read")
