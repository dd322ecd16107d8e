"""lrnorm.files.apply and summarize: in pieces, to the same bytes, and nothing left half done."""

import io
import os
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_disk import saved
from PIL import Image
from refusals import refused

import lrnorm
from lrnorm import files
from lrnorm.files import applying, chunked


def npy_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# In pieces


@pytest.mark.parametrize("piece", [1, 7, 60, 1000, 10**9])
@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 6, 7), None), ((3, 4, 5, 6), None), ((9, 8, 5), -1), ((40,), 0)]
)
def test_the_bytes_are_those_of_one_call(tmp_path, monkeypatch, rng, piece, shape, axis):
    monkeypatch.setattr(chunked, "PIECE", piece)
    x = rng.normal(size=shape)
    for i, kind in enumerate((x, x.astype("f4"), np.asfortranarray(x), x.astype(">f2"), x > 0)):
        source, target = saved(tmp_path, kind, f"{i}.npy"), tmp_path / f"y{i}.npy"
        line = files.apply(source, target, axis=axis, alpha=2.0, beta=0.75)
        whole = lrnorm.local_response_norm(kind, axis=axis, alpha=2.0, beta=0.75)
        assert target.read_bytes() == npy_bytes(whole)
        assert line.endswith(str(whole.dtype))
    files.apply(source, tmp_path / "z.npy", axis=axis, dtype="float16")
    assert np.load(tmp_path / "z.npy").dtype == np.float16


@given(
    shape=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    data=st.data(),
    piece=st.integers(1, 200),
    order=st.sampled_from("CF"),
)
@settings(max_examples=60, deadline=None)
def test_pieces_cover_everything_once(shape, data, piece, order):
    channels = data.draw(st.integers(0, len(shape) - 1))
    x = np.zeros(shape, order=order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "PIECE", piece)
        pieces = chunked.cut(x, (channels,))
    for index in pieces:
        x[index] += 1
        assert x[index].shape[channels] == shape[channels]
        assert x[index].size <= max(piece, shape[channels])
    assert (x == 1).all()


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(chunked, "PIECE", 2**14)
    source = saved(tmp_path, np.ones((16, 500, 500), "f4"))  # 16 MB
    released = []
    monkeypatch.setattr(chunked, "release", lambda a: released.append(os.path.basename(a.filename)))
    tracemalloc.start()
    try:
        files.apply(source, tmp_path / "y.npy")
        assert released == ["x.npy", "y.npy.partial"] * 250  # of two rows each
        files.summarize(source)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux tells, others do not")
def test_pages_of_a_mapped_file_are_let_go(tmp_path):
    def shared():  # bytes of files that this process holds
        with open("/proc/self/statm") as numbers:
            return int(numbers.read().split()[2]) * os.sysconf("SC_PAGE_SIZE")

    x = files.first(saved(tmp_path, np.ones(2**22)))  # 32 MiB
    before = shared()
    assert x.sum() == 2**22
    held = shared() - before
    chunked.release(x)
    assert held > 2**24
    assert shared() - before < held / 4
    assert x.sum() == 2**22


