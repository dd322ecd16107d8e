""".zarr in lrnorm.files and the command: to the same bits, in the same dress, in bounded memory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from on_disk import stored, times, tree
from refusals import refused

import lrnorm
from lrnorm import LRNSpec, cli, files
from lrnorm.files import chunked, zarr_store

zarr = pytest.importorskip("zarr")

pytestmark = pytest.mark.usefixtures("own_folder")


# Reading and writing


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "bool", "complex64"])
def test_an_array_comes_back_as_it_was(rng, dtype):
    x = (rng.normal(size=(3, 4, 5)) * 3).astype(dtype)
    assert files.write("x.zarr", x) == f"wrote x.zarr: 3 × 4 × 5, {dtype}"
    y = files.read("x.zarr")
    assert y.dtype == x.dtype and np.array_equal(y, x)
    assert np.array_equal(zarr.open_array("x.zarr", mode="r")[...], x)
    assert os.listdir() == ["x.zarr"] and sorted(os.listdir("x.zarr")) == ["c", "zarr.json"]


def test_writing_replaces_only_when_asked_and_only_zarr(x):
    files.write("x.zarr", x)
    before = tree("x.zarr")
    with refused(lrnorm.FileError, "x.zarr", "exists and is left", way_out="overwrite=True"):
        files.write("x.zarr", x + 1)
    with refused(lrnorm.KindError, "the array", "must hold numbers", where=("x.zarr",)):
        files.write("x.zarr", ["a"], overwrite=True)
    assert tree("x.zarr") == before
    files.write("x.zarr", x[0], overwrite=True)
    assert np.array_equal(files.read("x.zarr"), x[0]) and os.listdir() == ["x.zarr"]
    os.mkdir("mine.zarr")
    Path("mine.zarr/letter").write_text("dear")
    for call in (files.write, lambda name, _, **how: files.apply("x.zarr", name, **how)):
        with refused(lrnorm.FileError, "mine.zarr", "is a folder that holds no array"):
            call("mine.zarr", x, overwrite=True)
    assert tree("mine.zarr") == {"letter": b"dear"}


@pytest.mark.parametrize("verb", ["local_response_norm_vjp", "local_response_norm_jvp", None])
def test_what_zarr_gives_goes_into_the_function(x, verb):
    """Its arrays say their byte order where NumPy's own leave it unsaid."""
    z = zarr.open_array(stored("x.zarr", x), mode="r")[...]
    said = np.empty(x.shape, x.dtype.newbyteorder("<"))
    assert memoryview(said).format == "<f"
    said[...] = z
    for given in (z, said):
        if verb:
            function = getattr(lrnorm, verb)
            np.testing.assert_array_equal(function(given, given), function(x, x))
        else:
            y = lrnorm.local_response_norm(x)
            np.testing.assert_array_equal(lrnorm.local_response_norm(given), y)
            np.testing.assert_array_equal(given, x)
            out = np.empty_like(said)
            assert lrnorm.local_response_norm(given, out=out) is out
            np.testing.assert_array_equal(out, y)
    with refused(lrnorm.KindError, "x", value=zarr.Array, way_out="Pass x[...]."):
        lrnorm.local_response_norm(zarr.open_array("x.zarr", mode="r"))


