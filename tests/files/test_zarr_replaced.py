"""A .zarr in place of another: the old one or the new one, wherever the call is stopped."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from on_disk import stored, times
from refusals import refused

import lrnorm
from lrnorm import files
from lrnorm.files import chunked

pytest.importorskip("zarr")

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def half_replaced(x):
    """Killed between the two renamings of a call, the old array and the new are there."""

    def run(call):
        stored("x.zarr", x)
        stored("y.zarr", 2 * x)
        code = (
            "import os\nfrom lrnorm import files\nrename = os.rename\n"
            "def last(*names):\n    rename(*names)\n    os.kill(os.getpid(), 9)\n"
            f"os.rename = last\n{call}"
        )
        done = subprocess.run([sys.executable, "-c", code], check=False)
        assert done.returncode == -signal.SIGKILL
        assert not os.path.exists("y.zarr")
        assert os.path.isdir("y.zarr.partial/.lrnorm/replaced")

    return run


@pytest.mark.parametrize("source", ["x.zarr", "y.zarr"])
def test_replacing_is_whole_or_not_at_all(half_replaced, x, source):
    """The same call puts it right, and does nothing twice; of an array onto itself too."""
    expected = lrnorm.local_response_norm(x if source == "x.zarr" else 2 * x)
    half_replaced(f"files.apply({source!r}, 'y.zarr', overwrite=True)")
    before = times("y.zarr.partial")
    files.apply(source, "y.zarr", overwrite=True)
    np.testing.assert_array_equal(files.read("y.zarr"), expected)
    assert times("y.zarr") == before
    assert sorted(os.listdir()) == ["x.zarr", "y.zarr"]


@pytest.mark.parametrize(
    ("call", "name", "rule"),
    [
        (lambda: files.apply("y.zarr", "y.zarr"), "y.zarr", "exists and is left as it is"),
        (
            lambda: files.apply("y.zarr", "y.zarr", beta=2.0, overwrite=True),
            "partial",
            "is the unfinished output of other work: its spec was ",
        ),
    ],
)
def test_another_call_after_that_finds_the_old_one(half_replaced, x, call, name, rule):
    half_replaced("files.apply('y.zarr', 'y.zarr', overwrite=True)")
    subject = os.path.abspath("y.zarr.partial") if name == "partial" else name
    with refused(lrnorm.FileError, subject, rule):
        call()
    np.testing.assert_array_equal(files.read("y.zarr"), 2 * x)


def test_writing_half_done_puts_the_old_one_back(half_replaced, x):
    """The error says to delete the new one: that may not be where the old one is."""
    half_replaced("files.write('y.zarr', [[1.0]], overwrite=True)")
    partial = os.path.abspath("y.zarr.partial")
    with refused(lrnorm.FileError, partial, "exists: another run", way_out="Delete it if"):
        files.write("y.zarr", [[1.0]], overwrite=True)
    np.testing.assert_array_equal(files.read("y.zarr"), 2 * x)
    shutil.rmtree("y.zarr.partial")
    files.write("y.zarr", [[1.0]], overwrite=True)
    assert files.read("y.zarr") == 1


def test_a_renaming_that_fails_puts_the_old_one_back(x, monkeypatch):
    stored("x.zarr", x)
    stored("y.zarr", 2 * x)
    rename = os.rename

    def refuse(source, target):
        if str(target).endswith("y.zarr") and "replaced" not in str(source):
            raise OSError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with refused(lrnorm.FileError, "y.zarr", "cannot be written: Permission denied"):
        files.apply("x.zarr", "y.zarr", overwrite=True)
    np.testing.assert_array_equal(files.read("y.zarr"), 2 * x)


def test_someone_faster_is_not_overwritten(x, monkeypatch):
    stored("x.zarr", x)
    do_piece = chunked._do_piece

    one_at_a_time = threading.Lock()

    def meanwhile(*how):
        with one_at_a_time:
            if not os.path.exists("y.zarr"):
                stored("y.zarr", 2 * x)
        do_piece(*how)

    monkeypatch.setattr(chunked, "_do_piece", meanwhile)
    with refused(lrnorm.FileError, os.path.abspath("y.zarr"), "exists and is left"):
        files.apply("x.zarr", "y.zarr")
    np.testing.assert_array_equal(files.read("y.zarr"), 2 * x)