def test_progress_is_a_bar_on_stderr(tmp_path, monkeypatch, capsys):
    source = saved(tmp_path, np.ones((3, 8, 8)))
    files.apply(source, tmp_path / "a.npy", progress=True)  # one piece: nothing to watch
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(chunked, "PIECE", 30)
    files.apply(source, tmp_path / "quiet.npy")
    assert capsys.readouterr().err == ""
    files.apply(source, tmp_path / "b.npy", progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "b.npy" in err and "100%" in err
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    way_out = "pip install 'lrnorm[cli]'"
    with refused(lrnorm.MissingDependencyError, "the progress bar", "rich", way_out=way_out):
        files.apply(source, tmp_path / "c.npy", progress=True)
    assert not (tmp_path / "c.npy").exists()


# Archives, pictures, in place


def test_npz_every_array_or_those_named(tmp_path, rng):
    a, b = rng.normal(size=(4, 3, 2)), rng.normal(size=(4, 5, 6)).astype("f4")
    np.savez_compressed(tmp_path / "x.npz", a=a, b=b)
    line = files.apply(tmp_path / "x.npz", tmp_path / "y.npz", beta=1.0)
    assert line == f"wrote {tmp_path / 'y.npz'}: 2 arrays"
    y = files.read(tmp_path / "y.npz")
    assert all(
        np.array_equal(y[k], lrnorm.local_response_norm(v, beta=1.0))
        for k, v in {"a": a, "b": b}.items()
    )
    with zipfile.ZipFile(tmp_path / "y.npz") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    line = files.apply(tmp_path / "x.npz", tmp_path / "z.npz", keys=["b"], beta=1.0)
    assert line.endswith("1 array, 1 more copied as they were")
    z = np.load(tmp_path / "z.npz")
    assert np.array_equal(z["a"], a) and np.array_equal(z["b"], y["b"])
    files.apply(tmp_path / "x.npz", tmp_path / "b.npy", keys="b", beta=1.0)
    assert np.array_equal(np.load(tmp_path / "b.npy"), y["b"])
    assert np.array_equal(files.first(tmp_path / "x.npz", keys=["b"]), b)


def test_npz_says_which_array_is_meant(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.ones((3, 2, 2)), labels=np.arange(4))
    where, way_out = (f"{path}[labels]",), "choose among a with --key (keys= in Python)."
    with refused(lrnorm.ShapeError, "axis", way_out=way_out, where=where):
        files.apply(path, tmp_path / "y.npz")
    rule = f"holds 2 arrays (a, labels) where {tmp_path / 'y.npy'} takes one"
    with refused(lrnorm.FileError, str(path), rule, way_out="--key NAME"):
        files.apply(path, tmp_path / "y.npy")
    with refused(lrnorm.FileError, str(path), "has no array 'c'", way_out="It holds a, labels"):
        files.summarize(path, keys=["a", "c"])
    one = saved(tmp_path, np.ones((3, 2, 2)))
    with refused(lrnorm.FileError, str(one), "is one array, which has no name"):
        files.summarize(one, keys=["a"])
    np.savez(tmp_path / "none.npz")
    with refused(lrnorm.FileError, str(tmp_path / "none.npz"), "holds no array"):
        files.summarize(tmp_path / "none.npz")
    assert sorted(os.listdir(tmp_path)) == ["none.npz", "x.npy", "x.npz"]


def test_a_picture_becomes_a_picture(tmp_path):
    colours = np.arange(5, 251, 5, np.uint8)[:48].reshape(4, 4, 3)
    Image.fromarray(colours).convert("RGBA").save(tmp_path / "x.png")
    line = files.apply(tmp_path / "x.png", tmp_path / "y.png", alpha=3.0)
    assert line.endswith("as 255; transparency is left out")
    y = lrnorm.local_response_norm(files.read(tmp_path / "x.png"), alpha=3.0)
    shown = np.asarray(Image.open(tmp_path / "y.png")).transpose(2, 0, 1)
    assert np.array_equal(shown, np.rint(y.astype(float) / y.max() * 255))
    files.apply(tmp_path / "x.png", tmp_path / "y.npy", alpha=3.0)
    assert np.array_equal(np.load(tmp_path / "y.npy"), y)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.png"])
def test_a_file_onto_itself(tmp_path, rng, name):
    path = tmp_path / name
    files.write(path, rng.random((3, 8, 8)))
    files.apply(path, tmp_path / f"other{path.suffix}")
    files.apply(path, path, overwrite=True)
    assert path.read_bytes() == (tmp_path / f"other{path.suffix}").read_bytes()


def test_parameters_are_those_of_the_function(tmp_path):
    source = saved(tmp_path, np.ones((3, 2, 2)))
    spec = lrnorm.LRNSpec(0.5, 0.75, 2.0, 1, 0)
    files.apply(source, tmp_path / "y.npy", spec=spec)
    expected = lrnorm.local_response_norm(np.ones((3, 2, 2)), spec=spec)
    assert np.array_equal(np.load(tmp_path / "y.npy"), expected)
    where = (str(source),)
    with refused(lrnorm.KindError, "spec", "replaces alpha", got="spec and alpha", where=where):
        files.apply(source, tmp_path / "z.npy", spec=spec, alpha=2.0)
    way_out = "size is a width in PyTorch"
    with refused(lrnorm.KindError, "local_response_norm()", "'size'", 5, way_out, where=where):
        files.summarize(source, size=5)
    source = saved(tmp_path, np.ones((3, 2, 2), complex), "c.npy")
    with refused(lrnorm.KindError, "x", "must hold", got="complex128", where=(str(source),)):
        files.apply(source, tmp_path / "z.npy")
    assert not (tmp_path / "z.npy").exists()


def test_empty_arrays_go_through(tmp_path):
    source = saved(tmp_path, np.ones((3, 0, 4), "f4"))
    files.apply(source, tmp_path / "y.npy")
    assert (tmp_path / "y.npy").read_bytes() == source.read_bytes()
    [change] = files.summarize(source)
    assert change.before.shape == (3, 0, 4) and np.isnan(change.after.max)


def test_summary_is_what_numpy_says(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(chunked, "PIECE", 50)
    x = rng.normal(5, 2, size=(6, 7, 8)).astype("f4")
    x[1, 2, 3], x[0, 0, 0] = np.nan, np.inf
    [change] = files.summarize(saved(tmp_path, x), dtype="float64")
    y = lrnorm.local_response_norm(x, dtype="float64")
    assert change.axis == 0 and (change.before.dtype, change.after.dtype) == ("float32", "float64")
    for side, array in ((change.before, x), (change.after, y)):
        finite = array[np.isfinite(array)].astype(np.float64)
        assert side.not_finite == array.size - finite.size > 0
        got = side.min, side.max, side.mean, side.std
        expected = finite.min(), finite.max(), finite.mean(), finite.std()
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert os.listdir(tmp_path) == ["x.npy"]


# Stopped on the way


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError, OSError(5, "Input/output error")])
def test_stopped_half_way_leaves_what_was_there(tmp_path, monkeypatch, rng, stop):
    path = saved(tmp_path, rng.normal(size=(4, 9, 5)))
    before = path.read_bytes()
    calls = []

    def third_fails(x, **keywords):
        calls.append(os.listdir(tmp_path))
        if len(calls) == 3:
            raise stop
        return lrnorm.local_response_norm(x, **keywords)

    monkeypatch.setattr(chunked, "PIECE", 20)
    monkeypatch.setattr(applying, "local_response_norm", third_fails)
    with pytest.raises(stop if isinstance(stop, type) else lrnorm.FileError):
        files.apply(path, path, overwrite=True)
    assert sorted(calls[-1]) == ["x.npy", "x.npy.partial"]
    assert os.listdir(tmp_path) == ["x.npy"] and path.read_bytes() == before


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    source, target = saved(tmp_path, np.ones((3, 2, 2))), tmp_path / "y.npy"
    with refused(lrnorm.FileError, str(target), "cannot be written: No space left"):
        files.apply(source, target)
    assert os.listdir(tmp_path) == ["x.npy"]
