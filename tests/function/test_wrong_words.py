"""What a call does not take, beyond the words of the function: what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import KindError

X = np.random.default_rng(0).normal(size=(5, 3, 4))
LAYER = lrnorm.LocalResponseNormalizationLayer(alpha=0.7)


def refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(KindError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize(
    ("verb", "known"), [("vjp", "x, grad_output"), ("jvp", "x, tangent")], ids=["vjp", "jvp"]
)
@pytest.mark.parametrize(
    ("word", "value", "hint"),
    [
        ("target_device", "CPU", "It belongs to an evaluation: layer(x, target_device='CPU')"),
        ("TargetDevice", "GPU", "It belongs to an evaluation: layer(x, target_device='GPU')"),
        ("alpha", 2.0, "It is fixed when the layer is made: layer.replace(alpha=2.0)"),
        (
            "axis",
            1,
            "The channels of a layer come first. For others: lrnorm.local_response_norm(x, a",
        ),
        ("colour", 1, "It takes {known}"),
    ],
)
def test_derivatives_of_a_layer(verb: str, known: str, word: str, value: Any, hint: str) -> None:
    with pytest.raises(KindError) as caught:
        getattr(LAYER, verb)(X, X, **{word: value})
    said = str(caught.value)
    assert said.startswith(f"layer.{verb}() has no argument {word!r}")
    assert hint.format(known=known) in said
    named = {"vjp": "grad_output", "jvp": "tangent"}[verb]  # and its own words are its own
    result = getattr(LAYER, verb)(X, **{named: X})
    np.testing.assert_array_equal(result, getattr(LAYER, verb)(X, X))


@pytest.mark.parametrize(
    ("word", "value", "hint"),
    [
        (
            "channel_window_size",
            2,
            "channel_window_size is a radius: here size=5",
        ),
        (
            "channel_window_size",
            (2, 1),
            "channel_window_size is a radius: here size=4",
        ),
        (
            "channel_window_size",
            (1, 2),
            "channel_window_size is a parameter of lrnorm.local_response_norm(x, "
            "channel_window_size=…), which takes tensors",
        ),
        ("local_size", 3, "local_size is a width in Caffe: here size=3"),
        (
            "depth_radius",
            2,
            "depth_radius is a radius in TensorFlow, which does not divide alpha by the window "
            "size: here size=5 and alpha=alpha * 5",
        ),
        ("bias", 2.0, "bias is called k in PyTorch: here k=2.0"),
        (
            "axes",
            (2,),
            "axes is called axis: lrnorm.local_response_norm(x, axis=(2,)) takes tensors",
        ),
        *(
            (
                word,
                None,
                f"{word} is a parameter of lrnorm.local_response_norm(x, {word}=…), which takes "
                "tensors",
            )
            for word in ("spec", "axis", "dtype", "out")
        ),
        ("colour", 1, "It takes {known}"),
    ],
)
def test_pytorchs_words_are_the_only_ones_of_its_front(word: str, value: Any, hint: str) -> None:
    torch = pytest.importorskip("torch")
    ours: Any = lrnorm.torch
    x = torch.from_numpy(X)
    for name, known, call in (
        (
            "local_response_norm",
            "input, size, alpha, beta, k",
            lambda **w: ours.local_response_norm(x, 5, **w),
        ),
        (
            "LocalResponseNorm",
            "size, alpha, beta, k, learnable",
            lambda **w: ours.LocalResponseNorm(5, **w),
        ),
    ):
        said = f"lrnorm.torch.{name}() has no argument {word!r}. {hint.format(known=known)}."
        refused(lambda call=call: call(**{word: value}), said)


def test_following_those_hints_gives_what_was_meant() -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X)
    meant = lrnorm.local_response_norm(x, alpha=0.7, beta=0.6, bias=1.3, axis=1)
    theirs: Any = lrnorm.torch
    torch.testing.assert_close(
        theirs.local_response_norm(x, size=5, alpha=0.7, beta=0.6, k=1.3), meant
    )


@pytest.mark.parametrize(
    "given", [X, [1.0, 2.0], 3, None, b"x.npy"], ids=lambda x: type(x).__name__
)
def test_a_file_is_given_by_its_name(given: Any) -> None:
    kind = f"{type(given).__module__}.{type(given).__qualname__}"
    files = lrnorm.files
    for name, call in {
        "source": [
            lambda: files.apply(given, "y.npy"),
            lambda: files.summarize(given),
            lambda: files.first(given),
        ],
        "target": [lambda: files.apply("x.npy", given)],
        "path": [
            lambda: files.read(given),
            lambda: files.write(given, X),
            lambda: files.writing(given).__enter__(),
        ],
    }.items():
        for each in call:
            refused(
                each,
                f"{name} must be the name of a file, such as 'x.npy', got {kind}. An array goes to "
                "lrnorm.local_response_norm(x, …), and to lrnorm.files.write(path, x).",
            )


def test_a_path_is_a_name(own_folder: Path) -> None:
    lrnorm.files.write(own_folder / "x.npy", X)
    lrnorm.files.apply(own_folder / "x.npy", own_folder / "y.npy")
    assert np.array_equal(lrnorm.files.read("y.npy"), lrnorm.local_response_norm(X))


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("target_device", "It belongs to an evaluation: net(x, target_device=1)"),
        ("input", "It is fixed when the net is made: net.replace(input=1)"),
        ("colour", "It takes x, grad_output"),
    ],
)
def test_gradients_of_a_net(word: str, hint: str) -> None:
    net = lrnorm.NetChain([LAYER, LAYER])
    with pytest.raises(KindError) as caught:
        net.vjp(X, **{word: 1})
    said = str(caught.value)
    assert said.startswith(f"net.vjp() has no argument {word!r}")
    assert hint in said
