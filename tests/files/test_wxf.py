"""Wolfram's .wxf: the bytes, against the format's own description and wolframclient."""

import zlib

import numpy as np
import pytest
from refusals import refused

import lrnorm
from lrnorm import cli, files

TYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "c8", "c16"]


def test_the_bytes_of_a_numeric_array(tmp_path):
    """8: · NumericArray · Real32 · rank 2 · 1 · 300 as 0xAC 0x02 · little-endian numbers."""
    x = np.arange(300, dtype="f4").reshape(1, 300)
    files.write(tmp_path / "x.wxf", x)
    expected = b"8:\xc2\x22\x02\x01\xac\x02" + x.astype("<f4").tobytes()
    assert (tmp_path / "x.wxf").read_bytes() == expected


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_type_comes_back(tmp_path, rng, kind, order):
    x = (rng.normal(size=(3, 4, 5)) * 9).astype(order + kind)
    line = files.write(tmp_path / "x.wxf", x)
    assert line.endswith(f"3 × 4 × 5, {x.dtype}")
    y = files.read(tmp_path / "x.wxf")
    assert y.dtype == x.dtype.newbyteorder("<") and np.array_equal(y, x)
    for packed, head in ((b"\xc1", b"8:"), (b"\xc2", b"8C:")):
        data = packed + (tmp_path / "x.wxf").read_bytes()[3:]
        whole = head + (zlib.compress(data) if head == b"8C:" else data)
        (tmp_path / "y.wxf").write_bytes(whole)
        assert np.array_equal(files.read(tmp_path / "y.wxf"), x)


@pytest.mark.parametrize(
    ("dtype", "stored"), [("f2", "float32"), (">f2", "float32"), ("?", "uint8")]
)
def test_types_that_wolfram_lacks_are_widened_without_loss(tmp_path, rng, dtype, stored):
    x = rng.normal(size=(3, 2, 2)).astype(dtype)
    line = files.write(tmp_path / "x.wxf", x)
    assert line.endswith(f" as {stored}")
    y = files.read(tmp_path / "x.wxf")
    assert y.dtype == stored and np.array_equal(y, x.astype(stored))
    if x.dtype.kind == "f":
        np.save(tmp_path / "x.npy", x)
        line = files.apply(tmp_path / "x.npy", tmp_path / "y.wxf")
        assert line.endswith("float16 as float32")
        expected = lrnorm.local_response_norm(x)
        assert np.array_equal(files.read(tmp_path / "y.wxf"), expected.astype("f4"))


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (1,), (2,) * 9])
def test_shapes(tmp_path, shape):
    files.write(tmp_path / "x.wxf", np.ones(shape))
    assert files.read(tmp_path / "x.wxf").shape == shape
    with refused(lrnorm.FileError, "a .wxf", "of at least one axis", got="one number"):
        files.write(tmp_path / "none.wxf", 1.0)
    assert not (tmp_path / "none.wxf").exists()


@pytest.mark.parametrize("ending", [".npy", ".wxf", ".zarr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_in_pieces_to_the_same_bits(tmp_path, monkeypatch, rng, ending, compressed):
    if ending == ".zarr":
        pytest.importorskip("zarr")
    monkeypatch.setattr(files.chunked, "PIECE", 50)
    x = rng.normal(size=(3, 6, 7, 5)).astype("f4")
    path = tmp_path / "x.wxf"
    files.write(path, x)
    if compressed:
        path.write_bytes(b"8C:" + zlib.compress(path.read_bytes()[2:]))
    files.apply(path, tmp_path / f"y{ending}", beta=0.75)
    expected = lrnorm.local_response_norm(x, beta=0.75)
    assert np.array_equal(files.read(tmp_path / f"y{ending}"), expected)
    assert np.array_equal(files.first(path), x)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "does not begin with 8: or 8C:"),
        (b"7:\xc2\x22\x01\x01", "does not begin with 8: or 8C:"),
        (b"8:f\x02s\x04List", "not one array: in Wolfram, write it with Export"),
        (b"8:\xc2\x55\x01\x01", "there is no type 0x55 of numbers"),
        (b"8:\xc2\x22\x02\x03", "is not a readable .wxf file"),
        (b"8:\xc2\x22\x01\xff\xff\xff\xff\xff\xff\xff\x7f", "is not a readable .wxf file"),
        (b"8:\xc2\x22\xff\x7f" + b"\x01" * 200, "more than NumPy has"),
        (b"8:\xc2\x22\x01\x09" + b"\0" * 7, "is not a readable .wxf file"),
        (b"8C:nonsense", "is not a readable .wxf file"),
        (b"8C:" + zlib.compress(b"\xc2\x22\x01\x09\0\0"), "36 bytes of numbers announced, 2 found"),
        (b"8C:" + zlib.compress(b"\xc2\x22\x01\xff\xff\xff\xff\x7f"), "announced, 0 found"),
    ],
)
def test_damaged_and_foreign_files(tmp_path, data, rule, capsys):
    path = tmp_path / "x.wxf"
    path.write_bytes(data)
    for call in (files.read, files.summarize):
        with refused(lrnorm.FileError, str(path), rule, way_out="It may be cut short"):
            call(path)
    assert cli.main(["apply", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_compressed_file_is_not_unpacked_beyond_its_numbers(tmp_path):
    """100 MB of zeros behind one number are not read."""
    packed = zlib.compress(b"\xc2\x22\x01\x01" + b"\0" * 100_000_000)
    (tmp_path / "x.wxf").write_bytes(b"8C:" + packed)
    assert files.read(tmp_path / "x.wxf").tolist() == [0]


@pytest.mark.parametrize("kind", TYPES)
def test_wolframclient_agrees(tmp_path, rng, kind):
    serializers = pytest.importorskip("wolframclient.serializers")
    deserializers = pytest.importorskip("wolframclient.deserializers")
    x = (rng.normal(size=(3, 4, 500)) * 9).astype(kind)
    files.write(tmp_path / "x.wxf", x)
    ours = (tmp_path / "x.wxf").read_bytes()
    assert ours == serializers.export(x, target_format="wxf")
    assert np.array_equal(deserializers.binary_deserialize(ours), x)
    theirs = serializers.export(x, target_format="wxf", compress=True)
    (tmp_path / "y.wxf").write_bytes(theirs)
    assert np.array_equal(files.read(tmp_path / "y.wxf"), x)
