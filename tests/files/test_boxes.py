"""Windows over several axes in files: in pieces to the values of one call."""

import numpy as np
import pytest
from on_disk import stored
from tolerances import assert_close

import lrnorm
from lrnorm import cli, files
from lrnorm.files import chunked

pytestmark = pytest.mark.usefixtures("own_folder")

OPTIONS = [
    ("2,3", "1", {"axis": (2, 3), "channel_window_size": 1}),
    ("-1,-2", "2,0", {"axis": (-1, -2), "channel_window_size": (2, 0)}),
    ("1,3", "1/2,0", {"axis": (1, 3), "channel_window_size": [1, (2, 0)]}),
    ("1", "2", {"axis": 1, "channel_window_size": 2}),
]


def check(y, expected, axis):
    """To the bit along one axis. The sums of a box may be rounded in another order."""
    if "," not in axis:
        np.testing.assert_array_equal(y, expected)
    assert_close(y, expected, "steep forward")


@pytest.mark.parametrize(("axis", "window", "keywords"), OPTIONS)
@pytest.mark.parametrize("ending", [".npy", ".wxf"])
def test_options_of_a_box(monkeypatch, x, ending, axis, window, keywords):
    monkeypatch.setattr(chunked, "PIECE", 100)
    files.write(f"x{ending}", x)
    words = ["--axis", axis, "--channel-window-size", window, "--beta", "0.75"]
    assert cli.main(["apply", f"x{ending}", "-o", f"y{ending}", *words]) == 0
    check(files.read(f"y{ending}"), lrnorm.local_response_norm(x, beta=0.75, **keywords), axis)


@pytest.mark.parametrize("largest", [200, 10**9])
@pytest.mark.parametrize(("axis", "window", "keywords"), OPTIONS)
def test_chunks_along_the_axes_of_a_box(monkeypatch, x, largest, axis, window, keywords):
    monkeypatch.setattr(chunked, "LARGEST", largest)
    stored("x.zarr", x, chunks=(1, 5, 4, 3))
    files.apply("x.zarr", "y.zarr", **keywords)
    check(files.read("y.zarr"), lrnorm.local_response_norm(x, **keywords), axis)


def test_the_table_names_the_axes(capsys, x):
    np.save("x.npy", x)
    assert cli.main(["apply", "x.npy", "--axis", "2,3"]) == 0
    assert "x.npy, a box over axes (2, 3), " in capsys.readouterr().out
    assert cli.main(["apply", "x.npy", "--axis", "2,2"]) == 2
    assert "--axis 2,3" in capsys.readouterr().err
