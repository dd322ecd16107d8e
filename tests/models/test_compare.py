"""Two files side by side: which LRNs belong together, what differs, which mistake explains it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import model_files
import pytest
from refusals import refused

from lrnorm import KindError, LRNSpec, conventions, models
from lrnorm.models.found import lrn


def prototxt(name: str = "norm1", **words: Any) -> str:
    given = " ".join(f"{key}: {value}" for key, value in words.items())
    return f'layer {{ name: "{name}" type: "LRN" lrn_param {{ {given} }} }}\n'


def found(convention: str, name: str = "norm1", axis: Any = 1, **words: Any) -> models.Found:
    return lrn(name, convention, {**defaults(convention), **words}, axis)


def defaults(convention: str) -> dict[str, Any]:
    return dict(conventions.describe(convention).defaults)


def codes(first: models.Found, second: models.Found) -> list[str]:
    [difference] = models.compare([first], [second])
    return [mistake.code for mistake in difference.mistakes]


CAFFE = {"local_size": 5, "alpha": 1e-4, "k": 2.0}
OPENFACE = found("torch7", size=5)  # SpatialCrossMapLRN(5, 1e-4, .75)
INCEPTION = found("tensorflow", depth_radius=5, alpha=1e-4, bias=2.0)

# Mistakes in packages that people install: what the original has, what was made of it.
PACKAGES = {
    "deepface": (
        OPENFACE,
        found("tensorflow", depth_radius=5, alpha=1e-4, beta=0.75),
        ["width_read_as_radius", "alpha_not_divided"],
    ),
    "torch-lucent": (
        INCEPTION,
        found("torch", size=9, alpha=1e-4, beta=0.5),
        ["width_two_short", "alpha_not_multiplied", "bias_dropped"],
    ),
    "X2Paddle": (
        found("caffe", **CAFFE),
        found("paddle", size=5, alpha=2e-5, k=2.0),
        ["alpha_divided_twice"],
    ),
    "caffe-onnx": (
        found("caffe", **CAFFE),
        found("onnx", size=5, alpha=1e-4),
        ["bias_dropped"],
    ),
    "OpenVINO's frontend for TensorFlow, radius 5": (
        found("tensorflow", depth_radius=5, alpha=0.5),
        found("openvino", size=9, alpha=4.5, axes=[1]),
        ["width_two_short"],
    ),
    "OpenVINO's frontend for TensorFlow, radius 1": (
        found("tensorflow", depth_radius=1, alpha=0.5),
        found("openvino", size=1, alpha=0.5, axes=[1]),
        ["width_two_short"],
    ),
    "MMdnn": (
        found("tensorflow", depth_radius=5, alpha=2e-5, beta=0.75),
        found("onnx", size=6, alpha=1.2e-4),
        ["radius_plus_one"],
    ),
    "tf2onnx of old": (
        found("tensorflow", depth_radius=5, alpha=2e-5, beta=0.75),
        found("onnx", size=5, alpha=1e-4),
        ["radius_read_as_width"],
    ),
    "OpenVINO's Model Optimizer of old": (
        found("caffe", **CAFFE),
        found("openvino", size=5, alpha=1e-4, beta=0.75, axes=[1]),
        ["bias_dropped"],
    ),
    "ONNX Runtime on WebNN": (
        lrn("n", "onnx", {"size": 4, "alpha": 1.0, "beta": 0.75, "bias": 1.0}, 1),
        lrn("n", "openvino", {"size": 4, "alpha": 1.0, "beta": 0.75, "bias": 1.0}, 1),
        ["term_dropped"],
    ),
    "Wolfram's importer of Torch7": (
        OPENFACE,
        found("wolfram", channel_window_size=3, alpha=1e-4 / 5, beta=0.75),
        ["half_rounded_up", "alpha_divided_twice"],
    ),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_mistakes_of_packages(package: str) -> None:
    original, made, expected = PACKAGES[package]
    assert codes(original, made) == expected


def test_which_framework_divides_is_said() -> None:
    """depth_radius 2, alpha 1e-4 of TensorFlow became size 5, alpha 1e-4 of ONNX."""
    [difference] = models.compare(
        [found("tensorflow", depth_radius=2, alpha=1e-4, beta=0.75)],
        [found("onnx", size=5, alpha=1e-4)],
    )
    [cause] = difference.mistakes
    assert cause.code == "alpha_not_multiplied"
    assert "TensorFlow does not divide alpha and ONNX does" in cause.text
    assert cause.text.endswith("alpha had to be multiplied by the width of the window, 5")


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (found("onnx", size=5, alpha=2e-5, bias=2.0), ["alpha_divided_twice"]),
        (found("onnx", size=5, alpha=5e-4, bias=2.0), ["alpha_not_divided"]),
        (found("onnx", size=5, alpha=1e-4), ["bias_dropped"]),
        (found("onnx", size=11, alpha=1e-4, bias=2.0), ["width_read_as_radius"]),
        (
            found("tensorflow", depth_radius=2, alpha=1e-4, beta=0.75, bias=2.0),
            ["alpha_not_divided"],
        ),
        (
            found("tensorflow", depth_radius=2, bias=2.0),
            ["alpha_default", "beta_default"],
        ),
        (found("onnx", size=5, alpha=1e-4, beta=0.5, bias=2.0), ["beta_default"]),
    ],
)
def test_what_became_of_a_net_of_caffe(save: Any, second: models.Found, expected: Any) -> None:
    path = save("deploy.prototxt", prototxt(**CAFFE))
    [difference] = models.compare(path, [second])
    assert [mistake.code for mistake in difference.mistakes] == expected


def test_defaults_of_other_frameworks_are_named() -> None:
    first = found("caffe", **CAFFE, beta=0.6)
    text = (
        models.compare([first], [found("onnx", size=5, alpha=1e-4, bias=2.0)])[0].mistakes[0].text
    )
    assert text == "beta 0.75 is the default of ONNX: the number of the first model was left out"
    first = found("onnx", size=5)
    second = found("onnx", size=5, bias=2.0)
    text = models.compare([first], [second])[0].mistakes[0].text
    assert text.startswith("bias 2 is the default of AlexNet's paper, Chainer, ")


def test_a_dropped_region(save: Any) -> None:
    within = save("deploy.prototxt", prototxt(local_size=3, norm_region="WITHIN_CHANNEL"))
    [difference] = models.compare(within, [found("onnx", size=3, alpha=1.0)])
    assert [mistake.code for mistake in difference.mistakes] == ["region_dropped"]
    [back] = models.compare([found("onnx", size=3, alpha=1.0)], within)
    assert [mistake.code for mistake in back.mistakes] == ["region_added"]


def test_the_same_numbers_in_other_words_are_no_difference(save: Any) -> None:
    first = save("deploy.prototxt", prototxt(local_size=5, alpha=1e-4))
    second = save("net.param", "7767517\n1 2\nLRN norm1 1 1 a b 2=1e-4\n")
    third = save("net.t7", model_files.torch7(size=5))
    assert models.compare(first, second) == models.compare(first, third) == []
    assert models.compare(LRNSpec(2e-5, 0.75, 1.0, 2, 2), second) == []


# Which belong together


def named(*names: str) -> list[models.Found]:
    """LRNs of these names, each with a window of its own."""
    return [found("onnx", name, size=3 + 2 * i) for i, name in enumerate(names)]


def test_names_come_first() -> None:
    first = named("a", "b")
    assert models.compare(first, first[::-1]) == []


@pytest.mark.parametrize("others", [("x/a", "x/b"), ("x.A:0", "x.B:0"), ("a_cast_fp16", "b")])
def test_names_that_end_alike_come_next(others: Any) -> None:
    first, second = named("a", "b"), named(*others)
    assert models.compare(first, second[::-1]) == []


def test_the_rest_goes_by_order_and_numbers() -> None:
    first, second = named("a", "b", "c"), named("x", "y", "z")
    assert models.compare(first, second) == []
    [missing] = models.compare(first, second[1:])
    assert (missing.name, missing.found) == ("a", None)
    assert missing.mistakes[0].text == "there is no such LRN in the other model"
    [extra] = models.compare(first[1:], second)
    assert (extra.name, extra.expected) == ("x", None)


def test_several_of_one_name_pair_in_order() -> None:
    pair = [found("onnx", "n", size=3), found("onnx", "n", size=5)]
    assert models.compare(pair, pair) == []


def test_many_lrns_are_paired_in_time() -> None:
    first = [found("onnx", f"a{i}", size=3) for i in range(3000)]
    second = [found("onnx", f"b{i}", size=3) for i in range(3000)]
    assert models.compare(first, second) == []


def test_what_cannot_be_read_is_not_compared() -> None:
    hidden = models.Found("norm1", None, {}, None)
    [difference] = models.compare([hidden], [found("onnx", size=5)])
    assert [mistake.code for mistake in difference.mistakes] == ["not_readable"]


@pytest.mark.parametrize("side", [5, None, ["a.onnx"]])
def test_a_side_of_another_kind_is_refused(side: Any) -> None:
    rule, got = "must be a path or the result of find", type(side).__name__
    with refused(KindError, "a side of compare", rule, got=got):
        models.compare([], side)


def test_how_a_difference_prints(save: Any) -> None:
    first = save("a.prototxt", prototxt(local_size=5, alpha=1e-4, k=2))
    second = save("b.prototxt", prototxt(local_size=5, alpha=2e-5))
    assert str(models.compare(first, second)[0]) == (
        "norm1: scale 2e-05 expected, 4e-06 found; bias 2 expected, 1 found\n"
        "  because: alpha was divided by the size twice\n"
        "  because: the bias (k) 2 was dropped: 1 is the default"
    )


DEPLOY = {"local_size": 5, "alpha": 0.9, "beta": 0.6, "k": 2.0}
ONNX = {"size": 5, "alpha": 0.9, "beta": 0.6, "bias": 2.0}
WITHIN = {"local_size": 5, "alpha": 0.9, "beta": 0.6, "norm_region": "WITHIN_CHANNEL"}
WRONG = {
    "alpha divided twice": (DEPLOY, {"alpha": 0.18}, ["alpha was divided by the size twice"]),
    "alpha not divided": (DEPLOY, {"alpha": 4.5}, ["alpha was not divided by the size"]),
    "k dropped": (DEPLOY, {"bias": 1.0}, ["the bias (k) 2 was dropped: 1 is the default"]),
    "width taken for radius": (DEPLOY, {"size": 11}, ["the width 5 was read as a radius"]),
    "radius taken for width": (DEPLOY, {"size": 2}, ["the radius 2 was read as a width"]),
    "region dropped": (
        WITHIN,
        {"bias": 1.0},
        ["the region was dropped: the window runs over channels in place of height and width"],
    ),
    "defaults of the other framework": (
        DEPLOY,
        {"alpha": None, "beta": None, "bias": None},
        [
            "alpha 0.0001 is the default of ONNX",
            "beta 0.75 is the default of ONNX",
            "the bias (k) 2 was dropped: 1 is the default",
        ],
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_the_command_names_each_mistake_of_a_conversion_to_onnx(
    mistake: str, save: Any, capsys: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """lrnorm inspect deploy.prototxt wrong.onnx, and no difference beside the right one."""
    onnx = pytest.importorskip("onnx")
    from lrnorm import cli

    monkeypatch.chdir(tmp_path)
    original, changes, causes = WRONG[mistake]
    save("deploy.prototxt", prototxt(**original))
    words = {**ONNX, **changes}
    kept = {word: value for word, value in words.items() if value is not None}
    node = onnx.helper.make_node("LRN", ["x"], ["y"], name="norm1", **kept)
    ports = [onnx.helper.make_tensor_value_info(name, 1, (1, 96, 5, 4)) for name in "xy"]
    graph = onnx.helper.make_graph([node], "net", ports[:1], ports[1:])
    onnx.save(onnx.helper.make_model(graph), "wrong.onnx")
    assert cli.main(["inspect", "deploy.prototxt", "wrong.onnx", "--strict"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    named = [line for line in out.splitlines() if line.startswith("    because: ")]
    assert len(named) == len(causes)
    for line, cause in zip(named, causes, strict=True):
        assert cause in line


def test_the_command_compares_any_two_formats(
    save: Any, capsys: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    from lrnorm import cli

    monkeypatch.chdir(tmp_path)
    save("deploy.prototxt", prototxt(local_size=5, alpha=1e-4))
    save("net.param", "7767517\n1 2\nLRN norm1 1 1 a b 2=5e-4\n")
    assert cli.main(["inspect", "deploy.prototxt", "net.param", "--strict"]) == 1
    out = capsys.readouterr().out
    assert "in Caffe's words: local_size 5  alpha 0.0001" in out
    assert "    because: alpha was not divided by the size" in out
