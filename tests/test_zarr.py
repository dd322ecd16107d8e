""".zarr in lrnorm.files and the command: in pieces, in bounded memory, and on after a kill."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec, _pieces, _zarr, cli, files

zarr = pytest.importorskip("zarr")

SHAPE = (4, 12, 10, 9)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def x(rng):
    return rng.normal(size=SHAPE).astype("float32")


def stored(name, array, **how):
    how = {"chunks": (1, 12, 4, 9)} | how
    made = zarr.create_array(name, shape=array.shape, dtype=array.dtype, **how)
    made[...] = array
    return name


def command(line):
    return cli.main(line.split())


def tree(name):
    """Every file under a folder, by name: its bytes."""
    return {str(p.relative_to(name)): p.read_bytes() for p in Path(name).rglob("*") if p.is_file()}


def times(name):
    return {
        str(p.relative_to(name)): p.stat().st_mtime_ns
        for p in Path(name).rglob("*")
        if p.is_file() and ".lrnorm" not in p.parts
    }


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
    with pytest.raises(lrnorm.FileError, match=r"x\.zarr exists and is left.*overwrite=True"):
        files.write("x.zarr", x + 1)
    with pytest.raises(lrnorm.KindError, match="arrays of numbers"):
        files.write("x.zarr", ["a"], overwrite=True)
    assert tree("x.zarr") == before
    files.write("x.zarr", x[0], overwrite=True)
    assert np.array_equal(files.read("x.zarr"), x[0]) and os.listdir() == ["x.zarr"]
    os.mkdir("mine.zarr")
    Path("mine.zarr/letter").write_text("dear")
    for call in (files.write, lambda name, _, **how: files.apply("x.zarr", name, **how)):
        with pytest.raises(lrnorm.FileError, match="is a folder of other things than an array"):
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
    with pytest.raises(TypeError, match=r"zarr.*pass x\[\.\.\.\]"):
        lrnorm.local_response_norm(zarr.open_array("x.zarr", mode="r"))


# What cannot be read


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.zarr", "there is no file none.zarr"),
        ("empty.zarr", "empty.zarr holds no Zarr array: there is no zarr.json or .zarray in it"),
        ("file.zarr", "file.zarr holds no Zarr array"),
        ("broken.zarr", "broken.zarr is not a readable .zarr file: "),
        ("odd.zarr", "odd.zarr is not a readable .zarr file: "),
        ("group.zarr", "group.zarr is a group, which holds a, b. Name one of its arrays, for "),
        ("bare.zarr", "bare.zarr is a group, which holds no array. Give one."),
        ("group.zarr/c", "there is no file group.zarr/c"),
    ],
)
def test_what_is_no_array_is_one_line(capsys, name, message):
    os.mkdir("empty.zarr")
    Path("file.zarr").write_text("text")
    for bad, text in (("broken.zarr", "{"), ("odd.zarr", '{"zarr_format": 3, "node_type": "x"}')):
        os.mkdir(bad)
        Path(bad, "zarr.json").write_text(text)
    group = zarr.create_group("group.zarr")
    for one in "ab":
        group.create_array(one, shape=(3, 2, 2), dtype="f4")
    zarr.create_group("bare.zarr")
    for call in (files.read, files.summarize, files.first, lambda n: files.apply(n, "y.zarr")):
        with pytest.raises(lrnorm.FileError) as caught:
            call(name)
        assert message in str(caught.value)
    assert cli.main(["apply", name, "-o", "y.zarr"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err
    assert not os.path.exists("y.zarr") and not os.path.exists("y.zarr.partial")


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "message"),
    [
        ((3, 2, 2), "complex64", TypeError, "must hold .* got complex64. Normalize the real"),
        ((), "float32", ValueError, "got an array of rank 0"),
        ((4, 3), "float32", ValueError, "axis can be left out for"),
    ],
)
def test_what_is_no_input_is_said_before_anything_is_made(shape, dtype, kind, message):
    zarr.create_array("x.zarr", shape=shape, dtype=dtype)
    for call in (files.summarize, lambda n: files.apply(n, "y.zarr")):
        with pytest.raises(kind, match=f"x.zarr: .*{message}"):
            call("x.zarr")
    assert os.listdir() == ["x.zarr"]


def test_a_damaged_chunk_stops_the_run_and_says_where(x):
    stored("x.zarr", x)
    Path("x.zarr/c/2/0/1/0").write_bytes(b"no chunk")
    with pytest.raises(lrnorm.FileError, match=r"x\.zarr is not a readable \.zarr file"):
        files.apply("x.zarr", "y.zarr")
    assert sorted(os.listdir()) == ["x.zarr", "y.zarr.partial"]


def test_without_zarr_the_way_out_is_said(x, monkeypatch):
    stored("x.zarr", x)
    monkeypatch.setitem(sys.modules, "zarr", None)
    for call in (files.read, lambda n: files.write("y.zarr", x)):
        with pytest.raises(ImportError, match=r"\.zarr needs Zarr: pip install 'lrnorm\[dask\]'"):
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
    monkeypatch.setattr(_pieces, "LARGEST", largest)
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
    monkeypatch.setattr(_pieces, "LARGEST", 50)
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


@pytest.mark.parametrize("version", [2, 3])
def test_everything_but_the_values_is_kept(x, version):
    from zarr.codecs import BloscCodec, GzipCodec, TransposeCodec

    how = {
        2: {"order": "F", "fill_value": None},
        3: {
            "shards": (2, 12, 4, 9),
            "filters": [TransposeCodec(order=(3, 2, 1, 0))],
            "compressors": [BloscCodec(cname="lz4"), GzipCodec(level=2)],
            "dimension_names": ["n", "c", "y", "x"],
            "chunk_key_encoding": {"name": "v2", "separator": "."},
            "fill_value": float("nan"),
        },
    }[version]
    attributes = {"units": "mV", "nested": {"a": [1, 2]}}
    stored("x.zarr", x, zarr_format=version, attributes=attributes, **how)
    files.apply("x.zarr", "y.zarr")
    kept = ["zarr.json"] if version == 3 else [".zarray", ".zattrs"]
    for name in kept:
        x_says, y_says = (json.loads(Path(f, name).read_text()) for f in ("x.zarr", "y.zarr"))
        assert x_says == y_says
    assert times("y.zarr").keys() == times("x.zarr").keys()
    assert zarr.open_array("y.zarr", mode="r").attrs.asdict() == attributes


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ["int32", "bool", "uint8", ">f4", "float64"])
def test_another_dtype_keeps_the_rest(x, version, kind):
    values = (x * 9).astype(kind)
    stored("x.zarr", values, zarr_format=version, attributes={"units": "mV"}, chunks=(1, 5, 4, 9))
    wanted = "float16" if kind == "float64" else None
    files.apply("x.zarr", "y.zarr", dtype=wanted)
    y = zarr.open_array("y.zarr", mode="r")
    expected = lrnorm.local_response_norm(values, dtype=wanted)
    assert y.dtype.newbyteorder("=") == expected.dtype
    np.testing.assert_array_equal(y[...], expected)
    source = zarr.open_array("x.zarr", mode="r")
    assert (y.chunks, y.attrs.asdict()) == (source.chunks, source.attrs.asdict())
    assert [type(c) for c in y.compressors] == [type(c) for c in source.compressors]


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
@pytest.mark.parametrize("version", [2, 3])
def test_a_filter_for_the_old_dtype_is_left_out(x, version):
    import numcodecs
    from zarr.codecs import BloscCodec
    from zarr.codecs import numcodecs as filters

    values = (x * 9).astype("int32")
    delta = numcodecs.Delta("<i4") if version == 2 else filters.Delta(dtype="<i4")
    packed = numcodecs.Blosc() if version == 2 else BloscCodec(typesize=4)
    stored("x.zarr", values, zarr_format=version, filters=[delta], compressors=packed)
    files.apply("x.zarr", "y.zarr")
    np.testing.assert_array_equal(files.read("y.zarr"), lrnorm.local_response_norm(values))
    assert not zarr.open_array("y.zarr", mode="r").filters


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
        monkeypatch.setattr(_pieces, name, piece)
    monkeypatch.setattr(_pieces, "LARGEST", largest)
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


def test_every_file_is_in_one_piece(monkeypatch, x):
    for chunks in ((1, 12, 4, 9), (3, 5, 4, 2), (1, 1, 10, 9)):
        for largest in (1, 150, 1000, 10**9):
            monkeypatch.setattr(_pieces, "LARGEST", largest)
            stored("x.zarr", x, chunks=chunks, overwrite=True)
            pieces = _pieces.pieces_of(_zarr.Stored(Path("x.zarr")), 1, LRNSpec(1, 1, 1, 2, 1))
            names = [name for piece in pieces for name, _ in piece.files]
            assert len(names) == len(set(names))
            assert set(names) == {n for n in times("x.zarr") if n != "zarr.json"}
            if largest == 10**9:
                assert all(piece.read[1] == slice(0, 12) for piece in pieces)


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
        "import sys\nfrom lrnorm import files, _pieces\n_pieces.MEMORY = 2**24\n"
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


# Stopped on the way

SLOW = """
import sys, time
from lrnorm import _pieces, cli
normalize = _pieces.local_response_norm
def slowly(*arrays, **how):
    time.sleep(0.1)
    return normalize(*arrays, **how)
