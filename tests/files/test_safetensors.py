"""Several arrays by name in a .safetensors."""

import json
import struct
import sys

import numpy as np
import pytest
from refusals import refused

import lrnorm
from lrnorm import cli, files

library = pytest.importorskip("safetensors.numpy")

pytestmark = pytest.mark.usefixtures("own_folder")


def test_arrays_come_back_by_name(rng):
    arrays = {"a": rng.normal(size=(2, 3, 4)).astype("f4"), "b": np.arange(3)}
    assert files.write("x.safetensors", arrays) == "wrote x.safetensors: 2 arrays"
    for back in (files.read("x.safetensors"), library.load_file("x.safetensors")):
        assert sorted(back) == ["a", "b"]
        assert all(np.array_equal(back[name], x) for name, x in arrays.items())
    assert np.array_equal(files.first("x.safetensors", keys=["b"]), [0, 1, 2])
    files.write("y.safetensors", [1.0])
    assert files.read("y.safetensors")["array"].tolist() == [1]


@pytest.mark.parametrize("order", ["C", "F", "big-endian", "strided"])
def test_layouts(rng, order):
    x = rng.normal(size=(4, 6, 5)).astype("f4")
    given = {
        "C": x,
        "F": np.asfortranarray(x),
        "big-endian": x.astype(">f4"),
        "strided": np.repeat(x, 2, -1)[..., ::2],
    }[order]
    files.write("x.safetensors", {"x": given})
    assert np.array_equal(library.load_file("x.safetensors")["x"], x)


def test_every_array_or_those_named(rng, capsys):
    x = rng.normal(size=(3, 2, 2)).astype("f4")
    library.save_file({"x": x, "labels": np.arange(4)}, "x.safetensors")
    expected = lrnorm.local_response_norm(x)
    assert cli.main(["apply", "x.safetensors", "--key", "x", "-o", "y.safetensors"]) == 0
    assert "1 array, 1 more copied as they were" in capsys.readouterr().out
    y = files.read("y.safetensors")
    assert np.array_equal(y["x"], expected) and np.array_equal(y["labels"], np.arange(4))
    for target in ("y.npz", "z.safetensors"):
        files.apply("x.safetensors", target, keys=["x"])
        assert np.array_equal(files.read(target)["x"], expected)
    files.apply("y.npz", "from_npz.safetensors", keys=["x"])
    assert np.array_equal(
        files.read("from_npz.safetensors")["x"], lrnorm.local_response_norm(expected)
    )
    files.apply("x.safetensors", "y.npy", keys=["x"])
    assert np.array_equal(np.load("y.npy"), expected)
    assert cli.main(["apply", "x.safetensors"]) == 2
    err = capsys.readouterr().err
    assert "x.safetensors[labels]: " in err and "choose others with --key NAME" in err
    assert cli.main(["apply", "x.safetensors", "-o", "z.npy"]) == 2
    assert "--key NAME" in capsys.readouterr().err


def test_bfloat16_is_read(rng):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = rng.normal(size=(3, 2, 2)).astype(ml_dtypes.bfloat16)
    head = {"x": {"dtype": "BF16", "shape": x.shape, "data_offsets": [0, x.nbytes]}}
    text = json.dumps(head).encode()
    with open("x.safetensors", "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text + x.tobytes())
    files.apply("x.safetensors", "y.safetensors", dtype="float32")
    expected = lrnorm.local_response_norm(x, dtype="float32")
    assert np.array_equal(files.read("y.safetensors")["x"], expected)


def test_refusals(monkeypatch):
    with open("x.safetensors", "wb") as stream:
        stream.write(b"no tensors at all")
    with refused(lrnorm.FileError, "x.safetensors", "is not a readable .safetensors file: "):
        files.read("x.safetensors")
    subject = "an array of a .safetensors"
    with refused(lrnorm.KindError, subject, "must have one of the dtypes bool, ", got="complex128"):
        files.write("y.safetensors", np.ones(2, complex))
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    way_out = "pip install 'lrnorm[safetensors]'"
    with refused(lrnorm.MissingDependencyError, ".safetensors", way_out=way_out):
        files.read("x.safetensors")
