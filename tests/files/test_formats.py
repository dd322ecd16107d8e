"""What every kind of file is read as and written from, whole or not at all."""

import os
import pickle
import sys

import numpy as np
import pytest
from on_disk import saved
from PIL import Image
from refusals import refused

import lrnorm
from lrnorm import FileError, KindError, MissingDependencyError, ShapeError, files
from lrnorm.files import formats

# Reading and writing


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "bool", "complex64"])
def test_npy_comes_back_as_it_was(tmp_path, rng, dtype):
    x = (rng.normal(size=(3, 4, 5)) * 3).astype(dtype)
    line = files.write(tmp_path / "x.npy", x)
    assert line == f"wrote {tmp_path / 'x.npy'}: 3 × 4 × 5, {dtype}"
    y = files.read(tmp_path / "x.npy")
    assert y.dtype == x.dtype and np.array_equal(y, x)
    assert np.array_equal(np.load(tmp_path / "x.npy"), x)


def test_npz_takes_a_dict_or_an_array(tmp_path):
    arrays = {"a": np.arange(3), "b": np.ones((2, 2), "float32")}
    files.write(tmp_path / "x.npz", arrays)
    back = files.read(tmp_path / "x.npz")
    assert list(back) == ["a", "b"]
    assert all(np.array_equal(back[k], v) and back[k].dtype == v.dtype for k, v in arrays.items())
    files.write(tmp_path / "y.npz", [1.0, 2.0])
    assert np.array_equal(np.load(tmp_path / "y.npz")["arr_0"], [1, 2])


def test_png_comes_back_within_half_a_step_of_eight_bits(tmp_path, rng):
    x = rng.random((3, 6, 5))
    line = files.write(tmp_path / "x.png", x / 2)
    assert f"its largest value, {x.max() / 2:.6g}, as 255" in line
    y = files.read(tmp_path / "x.png")
    assert y.dtype == np.float32 and y.shape == (3, 6, 5) and y.max() == 1
    assert np.abs(y - x / x.max()).max() <= 0.5 / 255 + 1e-7


def test_gray_and_what_is_below_zero(tmp_path):
    line = files.write(tmp_path / "x.png", [[[-4.0, 0.0, 1.0, 2.0]]])
    assert line.endswith("its largest value, 2, as 255, values below 0 as 0")
    assert np.asarray(Image.open(tmp_path / "x.png")).tolist() == [[0, 0, 128, 255]]
    files.write(tmp_path / "black.png", np.zeros((1, 2, 2)))
    assert not files.read(tmp_path / "black.png").any()


def test_jpg_is_close(tmp_path):
    x = np.linspace(0, 1, 3 * 32 * 32).reshape(3, 32, 32)
    files.write(tmp_path / "x.JPG", x)
    assert np.abs(files.read(tmp_path / "x.JPG") - x).max() < 0.03