# What cannot be read


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("none.zarr", "does not exist"),
        ("empty.zarr", "holds no Zarr array: there is no zarr.json or .zarray in it"),
        ("file.zarr", "holds no Zarr array"),
        ("broken.zarr", "is not a readable .zarr file: "),
        ("odd.zarr", "is not a readable .zarr file: "),
        ("group.zarr/c", "does not exist"),
    ],
)
def test_what_is_no_array_is_one_line(capsys, name, rule):
    os.mkdir("empty.zarr")
    Path("file.zarr").write_text("text")
    for bad, text in (("broken.zarr", "{"), ("odd.zarr", '{"zarr_format": 3, "node_type": "x"}')):
        os.mkdir(bad)
        Path(bad, "zarr.json").write_text(text)
    zarr.create_group("group.zarr")
    for call in (files.read, files.summarize, files.first, lambda n: files.apply(n, "y.zarr")):
        with refused(lrnorm.FileError, name, rule):
            call(name)
    assert cli.main(["apply", name, "-o", "y.zarr"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and f"{name} {rule}" in err
    assert not os.path.exists("y.zarr") and not os.path.exists("y.zarr.partial")


def test_arrays_of_a_group_are_named(capsys, x):
    group = zarr.create_group("group.zarr")
    for name in "ab":
        group.create_array(name, shape=x.shape, dtype=x.dtype)[...] = x
    expected = lrnorm.local_response_norm(x)
    with refused(lrnorm.FileError, "group.zarr", "a group, which holds a, b", way_out="Name one"):
        files.read("group.zarr")
    assert [change.name for change in files.summarize("group.zarr")] == ["a", "b"]
    assert np.array_equal(files.first("group.zarr", keys=["b"]), x[:1])
    with refused(lrnorm.FileError, "group.zarr", "holds 2 arrays (a, b) where y.zarr takes one"):
        files.apply("group.zarr", "y.zarr")
    assert cli.main(["apply", "group.zarr", "--key", "a", "-o", "y.zarr"]) == 0
    np.testing.assert_array_equal(files.read("y.zarr"), expected)
    files.apply("group.zarr", "y.npz")
    assert all(np.array_equal(y, expected) for y in files.read("y.npz").values())
    assert cli.main(["apply", "group.zarr", "--key", "c"]) == 2
    assert "group.zarr has no array 'c'. It holds a, b." in capsys.readouterr().err
    zarr.create_group("bare.zarr")
    for call in (files.summarize, lambda name: files.apply(name, "z.zarr")):
        with refused(lrnorm.FileError, "bare.zarr", "holds no array"):
            call("bare.zarr")


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "subject", "rule", "got"),
    [
        ((3, 2, 2), "complex64", lrnorm.KindError, "x", "must hold ", "complex64"),
        ((), "float32", lrnorm.ShapeError, "the array", "at least one axis", "one number"),
        ((4, 3), "float32", lrnorm.ShapeError, "axis", "can be left out for", "of rank 2"),
    ],
)
def test_what_is_no_input_is_said_before_anything_is_made(shape, dtype, kind, subject, rule, got):
    zarr.create_array("x.zarr", shape=shape, dtype=dtype)
    for call in (files.summarize, lambda n: files.apply(n, "y.zarr")):
        with refused(kind, subject, rule, got=got, where=("x.zarr",)):
            call("x.zarr")
    assert os.listdir() == ["x.zarr"]


def test_a_damaged_chunk_stops_the_run_and_says_where(x):
    stored("x.zarr", x)
    Path("x.zarr/c/2/0/1/0").write_bytes(b"no chunk")
    with refused(lrnorm.FileError, os.path.abspath("x.zarr"), "is not a readable .zarr file"):
        files.apply("x.zarr", "y.zarr")
    assert sorted(os.listdir()) == ["x.zarr", "y.zarr.partial"]


def test_without_zarr_the_way_out_is_said(x, monkeypatch):
    stored("x.zarr", x)
    monkeypatch.setitem(sys.modules, "zarr", None)
    for call in (files.read, lambda n: files.write("y.zarr", x)):
        way_out = "Run pip install 'lrnorm[dask]'"
        with refused(lrnorm.MissingDependencyError, ".zarr", "needs Zarr", way_out=way_out):
            call("x.zarr")
    assert os.listdir() == ["x.zarr"]


