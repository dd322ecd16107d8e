"""A run into a .zarr that is stopped: what it leaves, and how the next goes on."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from on_disk import stored, times, tree
from refusals import check_parts, refused

import lrnorm
from lrnorm import cli, files
from lrnorm.files import applying, chunked

zarr = pytest.importorskip("zarr")

pytestmark = pytest.mark.usefixtures("own_folder")


def command(line):
    return cli.main(line.split())


SLOW = """
import sys, time
from lrnorm import cli
from lrnorm.files import applying, chunked
normalize = chunked.local_response_norm
def slowly(*arrays, **how):
    time.sleep(0.3)
    return normalize(*arrays, **how)
chunked.local_response_norm = slowly
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
    (killed / name).write_bytes(b"")  # by hand: no kill of the process leaves this
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
    normalize = chunked.local_response_norm
    monkeypatch.setattr(
        chunked, "local_response_norm", lambda *a, **k: calls.append(0) or normalize(*a, **k)
    )
    files.apply("x.zarr", "y.zarr")
    assert len(calls) == left


def test_killed_within_a_piece_of_several_chunks(x):
    """Those that are written stay."""
    stored("x.zarr", x, chunks=(4, 3, 10, 9))
    files.apply("x.zarr", "undisturbed.zarr")
    code = (
        "import os, sys\nfrom lrnorm import files\n"
        "from lrnorm.files import chunked\nnote = chunked.note\n"
        "def last(*names):\n    note(*names)\n    seen.append(0)\n"
        "    if len(seen) == 2: os.kill(os.getpid(), 9)\n"
        "seen = []\nchunked.note = last\nfiles.apply('x.zarr', 'y.zarr')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    before, finished = times("y.zarr.partial"), recorded("y.zarr.partial")
    assert len(finished) == 2
    files.apply("x.zarr", "y.zarr")
    assert all(times("y.zarr")[name] == before[name] for name in finished)
    assert tree("y.zarr") == tree("undisturbed.zarr")


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("x.zarr -o y.zarr --beta 0.75", "its spec was LRNSpec(scale=0.2, beta=0.5"),
        ("x.zarr -o y.zarr --axis 2", "its axis was 1, and is 2 now"),
        ("x.zarr -o y.zarr --dtype float64", "its dtype was float32, and is float64 now"),
        ("other.zarr -o y.zarr", "its source was "),
        ("changed -o y.zarr", "its content of the source was "),
    ],
)
def test_the_unfinished_output_of_other_work_is_refused(killed, lrn_error, x, words, rule):
    stored("other.zarr", x)
    if words.startswith("changed"):
        zarr.open_array("x.zarr", mode="r+")[0, 0, 0, 0] = 7
        words = words.replace("changed", "x.zarr")
    before = tree(killed)
    subject = os.path.abspath(killed)
    rule, way_out = f"is the unfinished output of other work: {rule}", f"delete {subject} to begin"
    error = lrn_error("apply", *words.split())
    check_parts(error, lrnorm.FileError, subject, rule, way_out=way_out)
    assert tree(killed) == before
    shutil.rmtree(killed)
    assert cli.main(["apply", *words.split()]) == 0


def test_defaults_said_are_defaults(killed):
    assert command("apply x.zarr -o y.zarr --alpha 1 --beta 0.5 --axis -3") == 0


def test_two_runs_at_once_are_refused(x):
    stored("x.zarr", x)
    first = begun(["x.zarr", "-o", "y.zarr"], lambda: recorded("y.zarr.partial"))
    try:
        subject, rule = os.path.abspath("y.zarr.partial"), "is being written by another run"
        with refused(lrnorm.FileError, subject, rule, way_out="Wait"):
            files.apply("x.zarr", "y.zarr")
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
    subject = os.path.abspath("y.zarr.partial")
    with refused(lrnorm.FileError, subject, "was just finished by another run"):
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


def stopped_after_one(items, *_):
    """In place of the bar: Ctrl-C while it is drawn."""
    for item in items:
        yield item
        raise KeyboardInterrupt


def test_ctrl_c_outside_of_the_work_stops_it(x, monkeypatch):
    stored("x.zarr", x, chunks=(1, 12, 1, 9))
    do_piece, begun, ended = chunked._do_piece, [], []

    def slowly(*how):
        begun.append(0)
        time.sleep(0.05)
        do_piece(*how)
        ended.append(0)

    monkeypatch.setattr(chunked, "_do_piece", slowly)
    monkeypatch.setattr(applying, "_bar", stopped_after_one)
    with pytest.raises(KeyboardInterrupt) as caught:  # kept, and its frames with it
        files.apply("x.zarr", "y.zarr")
    assert len(begun) == len(ended) < 40
    done = len(ended)
    time.sleep(0.3)
    assert len(begun) == done
    assert "the same call goes on from there" in str(caught.value)


def test_a_full_disk_leaves_what_is_done(x, monkeypatch):
    stored("x.zarr", x)
    note = chunked.note
    one_at_a_time = threading.Lock()

    def full(folder, name):
        with one_at_a_time:
            if len(recorded(folder)) == 2:
                raise OSError(28, "No space left on device")
            note(folder, name)

    monkeypatch.setattr(chunked, "note", full)
    subject = os.path.abspath("y.zarr.partial")
    with refused(lrnorm.FileError, subject, "cannot be written: No space left on device"):
        files.apply("x.zarr", "y.zarr")
    monkeypatch.setattr(chunked, "note", note)
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
    subject = os.path.abspath("y.zarr.partial")
    with refused(lrnorm.FileError, subject, "exists, and is not the unfinished"):
        files.apply("x.zarr", "y.zarr")
    assert tree(".") == before


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("source", ["x.zarr", "x.npy"])
def test_killed_before_the_first_chunk(x, source, version):
    np.save("x.npy", x)
    stored("x.zarr", x, zarr_format=version)
    document = {2: ".zarray", 3: "zarr.json"}[version]
    whole = Path("x.zarr", document).read_text()
    for stage in ("", "lock", "{", whole):
        records = Path("y.zarr.partial/.lrnorm")
        records.parent.mkdir()
        if stage:
            records.mkdir()
            (records / "lock").touch()
        if stage in ("{", whole):
            Path("y.zarr.partial", document).write_text(stage)
        files.apply(source, "y.zarr", overwrite=True)
        np.testing.assert_array_equal(files.read("y.zarr"), lrnorm.local_response_norm(x))