_pieces.local_response_norm = slowly
sys.exit(cli.main(sys.argv[1:]))
"""


def begun(words, until):
    """The command, slowly, in a process of its own; back when the condition holds."""
    run = subprocess.Popen(
        [sys.executable, "-c", SLOW, "apply", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not until():
        assert run.poll() is None, run.communicate()
        time.sleep(0.01)
    return run


def recorded(name):
    lists = Path(name, ".lrnorm").glob("done-*")
    return {line.split()[1] for each in lists for line in each.read_text().splitlines()}


@pytest.fixture
def killed(x):
    """y.zarr.partial, as a run left it that was killed with some of its 12 chunks written."""
    stored("x.zarr", x)
    run = begun(["x.zarr", "-o", "y.zarr"], lambda: len(recorded("y.zarr.partial")) >= 3)
    run.kill()
    run.communicate()
    assert 3 <= len(recorded("y.zarr.partial")) < 12
    assert not os.path.exists("y.zarr")
    return Path("y.zarr.partial")


def test_a_killed_run_goes_on_where_it_stopped(killed, x):
    done = recorded(killed)
    (killed / "c/9.abc.partial").write_bytes(b"half a chunk")
    half = next(n for n in ("c/3/0/2/0", "c/3/0/1/0", "c/2/0/2/0") if n not in done)
    (killed / half).parent.mkdir(parents=True, exist_ok=True)
    (killed / half).write_bytes(b"half another, under its name")
    before = times(killed)
    assert cli.main(["apply", "x.zarr", "-o", "y.zarr"]) == 0
    after = times("y.zarr")
    assert {n: after[n] for n in done} == {n: before[n] for n in done}
    assert all(after[n] > max(before.values()) for n in after if n not in {*done, "zarr.json"})
    files.apply("x.zarr", "undisturbed.zarr")
    assert tree("y.zarr") == tree("undisturbed.zarr")
    np.testing.assert_array_equal(files.read("y.zarr"), lrnorm.local_response_norm(x))
    assert sorted(os.listdir()) == ["undisturbed.zarr", "x.zarr", "y.zarr"]


def test_a_recorded_chunk_of_another_size_is_written_again(killed):
    name = sorted(recorded(killed))[0]
    (killed / name).write_bytes(b"")  # as a power cut may leave it
    files.apply("x.zarr", "y.zarr")
    files.apply("x.zarr", "undisturbed.zarr")
    assert tree("y.zarr") == tree("undisturbed.zarr")


def test_chunks_without_a_file_are_not_done_twice(x, monkeypatch):
    stored("x.zarr", np.zeros_like(x))
    run = begun(["x.zarr", "-o", "y.zarr"], lambda: len(recorded("y.zarr.partial")) >= 3)
    run.kill()
    run.communicate()
    left = 12 - len(recorded("y.zarr.partial"))
    calls = []
    normalize = _pieces.local_response_norm
    monkeypatch.setattr(
        _pieces, "local_response_norm", lambda *a, **k: calls.append(0) or normalize(*a, **k)
    )
    files.apply("x.zarr", "y.zarr")
    assert len(calls) == left


def test_killed_within_a_piece_of_several_chunks(x):
    """Those that are written stay."""
    stored("x.zarr", x, chunks=(4, 3, 10, 9))
    files.apply("x.zarr", "undisturbed.zarr")
    code = (
        "import os, sys\nfrom lrnorm import _pieces, files\nnote = _pieces._note\n"
        "def last(*names):\n    note(*names)\n    seen.append(0)\n"
        "    if len(seen) == 2: os.kill(os.getpid(), 9)\n"
        "seen = []\n_pieces._note = last\nfiles.apply('x.zarr', 'y.zarr')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    before, finished = times("y.zarr.partial"), recorded("y.zarr.partial")
    assert len(finished) == 2
    files.apply("x.zarr", "y.zarr")
    assert all(times("y.zarr")[name] == before[name] for name in finished)
    assert tree("y.zarr") == tree("undisturbed.zarr")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("x.zarr -o y.zarr --beta 0.75", "its spec was LRNSpec(scale=0.2, beta=0.5"),
        ("x.zarr -o y.zarr --axis 2", "its axis was 1, and is 2 now"),
        ("x.zarr -o y.zarr --dtype float64", "its dtype was float32, and is float64 now"),
        ("other.zarr -o y.zarr", "its source was "),
        ("changed -o y.zarr", "its content of the source was "),
    ],
)
def test_the_unfinished_output_of_other_work_is_refused(killed, capsys, x, words, message):
    stored("other.zarr", x)
    if words.startswith("changed"):
        zarr.open_array("x.zarr", mode="r+")[0, 0, 0, 0] = 7
        words = words.replace("changed", "x.zarr")
    before = tree(killed)
    assert cli.main(["apply", *words.split()]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and message in err
    assert "y.zarr.partial is the unfinished output of other work" in err
    assert "or delete" in err and "y.zarr.partial to begin anew" in err
    assert tree(killed) == before
    shutil.rmtree(killed)
    assert cli.main(["apply", *words.split()]) == 0


def test_defaults_said_are_defaults(killed):
    assert command("apply x.zarr -o y.zarr --alpha 1 --beta 0.5 --axis -3") == 0


def test_two_runs_at_once_are_refused(x, capsys):
    stored("x.zarr", x)
    first = begun(["x.zarr", "-o", "y.zarr"], lambda: recorded("y.zarr.partial"))
    try:
        assert cli.main(["apply", "x.zarr", "-o", "y.zarr"]) == 2
        assert "y.zarr.partial is being written by another run. Wait" in capsys.readouterr().err
    finally:
        _, err = first.communicate(timeout=60)
    assert (first.returncode, err) == (0, "")
    np.testing.assert_array_equal(files.read("y.zarr"), lrnorm.local_response_norm(x))
    assert sorted(os.listdir()) == ["x.zarr", "y.zarr"]


def test_a_folder_that_is_gone_while_waiting_is_noticed(x, monkeypatch):
    """The other run finished between our opening its lock and holding it."""
    stored("x.zarr", x)
    hold = fcntl.flock

    def late(stream, how):
        hold(stream, how)
        os.rename("y.zarr.partial", "y.zarr")

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(lrnorm.FileError, match="another run has just finished"):
        files.apply("x.zarr", "y.zarr")


def test_ctrl_c_says_that_it_goes_on(x):
    stored("x.zarr", x)
    run = begun(["x.zarr", "-o", "y.zarr"], lambda: recorded("y.zarr.partial"))
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert err.startswith("lrnorm: interrupted; ") and err.count("\n") == 1
    assert err.endswith("y.zarr.partial is left, and the same call goes on from there.\n")
    assert files.apply("x.zarr", "y.zarr").startswith("wrote y.zarr")


def test_a_full_disk_leaves_what_is_done(x, monkeypatch):
    stored("x.zarr", x)
    note = _pieces._note

    def full(folder, name):
        if len(recorded(folder)) == 2:
            raise OSError(28, "No space left on device")
        note(folder, name)

    monkeypatch.setattr(_pieces, "_note", full)
    with pytest.raises(lrnorm.FileError, match=r"cannot be written: No space left on device\.$"):
        files.apply("x.zarr", "y.zarr")
    monkeypatch.setattr(_pieces, "_note", note)
    assert len(recorded("y.zarr.partial")) == 2
    files.apply("x.zarr", "y.zarr")
    np.testing.assert_array_equal(files.read("y.zarr"), lrnorm.local_response_norm(x))


@pytest.mark.parametrize("what", ["file", "folder", "array"])
def test_a_partial_of_someone_else_is_left_alone(x, what):
    stored("x.zarr", x)
    if what == "file":
        Path("y.zarr.partial").write_text("mine")
    else:
        os.mkdir("y.zarr.partial")
        Path("y.zarr.partial", "zarr.json" if what == "array" else "mine").write_text("{}")
    before = tree(".")
    with pytest.raises(lrnorm.FileError, match=r"y\.zarr\.partial exists, and is not what an inte"):
        files.apply("x.zarr", "y.zarr")
    assert tree(".") == before


def test_killed_before_the_first_chunk(x):
    stored("x.zarr", x)
    for stage in ("", "lock", "half the metadata"):
        records = Path("y.zarr.partial/.lrnorm")
        records.parent.mkdir()
        if stage:
            records.mkdir()
            (records / "lock").touch()
        if stage == "half the metadata":
            Path("y.zarr.partial/zarr.json").write_text("{")
        files.apply("x.zarr", "y.zarr", overwrite=True)
        np.testing.assert_array_equal(files.read("y.zarr"), lrnorm.local_response_norm(x))


def test_replacing_is_whole_or_not_at_all(x, monkeypatch):
    """Killed between the two renamings, both are there, and the same call puts them right."""
    stored("x.zarr", x)
    stored("y.zarr", 2 * x)
    code = (
        "import os\nfrom lrnorm import files\nrename = os.rename\n"
        "def last(*names):\n    rename(*names)\n    os.kill(os.getpid(), 9)\n"
        "os.rename = last\nfiles.apply('x.zarr', 'y.zarr', overwrite=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert os.path.isdir("y.zarr.partial/.lrnorm/replaced")
    files.apply("x.zarr", "y.zarr")
    np.testing.assert_array_equal(files.read("y.zarr"), lrnorm.local_response_norm(x))
    assert sorted(os.listdir()) == ["x.zarr", "y.zarr"]


def test_a_renaming_that_fails_puts_the_old_one_back(x, monkeypatch):
    stored("x.zarr", x)
    stored("y.zarr", 2 * x)
    rename = os.rename

    def refuse(source, target):
        if str(target).endswith("y.zarr") and "replaced" not in str(source):
            raise OSError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(lrnorm.FileError, match=r"y\.zarr cannot be written: Permission denied"):
        files.apply("x.zarr", "y.zarr", overwrite=True)
    np.testing.assert_array_equal(files.read("y.zarr"), 2 * x)


def test_someone_faster_is_not_overwritten(x, monkeypatch):
    stored("x.zarr", x)
    do_piece = _pieces.do_piece

    def meanwhile(*how):
        if not os.path.exists("y.zarr"):
            stored("y.zarr", 2 * x)
        do_piece(*how)

    monkeypatch.setattr(_pieces, "do_piece", meanwhile)
    with pytest.raises(lrnorm.FileError, match=r"y\.zarr exists and is left"):
        files.apply("x.zarr", "y.zarr")
    np.testing.assert_array_equal(files.read("y.zarr"), 2 * x)


# On a cluster


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs="CRITICAL",
    ) as made:
        yield made


on_cluster = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class TestCluster:
    pytestmark = on_cluster

    def test_workers_write_the_chunks(self, cluster, killed, x):
        done, before = recorded(killed), times(killed)
        address = cluster.scheduler_address
        assert cli.main(["apply", "x.zarr", "-o", "y.zarr", "--scheduler", address]) == 0
        after = times("y.zarr")
        assert {n: after[n] for n in done} == {n: before[n] for n in done}
        files.apply("x.zarr", "undisturbed.zarr")
        assert tree("y.zarr") == tree("undisturbed.zarr")
        np.save("x.npy", x)
        files.apply("x.npy", "z.zarr", scheduler=address)
        np.testing.assert_array_equal(files.read("z.zarr"), files.read("y.zarr"))

    def test_what_workers_refuse_is_one_line(self, cluster, x):
        stored("x.zarr", x)
        Path("x.zarr/c/2/0/1/0").write_bytes(b"no chunk")
        with pytest.raises(lrnorm.FileError, match=r"x\.zarr is not a readable \.zarr file"):
            files.apply("x.zarr", "y.zarr", scheduler=cluster.scheduler_address)
        assert os.path.isdir("y.zarr.partial")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_scheduler_there(x, capsys, monkeypatch):
    pytest.importorskip("distributed")
    import dask

    stored("x.zarr", x)
    with dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}):
        assert command("apply x.zarr -o y.zarr --scheduler tcp://127.0.0.1:1") == 2
    err = capsys.readouterr().err
    assert "there is no Dask scheduler at tcp://127.0.0.1:1: " in err
    assert command("apply x.zarr -o y.npy --scheduler tcp://127.0.0.1:1") == 2
    assert "a scheduler hands out the chunks of a .zarr made from a .zarr or .npy, got x.zarr" in (
        capsys.readouterr().err
    )
    assert command("apply x.zarr --scheduler tcp://127.0.0.1:1") == 2
    assert "--scheduler hands out what -o writes: give both" in capsys.readouterr().err
