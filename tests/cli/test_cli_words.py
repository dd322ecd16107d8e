"""Words that the command does not have: the error says the same in options, and is right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import check_parts

import lrnorm
from lrnorm import ParameterError, ShapeError, cli, conventions, files


@pytest.fixture(autouse=True)
def saved(own_folder: Path, x: Any) -> None:
    np.save("x.npy", x)


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (
            "x.npy --size 5",
            "there is no --size: size is a width in PyTorch: here --channel-window-size 2, or "
            "--convention torch --set size=5",
        ),
        ("--size 5 x.npy", "here --channel-window-size 2, or --convention torch --set size=5"),
        ("x.npy --size=5", "here --channel-window-size 2, or --convention torch --set size=5"),
        ("x.npy size=5", "there is no size: size is a width in PyTorch: here --channel-window-s"),
        ("x.npy --size 4", "here --channel-window-size 2,1, or --convention torch --set size=4"),
        ("x.npy --size 1", "a width in PyTorch: here --convention torch --set size=1"),
        ("x.npy --size", "R, where size is 2R + 1, or --convention torch --set size=VALUE"),
        ("x.npy --local_size 7", "Caffe: here --channel-window-size 3, or --convention caffe --s"),
        ("x.npy --local-size 7", "there is no --local-size: local_size is a width in Caffe"),
        ("x.npy --nsize 3", "MXNet: here --channel-window-size 1, or --convention mxnet --set ns"),
        ("x.npy -n 5", "there is no -n: n is a width in the AlexNet paper, which does not divide"),
        ("x.npy --depth-radius 2", "depth_radius is a radius in TensorFlow, which does not divide"),
        ("x.npy --k 2.0", "k is called bias: here --bias 2.0"),
        ("x.npy -k -1.5", "k is called bias: here --bias -1.5"),
        ("x.npy --knorm 2", "knorm is called bias: here --bias 2"),
        ("x.npy --kappa 1", "kappa is called bias: here --bias 1"),
        (
            "x.npy --scale 0.2",
            "divided by the window size: here --alpha scale * window size",
        ),
        (
            "x.npy --before 2",
            "here --channel-window-size BEFORE,AFTER",
        ),
        (
            "x.npy --after 2",
            "here --channel-window-size BEFORE,AFTER",
        ),
        ("x.npy --dim time", "dim is a dimension by its name: here --axis NUMBER"),
        ("x.npy --channel-axis 1", "channel_axis is called axis: here --axis 1"),
        (
            "x.npy --data-format NHWC",
            "--axis -1 for channels last, 1 for (batch, channels, …)",
        ),
        ("x.npy --channel_window_size 2", "write --channel-window-size 2"),
        ("x.npy --ChannelWindowSize 2", "write --channel-window-size 2"),
        ("x.npy --Alpha 2", "write --alpha 2"),
        ("x.npy --colour 5", "unrecognized arguments: --colour 5"),
        ("x.npy more", "unrecognized arguments: more"),
    ],
)
def test_each_is_understood(lrn_error: Any, words: str, rule: str) -> None:
    error = lrn_error("apply", *shlex.split(words))
    check_parts(error, ParameterError, "", rule, way_out="See lrnorm apply --help")


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [
        ("torch", "size", 5),
        ("torch", "size", 4),
        ("caffe", "local_size", 3),
        ("mxnet", "nsize", 7),
        ("alexnet_paper", "n", 4),
        ("tensorflow", "depth_radius", 1),
    ],
)
def test_following_the_hint_gives_what_was_meant(
    lrn_error: Any, x: Any, name: str, word: str, value: int
) -> None:
    hint = lrn_error("apply", "x.npy", f"--{word}", value).rule
    spec = conventions.read(name, **{word: value})
    as_there = re.search(r"--convention .*", hint)
    assert as_there is not None
    assert cli.main(["apply", "x.npy", "-o", "y.npy", *as_there[0].split()]) == 0
    axis = -1 if name == "tensorflow" else 1  # the convention's own
    expected = lrnorm.local_response_norm(x, spec=spec, axis=axis)
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    if window := re.search(r"--channel-window-size ([\d,]+\d)|--channel-window-size (\d)", hint):
        ends = [int(end) for end in (window[1] or window[2]).split(",")]
        assert [spec.before, spec.after] == (ends * 2)[:2]


def test_advice_for_python_is_given_in_options(
    lrn_error: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("row.npy", np.arange(5.0))
    way_out = "Pass the axis of the channels, for example --axis -1, or"
    check_parts(lrn_error("apply", "row.npy"), ShapeError, "axis", way_out=way_out)
    assert cli.main(["apply", "row.npy", "--axis", "-1"]) == 0
    capsys.readouterr()
    error, way_out = (
        lrn_error("apply", "x.npy", "--channel-window-size", "0,0"),
        "torch --set size=1",
    )
    check_parts(error, ParameterError, "channel_window_size", value=(0, 0), way_out=way_out)
    spec = conventions.read("torch", size=1)
    assert (spec.before, spec.after) == (0, 0)


@pytest.mark.parametrize(("name", "axis"), [("tf", -1), ("caffe", -3), ("matlab", 2)])
def test_a_convention_brings_its_axis(
    x: Any, capsys: pytest.CaptureFixture[str], name: str, axis: int
) -> None:
    assert cli.main(["apply", "x.npy", "-o", "y.npy", "--convention", name]) == 0
    assert f"along axis {axis}, where {name} has the channels" in capsys.readouterr().out
    spec = conventions.read(name)
    expected = lrnorm.local_response_norm(x, spec=spec, axis=axis)
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    assert cli.main(["apply", "x.npy", "-o", "z.npy", "--convention", name, "--axis", "3"]) == 0
    assert "where" not in capsys.readouterr().out
    expected = lrnorm.local_response_norm(x, spec=spec, axis=3)
    np.testing.assert_array_equal(np.load("z.npy"), expected)


def test_pictures_are_channels_first_in_every_convention(
    capsys: pytest.CaptureFixture[str],
) -> None:
    files.write("x.png", np.random.default_rng(0).random((3, 5, 4)))
    assert cli.main(["apply", "x.png", "-o", "y.npy", "--convention", "tf"]) == 0
    assert "along axis" not in capsys.readouterr().out
    expected = lrnorm.local_response_norm(files.read("x.png"), spec=conventions.read("tf"))
    np.testing.assert_array_equal(np.load("y.npy"), expected)
