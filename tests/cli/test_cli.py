"""The command: what it prints, what it leaves, and how it ends."""

import contextlib
import os
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image
from refusals import check_parts

import lrnorm
from lrnorm import FileError, KindError, MissingDependencyError, ParameterError, ShapeError, files
from lrnorm.cli import demo
from lrnorm.files import applying

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def x():
    x = np.random.default_rng(1).normal(size=(2, 6, 5, 4)).astype("float32")
    np.save("x.npy", x)
    return x


def shell(line):
    return subprocess.run(
        ["bash", "-c", f"lrnorm() {{ '{sys.executable}' -m lrnorm \"$@\"; }}; {line}"],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )


def size(name):
    with Image.open(name) as picture:
        return picture.size


# Without a command


def test_nothing_prints_help(lrn):
    status, out, err = lrn()
    assert (status, err) == (0, "") and out == lrn("--help")[1]
    for name in ("apply", "bench", "demo"):
        assert f"\n  {name} " in out


def test_version(lrn):
    assert lrn("--version") == (0, f"lrnorm {lrnorm.show_config()['lrnorm']}\n", "")


def test_module_and_what_it_loads(x):
    code = (
        "import sys\nfrom lrnorm.cli import main\nstatus = main(sys.argv[1:])\n"
        "print(status, [m for m in ('matplotlib', 'PIL', 'rich', 'torch') if m in sys.modules])"
    )
    for words in (["--version"], ["apply", "x.npy"], ["apply", "x.npy", "-o", "y.npy"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "0 []"
    assert shell("lrnorm --version").stdout.startswith("lrnorm ")
    assert shell("lrnorm nonsense").returncode == 2


@pytest.mark.parametrize(
    ("words", "rule", "help"),
    [
        (["aply"], "there is no command 'aply': choose apply or convert or", "lrnorm"),
        (["--colour"], "unrecognized arguments: --colour", "lrnorm"),
        (["apply"], "arguments are required: PICTURE-OR-ARRAY", "lrnorm apply"),
        (["demo", "extra"], "unrecognized arguments: extra", "lrnorm demo"),
    ],
)
def test_wrong_words(lrn_error, words, rule, help):
    check_parts(lrn_error(*words), ParameterError, "", rule, way_out=f"See {help} --help.")


# apply


def test_without_output_a_table_and_nothing_written(lrn, x):
    status, out, err = lrn("apply", "x.npy", "--beta", 0.75)
    y = lrnorm.local_response_norm(x, beta=0.75)
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[2:-1]}
    assert (status, err) == (0, "")
    assert "x.npy, channels on axis 1, LRNSpec(scale=0.2, beta=0.75" in out
    assert rows["shape"] == ["2", "×", "6", "×", "5", "×", "4"] * 2
    assert rows["dtype"] == ["float32"] * 2
    for name in ("min", "max", "mean", "std"):
        expected = [getattr(side.astype("float64"), name)() for side in (x, y)]
        np.testing.assert_allclose([float(cell) for cell in rows[name]], expected, rtol=1e-5)
    assert out.endswith("nothing written: -o FILE writes the result\n")
    assert os.listdir() == ["x.npy"]


@pytest.mark.parametrize(
    ("words", "keywords"),
    [
        ([], {}),
        (
            ["--alpha", "-1e-4", "--bias", "-.5", "--beta", "2"],
            {"alpha": -1e-4, "bias": -0.5, "beta": 2},
        ),
        (["--channel-window-size", "1"], {"channel_window_size": 1}),
        (["--channel-window-size=2,0"], {"channel_window_size": (2, 0)}),
        (["--axis", "-1", "--dtype", "float16"], {"axis": -1, "dtype": "float16"}),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_output_is_that_of_the_function(lrn, x, words, keywords):
    status, out, _ = lrn("apply", "x.npy", "-o", "y.npy", *words)
    y = np.load("y.npy")
    expected = lrnorm.local_response_norm(x, **keywords)
    assert (status, out) == (0, f"wrote y.npy: 2 × 6 × 5 × 4, {expected.dtype}\n")
    assert y.dtype == expected.dtype and np.array_equal(y, expected, equal_nan=True)


def test_pictures_and_archives(lrn):
    Image.linear_gradient("L").convert("RGB").save("x.jpg")
    _, out, _ = lrn("apply", "x.jpg", "-o", "y.png")
    largest = lrnorm.local_response_norm(files.read("x.jpg")).max()
    assert out == f"wrote y.png: 3 × 256 × 256, its largest value, {largest:.6g}, as 255\n"
    assert np.asarray(Image.open("y.png")).max() == 255
    np.savez("x.npz", a=np.ones((3, 2, 2)), b=np.arange(3))
    assert lrn("apply", "x.npz", "--key", "a")[1].startswith("x.npz[a], channels on axis 0")
    assert lrn("apply", "x.npz", "--key", "a", "-o", "y.npz")[0] == 0
    assert np.array_equal(np.load("y.npz")["b"], [0, 1, 2])


WINDOW = "argument --channel-window-size: must be a radius such as 2, or a pair BEFORE,AFTER such"
DAMAGED = "is not a readable .npy file"


@pytest.mark.parametrize(
    ("words", "kind", "subject", "rule", "more"),
    [
        (
            *("x.npy --alpha one", ParameterError, ""),
            *("argument --alpha: must be a number such as 0.75, got 'one'", {}),
        ),
        (
            *("x.npy --alpha nan", ParameterError, "alpha", "must be a finite real number"),
            {"got": "nan"},
        ),
        ("x.npy --channel-window-size 2.5", ParameterError, "", f"{WINDOW} as 2,1, got '2.5'", {}),
        (
            "x.npy --channel-window-size 1,2,3",
            ParameterError,
            "",
            f"{WINDOW} as 2,1, got '1,2,3'",
            {},
        ),
        (
            *("x.npy --channel-window-size -1", ParameterError, "channel_window_size"),
            *("must be a positive integer", {"value": -1, "way_out": "--channel-window-size 2"}),
        ),
        (
            *("x.npy --axis 4", ShapeError, "axis", "must lie in -4 … 3 for an array of rank 4"),
            {"value": 4, "way_out": "for example --axis -1", "where": ("x.npy",)},
        ),
        (
            *("x.npy --axis 1.5", ParameterError, ""),
            *("must be an integer such as -1, or several such as 2,3, got '1.5'", {}),
        ),
        (
            *("x.npy --dtype int8", KindError, "dtype"),
            *("must be float16, bfloat16, float32 or float64", {"got": "int8"}),
        ),
        ("x.npy --colour 5", ParameterError, "", "unrecognized arguments: --colour 5", {}),
        (
            *("x.npy -o x.npy", FileError, "x.npy", "exists and is left as it is"),
            {"way_out": "pass --force"},
        ),
        (
            *("x.npy -o y.txt", FileError, "the ending of y.txt"),
            *("or of a picture, such as .png .jpg .tiff", {"got": "'.txt'"}),
        ),
        (
            *("x.npy -o y.png", ShapeError, "a picture", "takes (1 or 3 channels, height, width)"),
            {"value": (2, 6, 5, 4), "where": ("y.png",)},
        ),
        ("x.npy -o no/y.npy", FileError, "no/y.npy", "there is no folder", {}),
        (
            *("x.npy --key a", FileError, "x.npy", "is one array, which has no name"),
            {"way_out": "Leave out --key"},
        ),
        ("y.npy", FileError, "y.npy", "does not exist", {}),
        (".", FileError, "the ending of .", "must be one of", {"got": "none"}),
        (
            *("x.npy --plot p.txt", FileError, "the ending of a drawing"),
            *("must be one of png, pdf, svg, jpg", {"value": "p.txt"}),
        ),
        (
            *("x.npy -o p.png --plot ./p.png", ParameterError, "--plot"),
            *("must be a file of its own", {"got": "./p.png twice"}),
        ),
        (
            *("x.npy --plot x.npy --force", ParameterError, "--plot"),
            *("must be a file of its own", {"got": "x.npy twice"}),
        ),
        ("bad.npy", FileError, "bad.npy", DAMAGED, {}),
        ("bad.npy -o y.npy --plot p.png", FileError, "bad.npy", DAMAGED, {}),
        ("x.npy -o y.png --plot p.png", ShapeError, "a picture", "takes", {"where": ("y.png",)}),
    ],
)
def test_bad_input_is_one_line(lrn_error, x, words, kind, subject, rule, more):
    with open("bad.npy", "w") as stream:
        stream.write("no\narray")
    check_parts(lrn_error("apply", *words.split()), kind, subject, rule, **more)


def test_force_replaces(lrn, x):
    assert lrn("apply", "x.npy", "-o", "x.npy", "--force")[0] == 0
    assert np.array_equal(np.load("x.npy"), lrnorm.local_response_norm(x))


def test_plot_beside_the_rest(lrn, lrn_error, x):
    status, out, _ = lrn("apply", "x.npy", "-o", "y.npy", "--plot", "p.png")
    assert (status, out.splitlines()[-1]) == (0, "wrote p.png: the drawing")
    assert size("p.png") == (1800, 480)
    assert sorted(os.listdir()) == ["p.png", "x.npy", "y.npy"]
    error = lrn_error("apply", "x.npy", "--plot", "p.png")
    check_parts(error, FileError, "p.png", "exists", way_out="pass --force")
    assert lrn("apply", "x.npy", "--plot", "p.PDF")[0] == 0
    with open("p.PDF", "rb") as stream:
        assert stream.read(5) == b"%PDF-"


def test_missing_packages_are_named(lrn_error, x, monkeypatch):
    Image.new("L", (3, 3)).save("x.png")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    error, way_out = lrn_error("apply", "x.png"), "pip install 'lrnorm[cli]'."
    check_parts(error, MissingDependencyError, "a picture", "needs Pillow", way_out=way_out)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "lrnorm.plot")
    monkeypatch.delattr(lrnorm, "plot")
    for words in (["apply", "x.npy", "--plot", "p.png"], ["demo"]):
        error, way_out = lrn_error(*words), "pip install 'lrnorm[plot]'."
        check_parts(error, MissingDependencyError, "lrnorm.plot", "matplotlib", way_out=way_out)


def test_strange_names_are_printed_somehow(x):
    os.rename("x.npy", b"\xff\n.npy")
    done = shell(r"lrnorm apply $'\xff\n.npy'; lrnorm apply $'\xfe\n.npy'")
    assert done.stdout.startswith(r"\udcff") and "channels on axis 1" in done.stdout
    assert done.stderr == "lrnorm: \\udcfe .npy does not exist. Check its name and folder.\n"


# How it ends


def test_ctrl_c_is_130_and_leaves_nothing(x):
    code = (
        "import os, sys, time\nfrom lrnorm import files, cli\n"
        "def wait(*_, **__): print(os.listdir(), flush=True); time.sleep(60)\n"
        "files.applying.atomic.reserve = wait\n"
        "sys.exit(cli.main(['apply', 'x.npy', '-o', 'y.npy']))"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert "y.npy.partial" in run.stdout.readline()
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=20)
    assert run.returncode == 130
    assert err == "lrnorm: interrupted; no unfinished output is left.\n"
    assert os.listdir() == ["x.npy"]


def test_a_reader_that_goes_away_is_no_complaint(x):
    done = shell("(sleep 0.3; lrnorm apply x.npy; echo status $? >&2) | true")
    assert done.stderr == "status 141\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_output_is_one_line(x):
    done = shell("lrnorm apply x.npy > /dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith("lrnorm: the output cannot be written: ")
    assert done.stderr.count("\n") == 1


def test_out_of_memory_is_one_line(lrn, x, monkeypatch):
    def full(*_, **__):
        raise MemoryError("Unable to allocate 8 TiB")

    monkeypatch.setattr(applying, "local_response_norm", full)
    line = "lrnorm: not enough memory: Unable to allocate 8 TiB\n"
    assert lrn("apply", "x.npy") == (2, "", line)


# demo


def test_demo_draws_and_reports(lrn, lrn_error, monkeypatch):
    small = demo.photograph()[100:360, 150:360]
    monkeypatch.setattr(demo, "photograph", lambda: small)
    monkeypatch.setattr(demo, "LOUD", (228, 48))
    monkeypatch.setattr(demo, "QUIET", (51, 91))
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    status, out, err = lrn("demo")
    assert (status, err) == (0, "")
    heads = [line.split()[0] for line in out.splitlines()]
    assert heads == ["photograph", "filters", "layer", "time", "bandwidth", "PyTorch", "picture"]
    assert "96 = 3 sizes × 8 orientations × 4 phases" in out and "pip install torch" in out
    assert size("lrnorm-demo.png") == (1200, 840)
    error = lrn_error("demo")
    check_parts(error, FileError, "lrnorm-demo.png", "exists", way_out="pass --force")
    assert lrn("demo", "-o", "lrnorm-demo.png", "--force")[0] == 0


def test_demo_shows_why():
    """The claim of the picture: an edge hides the texture before, and not after."""
    x = demo.filter_bank(demo.photograph())
    assert x.shape == (96, 600, 512) and x.min() == 0
    assert np.sqrt(np.mean(x**2)) == pytest.approx(1, rel=1e-3)
    y = lrnorm.local_response_norm(x, **demo.NUMBERS)

    def strength(a, at):
        return np.sqrt(np.mean(a[(slice(None), *at)] ** 2))

    before = strength(x, demo.LOUD) / strength(x, demo.QUIET)
    after = strength(y, demo.LOUD) / strength(y, demo.QUIET)
    assert before > 12 and after < before / 4


def test_filters_answer_to_their_own_direction():
    stripes = np.tile(np.sin(np.arange(96) * 2 * np.pi / 8), (96, 1)).astype("float32")
    strength = demo.filter_bank(stripes)[:, 32:64, 32:64]  # whole waves
    strength = strength.mean(axis=(1, 2)).reshape(3, 8, 4)
    size, orientation = np.unravel_index(strength.sum(axis=2).argmax(), (3, 8))
    assert (demo.WAVELENGTHS[size], orientation) == (8, 0)
    assert strength[1, 4].max() < 1e-3 * strength[1, 0].max()
    np.testing.assert_allclose(strength[1, 0], strength[1, 0].mean(), rtol=0.01)


def test_demo_measures_against_torch_where_there_is_one(monkeypatch):
    def theirs(tensor, size, alpha, beta, k):
        calls.append((tensor.shape, size, alpha, beta, k))

    class Tensor(np.ndarray):
        def unsqueeze(self, axis):
            return np.expand_dims(self, axis)

    calls = []
    torch = types.SimpleNamespace(
        from_numpy=lambda a: a.view(Tensor),
        no_grad=contextlib.nullcontext,
        nn=types.SimpleNamespace(functional=types.SimpleNamespace(local_response_norm=theirs)),
    )
    monkeypatch.setattr(demo, "find_spec", lambda name: name == "torch")
    monkeypatch.setattr(demo, "import_module", lambda name: {"torch": torch}[name])
    spec = lrnorm.LRNSpec.from_keywords(**demo.NUMBERS)
    line = demo._against_torch(np.ones((96, 4, 5), "float32"), spec)
    assert "F.local_response_norm takes" in line and line.endswith("× faster")
    assert calls == [((1, 96, 4, 5), 33, 2.0, 0.5, 1.0)] * 2
