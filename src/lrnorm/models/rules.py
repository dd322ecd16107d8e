"""Warnings that follow from the numbers of an LRN alone: one function for each rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lrnorm.conventions.measures import Row
from lrnorm.conventions.table import ROWS
from lrnorm.models.found import NOTE, Found, Remark

USUAL_ALPHAS = (1e-4, 5e-4, 1.0)  # AlexNet and GoogLeNet; ZFNet; Caffe's and Wolfram's default
_WIDEST = {"TensorRT": 15, "cuDNN": 16}
_ONNX_TYPES = {
    "float64": "ONNX Runtime has no LRN of this type, and refuses the model on the CPU",
    "bfloat16": "ONNX Runtime has no LRN of this type on the CPU",
    "float16": "ONNX Runtime computes it in float32 on the CPU, others in 16 bits",
}


@dataclass(frozen=True)
class Seen:
    """An LRN whose numbers are known, with the row of its convention."""

    found: Found
    row: Row | None

    @property
    def width(self) -> int | None:
        """Of the window along one axis; None for one that reaches to the end."""
        spec = self.found.spec
        if spec is None or not isinstance(spec.before, int) or not isinstance(spec.after, int):
            return None
        return spec.before + spec.after + 1

    @property
    def size(self) -> tuple[str, int] | None:
        """The parameter that is a width, and its value."""
        if self.row is None:
            return None
        word = self.row.words[0]
        value = self.found.words.get(word)
        if type(value) is not int or self.width is None:
            return None
        return (word, value) if self.row.measure.width(value) == value else None

    @property
    def is_onnx(self) -> bool:
        return self.found.convention == "onnx"


Rule = Callable[[Seen], Iterator[Remark]]


def remarked(found: Found) -> Found:
    """The same with the remarks of every rule."""
    seen = Seen(found, ROWS.get(found.convention or ""))
    if found.spec is None:
        return found
    remarks = tuple(remark for rule in RULES for remark in rule(seen))
    return replace(found, remarks=(*found.remarks, *remarks))


def _even(seen: Seen) -> Iterator[Remark]:
    """An even window, which frameworks place in different ways."""
    if seen.size is not None and seen.size[1] % 2 == 0:
        word, size = seen.size
        yield Remark(
            "even_window",
            f"{word} {size} is even: ONNX has {size // 2 - 1} before and {size // 2} after, "
            f"PyTorch the other way round, OpenVINO {size // 2 - 1} on both sides, and ONNX "
            "Runtime refuses it on the CPU",
        )


def _wide(seen: Seen) -> Iterator[Remark]:
    """A window beyond the limit of a runtime."""
    width = seen.width or 0
    limits = [f"{name} (at most {most})" for name, most in _WIDEST.items() if width > most]
    if limits:
        subject = f"{seen.size[0]} {width}" if seen.size else f"a window of {width} channels"
        yield Remark("wide_window", f"{subject} is too wide for {' and '.join(limits)}")


def _divided(seen: Seen) -> Iterator[Remark]:
    """An alpha that looks divided by the size already, where the convention divides it too."""
    if seen.row is None or seen.size is None or not seen.row.divides:
        return
    word, size = seen.size
    alpha = seen.found.words.get(seen.row.words[1])
    if not isinstance(alpha, float) or _among(alpha, USUAL_ALPHAS) is not None:
        return
    usual = _among(alpha * size, USUAL_ALPHAS)
    if usual is not None:
        yield Remark(
            "alpha_divided",
            f"alpha {alpha:g} is {usual:g} / {size}, a usual alpha divided by the {word} already: "
            f"{title(seen.row)} divides it once more",
        )


def _undivided(seen: Seen) -> Iterator[Remark]:
    """Caffe's and PyTorch's numbers of AlexNet in a framework that does not divide alpha."""
    if seen.row is None or seen.row.divides or seen.row.divides_if or seen.width in (None, 1):
        return
    alpha, beta, bias = (seen.found.words.get(word) for word in seen.row.words[1:])
    if (alpha, beta, bias) == (1e-4, 0.75, 1.0):
        yield Remark(
            "alpha_undivided",
            f"alpha 0.0001, beta 0.75 and {seen.row.words[3]} 1 are Caffe's and PyTorch's numbers, "
            f"where alpha is divided by the width of the window: {title(seen.row)} does not divide "
            f"it, so that {1e-4 / (seen.width or 1):g} means the same",
        )


def _radius(seen: Seen) -> Iterator[Remark]:
    """A radius of 5 with the numbers of AlexNet, whose 5 is a width."""
    if seen.row is None or seen.width != 11 or seen.found.words.get(seen.row.words[0]) != 5:
        return
    alpha, beta = (seen.found.words.get(word) for word in seen.row.words[1:3])
    if beta == 0.75 and isinstance(alpha, float) and _among(alpha, (1e-4, 2e-5)):
        word = seen.row.words[0]
        yield Remark(
            "width_as_radius",
            f"{word} 5 is a window of 11 channels: AlexNet's 5 is a width, for which {word} is 2",
        )


def _among(number: float, usual: tuple[float, ...]) -> float | None:
    return next((u for u in usual if math.isclose(number, u, rel_tol=1e-3)), None)


def _fractional_bias(seen: Seen) -> Iterator[Remark]:
    """A bias that is no integer, of which OpenVINO drops the fraction."""
    bias = seen.found.spec.bias if seen.found.spec is not None else 0.0
    if bias != int(bias):
        yield Remark(
            "fractional_bias", f"OpenVINO cuts the bias to an integer: {bias:g} becomes {int(bias)}"
        )


def _not_positive(seen: Seen) -> Iterator[Remark]:
    """alpha or beta of 0 or less, which ONNX Runtime refuses."""
    spec, words = seen.found.spec, seen.found.words
    if spec is None:
        return
    alpha, beta = seen.row.words[1:3] if seen.row else ("scale", "beta")
    for word, number in ((alpha, spec.scale), (beta, spec.beta)):
        if number <= 0:
            value = words.get(word, number)
            text = f"{word} {value:g} is not above 0: ONNX Runtime refuses such an LRN on the CPU"
            yield Remark("not_positive", text)


def _type(seen: Seen) -> Iterator[Remark]:
    """A dtype that ONNX Runtime does not compute, or computes in float32."""
    if seen.is_onnx and seen.found.dtype in _ONNX_TYPES:
        yield Remark("dtype", f"{seen.found.dtype}: {_ONNX_TYPES[seen.found.dtype]}")


def _rank(seen: Seen) -> Iterator[Remark]:
    """A rank other than 4, in ONNX."""
    shape = seen.found.shape
    if seen.is_onnx and shape is not None and len(shape) != 4:
        yield Remark(
            "rank", f"the input has {len(shape)} axes: ONNX Runtime takes four only, on the CPU"
        )


def _wider_than_channels(seen: Seen) -> Iterator[Remark]:
    """A window wider than the axis."""
    shape, axis, width = seen.found.shape, seen.found.axis, seen.width
    if shape is None or type(axis) is not int or not -len(shape) <= axis < len(shape):
        return
    channels = shape[axis]
    if isinstance(channels, int) and width is not None and width > channels:
        subject = f"{seen.size[0]} {width}" if seen.size else f"a window of {width}"
        divided = seen.row is not None and seen.row.divides
        rest = "alpha is divided by the size all the same" if divided else "what is missing is zero"
        text = f"{subject} is more than the {channels} channels, which is harmless: {rest}"
        yield Remark("wider_than_channels", text, NOTE)


RULES: tuple[Rule, ...] = (
    _even,
    _wide,
    _divided,
    _undivided,
    _radius,
    _fractional_bias,
    _not_positive,
    _type,
    _rank,
    _wider_than_channels,
)


def title(row: Row) -> str:
    """The short name of the framework: "ONNX" for the row "ONNX LRN-1, LRN-13"."""
    return row.title.split(",")[0].split(" LRN")[0].split(" ILRN")[0]


def words_of(found: Found) -> str:
    """The framework of an LRN, for sentences; empty where it has none."""
    row: Any = ROWS.get(found.convention or "")
    return "" if row is None else title(row)