def test_zarr_and_dask_are_loaded_for_zarr_only(x):
    np.save("x.npy", x)
    stored("x.zarr", x)
    code = (
        "import sys\nfrom lrnorm.cli import main\nmain(sys.argv[1:])\n"
        "print([m for m in ('zarr', 'dask', 'distributed') if m in sys.modules])"
    )
    for words, loaded in ((["x.npy", "-o", "y.npy"], []), (["x.zarr", "-o", "y.zarr"], ["zarr"])):
        done = subprocess.run(
            [sys.executable, "-c", code, "apply", *words],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == str(loaded)


# In pieces, to the same bits, in the same dress


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"chunks": (3, 5, 4, 9)},
        {"chunks": (1, 1, 10, 9)},
        {"chunks": (1, 4, 2, 3), "shards": (2, 12, 4, 9)},
        {"chunks": (1, 2, 2, 9), "shards": (1, 4, 4, 9)},
        {"chunks": (9, 99, 99, 99)},
        {"zarr_format": 2, "chunks": (1, 5, 4, 9)},
        {"zarr_format": 2, "chunks": (1, 5, 4, 9), "order": "F"},
        {"compressors": None, "fill_value": 3.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("largest", [10**9, 200])
@pytest.mark.parametrize("name", ["even", "wider than the axis", "open behind"])
def test_the_bits_are_those_of_one_call(monkeypatch, x, specs, name, how, largest):
    monkeypatch.setattr(chunked, "LARGEST", largest)
    spec = specs[name]
    stored("x.zarr", x, **how)
    line = files.apply("x.zarr", "y.zarr", spec=spec)
    assert line == "wrote y.zarr: 4 × 12 × 10 × 9, float32"
    expected = lrnorm.local_response_norm(x, spec=spec)
    source, y = (zarr.open_array(name, mode="r") for name in ("x.zarr", "y.zarr"))
    np.testing.assert_array_equal(y[...], expected)
    assert y.metadata == source.metadata
    assert sorted(os.listdir()) == ["x.zarr", "y.zarr"]


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_channels_in_chunks_on_any_axis(monkeypatch, rng, axis, dtype):
    """Read with their context only where a piece of all channels would be too large."""
    monkeypatch.setattr(chunked, "LARGEST", 50)
    shape = [2, 2, 2, 2]
    shape[axis] = 41
    x = rng.normal(size=shape).astype(dtype)
    stored("x.zarr", x, chunks=(2, 2, 2, 2))
    for number, ends in enumerate([(1, 2), (0, 7), (7, 0), (3, 3), (50, 2), (2, 50), (None, 0)]):
        spec = LRNSpec(0.3, 0.6, 1.1, *ends)
        files.apply("x.zarr", f"{number}.zarr", spec=spec, axis=axis)
        np.testing.assert_array_equal(
            files.read(f"{number}.zarr"), lrnorm.local_response_norm(x, spec=spec, axis=axis)
        )


@pytest.mark.parametrize("error", [ValueError("no such codec"), TypeError("no such codec")])
@pytest.mark.parametrize("step", ["made", "opened"])
def test_what_zarr_refuses_at_the_start_is_one_line(x, monkeypatch, step, error):
    stored("x.zarr", x)
    opens = zarr.open

    def refuse(*how, mode="", **more):
        if mode == "r":
            return opens(*how, mode=mode, **more)
        raise error

    place = {"made": (zarr_store, "create_like"), "opened": (zarr, "open")}[step]
    monkeypatch.setattr(*place, refuse)
    with refused(lrnorm.FileError, "y.zarr", "cannot be written: no such codec"):
        files.apply("x.zarr", "y.zarr")


def test_chunks_of_nothing_but_the_fill_value_have_no_file(x):
    x[1] = 0
    x[2, :, :4] = 0
    stored("x.zarr", x)
    files.apply("x.zarr", "y.zarr")
    np.testing.assert_array_equal(files.read("y.zarr"), lrnorm.local_response_norm(x))
    assert times("y.zarr").keys() == times("x.zarr").keys()


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 4, 0)])
def test_arrays_of_no_element(shape):
    zarr.create_array("x.zarr", shape=shape, dtype="f4", chunks=(1, 2, 2, 2))
    files.apply("x.zarr", "y.zarr")
    files.apply("x.zarr", "y.npy")
    assert files.read("y.zarr").shape == np.load("y.npy").shape == shape
    [change] = files.summarize("x.zarr")
    assert change.before.shape == shape