PIXELS = np.array([[10, 200, 30], [250, 60, 70]], np.uint8)
COLOURS = np.stack([PIXELS, PIXELS // 2, 255 - PIXELS], -1)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(PIXELS), PIXELS[None] / 255),
        (Image.fromarray(COLOURS), COLOURS.transpose(2, 0, 1) / 255),
        (Image.fromarray(PIXELS > 100), (PIXELS > 100)[None] * 1.0),
        (Image.fromarray(PIXELS.astype(np.uint16) * 257), PIXELS[None] / 255),
        (Image.fromarray(COLOURS).convert("RGBA"), COLOURS.transpose(2, 0, 1) / 255),
        (Image.fromarray(PIXELS).convert("LA"), PIXELS[None] / 255),
        (Image.fromarray(COLOURS).quantize(6), COLOURS.transpose(2, 0, 1) / 255),
    ],
    ids=["gray", "rgb", "bits", "gray16", "rgba", "gray+alpha", "palette"],
)
def test_every_kind_of_png(tmp_path, picture, expected):
    picture.save(tmp_path / "x.png")
    x = files.read(tmp_path / "x.png")
    assert x.dtype == np.float32 and x.flags.c_contiguous
    np.testing.assert_allclose(x, expected, atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparency_warns_of_nothing(tmp_path):
    picture = Image.fromarray(COLOURS).quantize(6)
    picture.save(tmp_path / "x.png", transparency=bytes([0, 9, 255]))
    np.testing.assert_allclose(
        files.read(tmp_path / "x.png"), COLOURS.transpose(2, 0, 1) / 255, atol=1e-6
    )


def test_jpg_of_inks_and_turned_cameras(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "ink.jpg")
    x = files.read(tmp_path / "ink.jpg")
    assert x.shape == (3, 8, 8) and (x[0] > 0.9).all() and (x[1:] < 0.1).all()
    turned = Image.new("RGB", (16, 8))
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera lay on its side
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert files.read(tmp_path / "turned.jpg").shape == (3, 16, 8)


SHAPE = "takes (1 or 3 channels, height, width)"


@pytest.mark.parametrize(
    ("array", "kind", "rule", "got", "way_out"),
    [
        (np.ones((4, 5)), ShapeError, SHAPE, "(4, 5)", ".npy"),
        (np.ones((2, 4, 5)), ShapeError, SHAPE, "(2, 4, 5)", "Write it as .npy"),
        (np.ones((3, 0, 5)), ShapeError, SHAPE, "(3, 0, 5)", ".npy"),
        (np.full((1, 2, 2), np.nan), ShapeError, "takes finite numbers", "nan or inf", ".npy"),
        (np.ones((1, 2, 2), complex), KindError, "takes real numbers", "complex128", "Pass abs"),
        (np.array([[["a"]]]), KindError, "must hold numbers", "dtype <U1", "Convert it first"),
    ],
)
def test_what_is_no_picture_is_refused_and_leaves_nothing(
    tmp_path, array, kind, rule, got, way_out
):
    subject = "the array" if array.dtype.kind == "U" else "a picture"
    with refused(kind, subject, rule, way_out=way_out, got=got):
        files.write(tmp_path / "x.png", array)
    assert os.listdir(tmp_path) == []


def test_npy_refuses_what_it_could_not_name(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for array in (np.array([{}]), np.ones(2, ml_dtypes.bfloat16)):
        with refused(KindError, "the array", "must hold numbers", way_out="Convert it first"):
            files.write(tmp_path / "x.npy", array)
    with refused(ShapeError, "the array", "must be nested lists of one length"):
        files.write(tmp_path / "x.npy", [[1], [1, 2]])
    assert os.listdir(tmp_path) == []


# What cannot be read


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_no_file_runs_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.array([Trap()], object), allow_pickle=True)
    np.savez("x.npz", a=np.array([Trap()], object))
    for name in ("x.npy", "x.npz"):
        for call in (files.read, files.summarize, lambda n: files.apply(n, "y" + n)):
            with refused(FileError, name, "holds Python objects, which", way_out="astype"):
                call(name)
    with open("raw.npy", "wb") as stream:
        pickle.dump(Trap(), stream)
    with refused(FileError, "raw.npy", "is not a readable .npy file: the m"):
        files.read("raw.npy")
    assert sorted(os.listdir()) == ["raw.npy", "x.npy", "x.npz"]


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.png", "x.jpg"])
@pytest.mark.parametrize("damage", ["empty", "text", "half"])
def test_damaged_files(tmp_path, rng, name, damage):
    path = tmp_path / name
    files.write(path, rng.random((3, 40, 40)))
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"hello", "half": whole[: len(whole) // 2]}[damage])
    for call in (files.read, files.summarize):
        rule = f"is not a readable {path.suffix} file: "
        with refused(FileError, str(path), rule, way_out="cut short"):
            call(path)


def test_a_flipped_bit_in_an_npz_is_noticed(tmp_path):
    files.write(tmp_path / "x.npz", {"a": np.zeros((1, 30, 30))})
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    with refused(FileError, str(tmp_path / "x.npz"), "Bad CRC-32"):
        files.read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("name", "rule", "more"),
    [
        ("none.npy", "does not exist", {"way_out": "Check its name"}),
        ("folder.npy", "is a folder", {"way_out": "Give the name of a file in it"}),
        ("x.txt", "must be one of .npy ", {"got": "'.txt'"}),
        ("x", "or of a picture, such as ", {"got": "none"}),
        ("n" * 300 + ".npy", "does not exist", {}),
    ],
)
def test_what_is_not_there(tmp_path, name, rule, more):
    (tmp_path / "folder.npy").mkdir()
    subject = f"{'' if name.endswith('.npy') else 'the ending of '}{tmp_path / name}"
    for call in (files.read, files.summarize, files.first):
        with refused(FileError, subject, rule, **more):
            call(tmp_path / name)
    with refused(FileError, subject, rule, **more):
        files.apply(tmp_path / name, tmp_path / "y.npy")
    assert os.listdir(tmp_path) == ["folder.npy"]


# Whole or not at all


def test_an_existing_file_is_left_unless_asked(tmp_path):
    path = saved(tmp_path, [1.0])
    for call in (lambda: files.write(path, [2.0]), lambda: files.apply(path, path, axis=0)):
        with refused(FileError, str(path), "exists and is left", way_out="overwrite=True"):
            call()
    assert np.load(path) == [1.0]
    path.chmod(0o640)
    files.write(path, [2.0], overwrite=True)
    assert np.load(path) == [2.0]
    assert path.stat().st_mode & 0o777 == 0o640
    with refused(KindError, "the array", "must hold numbers", where=(str(path),)):
        files.write(path, ["a"], overwrite=True)
    assert np.load(path) == [2.0] and os.listdir(tmp_path) == ["x.npy"]


def test_someone_faster_is_not_overwritten(tmp_path):
    path = tmp_path / "x"
    with refused(FileError, str(path), "exists"), files.writing(path) as stream:
        stream.write(b"ours")
        (tmp_path / "x").write_bytes(b"theirs")
    assert (tmp_path / "x").read_bytes() == b"theirs" and os.listdir(tmp_path) == ["x"]


def test_the_unfinished_stands_beside_as_partial(tmp_path):
    with files.writing(tmp_path / "x") as stream:
        stream.write(b"a")
        assert os.listdir(tmp_path) == ["x.partial"]
        with refused(FileError, str(tmp_path / "x.partial"), "exists: another run is writing"):
            files.writing(tmp_path / "x").__enter__()
    assert os.listdir(tmp_path) == ["x"]


def test_a_link_stays_a_link(tmp_path):
    path = saved(tmp_path, [1.0])
    (tmp_path / "link.npy").symlink_to(path)
    files.write(tmp_path / "link.npy", [2.0], overwrite=True)
    assert (tmp_path / "link.npy").is_symlink() and np.load(path) == [2.0]


def test_folders_that_take_nothing(tmp_path):
    path = tmp_path / "none" / "x.npy"
    with refused(FileError, str(path), f"cannot be written: there is no folder {path.parent}"):
        files.write(path, [1.0])
    if os.path.isdir("/proc/self"):  # refuses everyone, the superuser too
        with refused(FileError, "/proc/self/x.npy", "cannot be written: "):
            files.write("/proc/self/x.npy", [1.0])


# Around the formats


def test_without_pillow_the_way_out_is_said(tmp_path, monkeypatch):
    files.write(tmp_path / "x.png", np.ones((1, 2, 2)))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for call in (
        lambda: files.read(tmp_path / "x.png"),
        lambda: files.write(tmp_path / "y.png", np.ones((1, 2, 2))),
    ):
        way_out = "Run pip install 'lrnorm[cli]'"
        with refused(MissingDependencyError, "a picture", "needs Pillow", way_out=way_out):
            call()
    assert os.listdir(tmp_path) == ["x.png"]


def test_a_format_is_one_row(tmp_path, monkeypatch):
    def text(stream, array):
        stream.write(str(array).encode())
        return "as text"

    row = formats.Format(text, mapped=lambda path: np.array(eval(path.read_text())))
    monkeypatch.setitem(formats.FORMATS, ".txt", row)
    files.write(tmp_path / "x.txt", [1.0])
    assert files.read(tmp_path / "x.txt") == [1.0]
    files.apply(tmp_path / "x.txt", tmp_path / "y.npy", axis=0)
    assert np.load(tmp_path / "y.npy") == lrnorm.local_response_norm([1.0], axis=0)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".zarr"])
def test_masked_arrays_are_not_written_without_their_mask(tmp_path, ending):
    masked = np.ma.array([1.0, 2.0], mask=[True, False])
    with refused(KindError, "the array", value=np.ma.MaskedArray, way_out="Pass x.filled(0)"):
        lrnorm.files.write(tmp_path / f"x{ending}", {"a": masked} if ending == ".npz" else masked)
    assert not list(tmp_path.iterdir())
