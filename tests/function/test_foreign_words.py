"""Words of other frameworks: the error says the same in ours, and what it says is right."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import KindError, LRNSpec

X = np.random.default_rng(0).normal(size=(5, 3, 4))
FUNCTIONS = ["local_response_norm", "local_response_norm_vjp", "local_response_norm_jvp"]


def refused(function: str, **words: Any) -> str:
    arrays = [X] if function == "local_response_norm" else [X, X]
    with pytest.raises(TypeError) as caught:
        getattr(lrnorm, function)(*arrays, **words)
    assert isinstance(caught.value, KindError)
    return str(caught.value)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("word", "value", "hint"),
    [
        (
            "size",
            5,
            "size is a width in PyTorch: here channel_window_size=2, "
            "or lrnorm.torch.local_response_norm(x, 5).",
        ),
        ("size", 4, "here channel_window_size=(2, 1), or lrnorm.torch.local_response_norm(x, 4)."),
        ("size", 1, "here spec=LRNSpec(…, before=0, after=0), or"),
        ("local_size", 4, "here channel_window_size=R, where local_size is 2R + 1."),
        ("size", "5", "here channel_window_size=R, where size is 2R + 1, or"),
        ("local_size", 7, "local_size is a width in Caffe: here channel_window_size=3."),
        ("nsize", 3, "nsize is a width in MXNet: here channel_window_size=1."),
        ("n", 5, "here channel_window_size=2 and alpha=alpha * 5."),
        ("n", 4, "here channel_window_size=2 and alpha=alpha * 5."),
        ("depth_radius", 5, "here channel_window_size=5 and alpha=alpha * 11."),
        ("depth_radius", 2, "which does not divide alpha by the window size: here channel_w"),
        (
            "depth_radius",
            "2",
            "channel_window_size=depth_radius and alpha=alpha * window size.",
        ),
        ("radius", 2, "radius is a radius in TFLite, which does not divide alpha by the window "),
        ("radius", 2, "here channel_window_size=2 and alpha=alpha * 5."),
        ("depthRadius", 3, "here channel_window_size=3 and alpha=alpha * 7."),
        ("axes", [2, 3], "axes is called axis: here axis=[2, 3]."),
        ("k", 2.0, "k is called bias: here bias=2.0."),
        ("knorm", 2, "knorm is called bias: here bias=2."),
        ("kappa", 1, "kappa is called bias: here bias=1."),
        ("Alpha", 2.0, "Alpha is Wolfram's spelling: here alpha=2.0."),
        ("Beta", 2.0, "here beta=2.0."),
        ("Bias", 2.0, "here bias=2.0."),
        ("ChannelWindowSize", 3, "here channel_window_size=3."),
        (
            "scale",
            0.2,
            "divided by the window size: here alpha=scale * window size.",
        ),
        ("before", 2, "is one end of the window: here channel_window_size=(BEFORE, AFTER)."),
        ("after", 2, "is one end of the window: here channel_window_size=(BEFORE, AFTER)."),
        ("dim", "time", "here axis=NUMBER, or lrnorm.xarray.local_response_norm(x, dim='time')."),
        ("channel_axis", -1, "channel_axis is called axis: here axis=-1."),
        (
            "data_format",
            "channels_last",
            "axis=-1 for channels last, 1 for (batch, channels, …).",
        ),
    ],
)
def test_each_is_understood(function: str, word: str, value: Any, hint: str) -> None:
    message = refused(function, **{word: value})
    assert message.startswith(f"{function}() has no argument {word!r}. {word} is ")
    assert hint in message


@pytest.mark.parametrize(
    ("function", "others"),
    [
        ("local_response_norm", ", dtype, out"),
        ("local_response_norm_vjp", ", parameters, out"),
        ("local_response_norm_jvp", ", out"),
    ],
)
def test_any_other_word_lists_ours(function: str, others: str) -> None:
    known = f"It takes alpha, beta, bias, channel_window_size, spec, axis{others}."
    for word in ("colour", "window"):
        assert refused(function, **{word: 1}).endswith(f"has no argument {word!r}. {known}")
    taken = re.search(r"It takes (.*)\.", known)
    assert taken is not None
    arrays = [X] if function == "local_response_norm" else [X, X]
    for word in taken[1].split(", "):  # each of them is one that it takes
        getattr(lrnorm, function)(*arrays, **{word: DEFAULTS[word]})


DEFAULTS: dict[str, Any] = {
    "alpha": 1.0,
    "beta": 0.5,
    "bias": 1.0,
    "channel_window_size": 2,
    "spec": None,
    "axis": None,
    "dtype": None,
    "out": None,
    "parameters": False,
}


@pytest.mark.parametrize(
    ("word", "value", "alpha", "meant"),
    [
        ("size", 5, 0.9, LRNSpec(0.9 / 5, 0.5, 1.0, 2, 2)),
        ("size", 6, 0.9, LRNSpec(0.9 / 6, 0.5, 1.0, 3, 2)),
        ("n", 5, 0.9, LRNSpec(0.9, 0.5, 1.0, 2, 2)),
        ("n", 6, 0.9, LRNSpec(0.9, 0.5, 1.0, 3, 3)),
        ("depth_radius", 1, 0.9, LRNSpec(0.9, 0.5, 1.0, 1, 1)),
    ],
)
def test_following_the_hint_gives_what_was_meant(
    word: str, value: int, alpha: float, meant: LRNSpec
) -> None:
    """By the table of conventions: whose alpha is divided, which way an even
    window leans."""
    hint = refused("local_response_norm", **{word: value})
    window = re.search(r"channel_window_size=(\d+|\(\d+, \d+\))", hint)
    assert window is not None
    factor = re.search(r"alpha=alpha \* (\d+)", hint)
    times = int(factor[1]) if factor else 1
    followed = LRNSpec.from_keywords(alpha * times, channel_window_size=eval(window[1]))
    assert followed.isclose(meant, rel_tol=1e-15)
