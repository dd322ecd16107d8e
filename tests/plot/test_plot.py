"""lrnorm.plot: the right numbers, on the Axes given, and nothing else changed."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

import lrnorm
from lrnorm import plot

SPEC = lrnorm.LRNSpec(0.5, 0.75, 2.0, 2, 1)


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(autouse=True)
def _leave_pyplot_clean():
    yield
    pyplot.close("all")


@pytest.fixture
def x():
    return np.random.default_rng(3).normal(size=(7, 4, 5))


def heights(ax, label):
    [bars] = [c for c in ax.containers if c.get_label() == label]
    return [bar.get_height() for bar in bars]


DRAWINGS = [
    lambda x, **k: plot.channels(x, SPEC, (1, 2), **k),
    lambda x, **k: plot.response(SPEC, **k),
    lambda x, **k: plot.compare(x, x / 2, **k),
]


@pytest.mark.parametrize("draw", DRAWINGS)
def test_draws_where_told_and_touches_nothing_else(x, ax, draw, monkeypatch):
    monkeypatch.setattr(pyplot, "show", lambda *_, **__: pytest.fail("shown"))
    settings = dict(matplotlib.rcParams)
    kept = x.copy()
    assert draw(x, ax=ax) is ax
    assert pyplot.get_fignums() == []
    own = draw(x)
    assert isinstance(own, matplotlib.axes.Axes) and own.figure is not draw(x).figure
    assert dict(matplotlib.rcParams) == settings and np.array_equal(x, kept)


def test_channels_before_and_after(x, ax):
    plot.channels(x, SPEC, at=(3, -1), ax=ax)
    y = lrnorm.local_response_norm(x, spec=SPEC)
    np.testing.assert_allclose(heights(ax, "before"), x[:, 3, 4])
    np.testing.assert_allclose(heights(ax, "after"), y[:, 3, 4])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("channel", "value")
    assert ax.get_title() == "The channels at (3, 4)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["before", "after"]


def test_channels_finds_the_pixel_of_most_energy(x, ax):
    x[2, 1, 3] = np.nan  # counts as none
    x[5, 3, 0] = -9
    plot.channels(x, SPEC, ax=ax)
    assert ax.get_title() == "The channels at (3, 0)"


@pytest.mark.parametrize(
    ("shape", "axis", "at"), [((6,), 0, ()), ((4, 6), -1, (2,)), ((2, 6, 3, 4), None, (1, 2, 0))]
)
def test_channels_of_any_rank(ax, shape, axis, at):
    x = np.arange(np.prod(shape)).reshape(shape)
    plot.channels(x, SPEC, at, axis=axis, ax=ax)
    line = np.moveaxis(x, 1 if axis is None else axis, 0)[(slice(None), *at)]
    assert heights(ax, "before") == line.tolist()


@pytest.mark.parametrize("at", [(4, 0), (0, -6), (1,), (1, 2, 3), 2, (1, 1.5)])
def test_channels_refuses_a_pixel_that_is_none(x, at):
    with pytest.raises(
        lrnorm.ShapeError, match=r"at must be an index into \(4, 5\).*\(row, column\)"
    ):
        plot.channels(x, SPEC, at)
    with pytest.raises(lrnorm.ShapeError, match="without entries cannot be drawn"):
        plot.channels(x[:, :0], SPEC)


@pytest.mark.parametrize("draw", [lambda s: plot.response(s), lambda s: plot.channels([[[1]]], s)])
def test_a_spec_is_asked_for(draw):
    with pytest.raises(TypeError, match=r"spec must be an LRNSpec, got 2\. LRNSpec\.from_keywords"):
        draw(2)


def test_response_is_the_formula(ax):
    spec = lrnorm.LRNSpec(0.5, 0.75, 2.0, 2, 1)  # leaves the straight line at x = 2
    plot.response(spec, ax=ax)
    assert ax.get_xlim() == (0, 8)
    lines = {float(line.get_label()): line for line in ax.get_lines()}
    assert list(lines) == [0, 16, 64, 260]
    for energy, line in lines.items():
        x, y = line.get_data()
        np.testing.assert_allclose(y, x * (2 + 0.5 * (x**2 + energy)) ** -0.75)
    top = max(line.get_ydata().max() for line in lines.values())
    assert ax.get_ylim()[1] > 1.25 * top, "the legend stands above the curves"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input x", "output y")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "numbers", [(0, 1, 1), (1, 1, 0), (-1, 0.5, 1), (1, -2, 1), (1e-4, 0.75, 1)]
)
def test_response_of_every_spec_can_be_drawn(ax, numbers):
    plot.response(lrnorm.LRNSpec(*numbers, 2, 2), ax=ax)
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("channels", "words"), [(1, ""), (3, ""), (7, "root mean square of 7 channels")]
)
def test_compare_shows_each_at_its_own_brightest(ax, channels, words):
    x = np.random.default_rng(0).random((channels, 6, 30))
    y = 5 * np.flip(x, axis=2)
    plot.compare(x, y, ax=ax)
    [image] = ax.get_images()
    frame = image.get_array()
    left, right = frame[:, :30], frame[:, 31:]
    expected = {1: x[0], 3: np.moveaxis(x, 0, -1)}.get(channels, np.sqrt((x**2).mean(axis=0)))
    np.testing.assert_allclose(left, expected / expected.max())
    np.testing.assert_allclose(right, np.flip(left, axis=1))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["before", "after"]
    assert ax.get_title() == "Each at its own brightest" and ax.get_xlabel() == words


@pytest.mark.filterwarnings("error")
def test_compare_survives_black_and_nan(ax):
    x = np.zeros((5, 4, 4))
    y = x.copy()
    y[0, 0, 0], y[1, 1, 1] = np.nan, 2
    plot.compare(x, y, ax=ax)
    frame = ax.get_images()[0].get_array()
    assert not frame[:, :4].any() and frame[:, 5:].sum() == 1


@pytest.mark.parametrize(
    "shapes", [((3, 4), (3, 4)), ((3, 4, 5), (3, 4, 6)), ((3, 0, 4), (3, 0, 4))]
)
def test_compare_refuses_what_is_no_pair_of_pictures(shapes):
    with pytest.raises(lrnorm.ShapeError, match=r"of one shape.*pass one item, x\[0\] and y\[0\]"):
        plot.compare(*map(np.ones, shapes))


def test_overview_draws_a_part_of_what_is_large(monkeypatch):
    monkeypatch.setattr(plot, "LARGEST", 4)
    x = np.zeros((2, 3, 9, 12))
    x[0, :, 6, 9] = 1
    picture, pixel, law = plot.overview(x, SPEC).axes
    assert picture.get_images()[0].get_array().shape == (3, 4 + 1 + 4, 3)
    assert pixel.get_title() == "The channels at (6, 9)"
    assert law.get_xlabel() == "input x"
    assert len(plot.overview(np.ones((4, 2)), SPEC, axis=0).axes) == 2
    assert pyplot.get_fignums() == []


def test_before_and_after_are_told_apart_without_colour():
    def lightness(colour):
        return np.dot(matplotlib.colors.to_rgb(colour), [0.2126, 0.7152, 0.0722])

    assert abs(lightness(plot.BEFORE) - lightness(plot.AFTER)) > 0.2


WITHOUT = """
sys.modules["matplotlib"] = None
import lrnorm
try:
    lrnorm.plot
except ImportError as error:
    print(type(error).__name__, error)
"""
UNKNOWN = """
import lrnorm
try:
    lrnorm.nothing
except AttributeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("code", "output"),
    [
        (
            "import lrnorm; print('matplotlib' in sys.modules, 'lrnorm.files' in sys.modules)",
            "False False",
        ),
        ("import lrnorm; lrnorm.plot; print('matplotlib' in sys.modules)", "True"),
        ("import lrnorm; lrnorm.plot; print('matplotlib.pyplot' in sys.modules)", "False"),
        ("import lrnorm; print(lrnorm.files.__name__, 'plot' in dir(lrnorm))", "lrnorm.files True"),
        (
            WITHOUT,
            "MissingDependencyError lrnorm.plot needs matplotlib. Run pip install 'lrnorm[plot]'.",
        ),
        (UNKNOWN, "module 'lrnorm' has no attribute 'nothing'"),
    ],
)
def test_loaded_on_first_use(code, output):
    words = [sys.executable, "-c", "import sys\n" + code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == output