@pytest.mark.parametrize("piece", [1, 300, 10**9])
@pytest.mark.parametrize("largest", [100, 10**9])
def test_from_npy_and_to_npy(monkeypatch, x, piece, largest):
    for name in ("PIECE", "CHUNK"):
        monkeypatch.setattr(chunked, name, piece)
    monkeypatch.setattr(chunked, "LARGEST", largest)
    expected = lrnorm.local_response_norm(x, alpha=2.0)
    for number, array in enumerate((x, np.asfortranarray(x))):
        np.save("x.npy", array)
        files.apply("x.npy", f"{number}.zarr", alpha=2.0)
        np.testing.assert_array_equal(files.read(f"{number}.zarr"), expected)
        assert zarr.open_array(f"{number}.zarr", mode="r").chunks[1] == 12
    stored("x.zarr", x, chunks=(1, 5, 4, 9))
    files.apply("x.zarr", "y.npy", alpha=2.0)
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    [change] = files.summarize("x.zarr", alpha=2.0)
    assert change.after.max == expected.max()


def test_to_and_from_other_kinds(x):
    stored("x.zarr", abs(x[0, :3]), chunks=(3, 4, 9))
    files.apply("x.zarr", "y.png")
    assert files.read("y.png").shape == (3, 10, 9)
    files.apply("y.png", "z.zarr")
    expected = lrnorm.local_response_norm(files.read("y.png"))
    np.testing.assert_array_equal(files.read("z.zarr"), expected)
    zarr.create_group("g.zarr")
    stored("g.zarr/a", x)
    files.apply("g.zarr/a", "h.zarr")
    np.testing.assert_array_equal(files.read("h.zarr"), lrnorm.local_response_norm(x))


def test_first_is_what_is_drawn(x):
    stored("x.zarr", x)
    np.testing.assert_array_equal(files.first("x.zarr"), x[:1])
    np.testing.assert_array_equal(files.first("x.zarr", axis=0), x[:, :1])
    assert cli.main(["apply", "x.zarr", "--plot", "p.png"]) == 0
    assert os.path.getsize("p.png") > 1000


def test_an_array_onto_itself(x):
    stored("x.zarr", x)
    files.apply("x.zarr", "y.zarr")
    files.apply("x.zarr", "x.zarr", overwrite=True)
    assert tree("x.zarr") == tree("y.zarr") and sorted(os.listdir()) == ["x.zarr", "y.zarr"]
    os.symlink("x.zarr", "link.zarr")
    files.apply("link.zarr", "link.zarr", overwrite=True)
    assert os.path.islink("link.zarr") and tree("x.zarr") != tree("y.zarr")


def test_progress_is_a_bar_on_stderr(x, capsys):
    stored("x.zarr", x)
    files.apply("x.zarr", "y.zarr")
    assert capsys.readouterr().err == ""
    files.apply("x.zarr", "z.zarr", progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "z.zarr" in err and "100%" in err


# Memory


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux tells, others do not")
def test_memory_does_not_grow_with_the_array():
    code = (
        "import sys\nfrom lrnorm import files\n"
        "from lrnorm.files import chunked\nchunked.MEMORY = 2**24\n"
        "files.apply('x.zarr', 'y.zarr')\n"
        "print([line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line][0])"
    )
    peaks = []
    for items in (2, 40):
        z = zarr.create_array(
            "x.zarr",
            shape=(items, 32, 256, 256),
            dtype="f4",
            chunks=(1, 32, 128, 128),
            overwrite=True,
            fill_value=0,
            compressors=None,
            config={"write_empty_chunks": True},
        )
        for i in range(items):  # 8 MiB each
            z[i] = 1
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout) / 1024)
        shutil.rmtree("y.zarr")
    assert peaks[1] - peaks[0] < 60  # MiB, of 304 more
