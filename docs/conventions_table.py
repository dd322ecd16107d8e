"""Writes the tables of conventions.md from the code: python docs/conventions_table.py

between `<!-- conventions -->` and `<!-- end -->`   one row for each framework
between `<!-- pitfalls -->` and `<!-- end -->`      what each wrong reading costs
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

import lrnorm
from lrnorm import LRNSpec, conventions

PAGE = Path(__file__).with_name("conventions.md")
CHANNELS = 12


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = [list(head)]
    cells.append(["---"] * len(cells[0]))
    cells += [[cell.replace("|", r"\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def frameworks() -> str:
    rows = []
    for name in conventions.names():
        page = conventions.describe(name)
        formula = page.formula.removesuffix(",  j = c-before … c+after")
        rows.append(
            [
                f"`{name}`: {page.title}",
                f"`{formula}`",
                page.window,
                ", ".join(f"{word}={value!r}" for word, value in page.defaults.items()) or "none",
                page.limits or "none",
                page.axis,
                page.source
                + (f". {page.remark[0].upper()}{page.remark[1:]}" if page.remark else ""),
            ]
        )
    head = ("name", "formula", "window", "defaults", "limits", "axis of the channels", "source")
    return table(head, rows)


def image() -> np.ndarray:
    """(channels, height, width), fixed: entries between -2 and 2."""
    c, h, w = np.ogrid[:CHANNELS, :CHANNELS, :CHANNELS]
    return 2 * np.sin(1.0 + 2.7 * c + 0.9 * h * h - 1.3 * w * c)


def cut_at_the_edges(x: np.ndarray, spec: LRNSpec) -> np.ndarray:
    """alpha divided by the channels that there are, not by the width."""
    before, after = spec.ends(len(x))
    y = np.empty_like(x)
    for c in range(len(x)):
        there = min(len(x) - 1, c + after) - max(0, c - before) + 1
        scale = spec.scale * (before + after + 1) / there
        narrowed = dataclasses.replace(spec, scale=scale)
        y[c] = lrnorm.local_response_norm(x, spec=narrowed)[c]
    return y


def by(name: str, **words: float) -> Callable[[float], LRNSpec]:
    return lambda alpha: conventions.read(name, alpha=alpha, beta=0.75, **words)


# What was meant, and how it was read; each takes alpha.
PITFALLS: list[tuple[str, Callable[[float], LRNSpec], Callable[[float], LRNSpec]]] = [
    (
        "PyTorch's alpha, size 5, given to TensorFlow as it is: there it is not divided",
        by("torch", size=5),
        by("tensorflow", depth_radius=2),
    ),
    (
        "TensorFlow's alpha, depth_radius 2, given to PyTorch as it is: there it is divided",
        by("tensorflow", depth_radius=2),
        by("torch", size=5),
    ),
    (
        "size 5 taken for a radius, and alpha divided by 11",
        by("torch", size=5),
        by("cntk", depth_radius=5, bias=1.0),
    ),
    (
        "radius 2 taken for a width, and alpha divided by 2",
        by("cntk", depth_radius=2, bias=1.0),
        by("torch", size=2),
    ),
    (
        "an even size, 4, from PyTorch to ONNX: it leans to the other side",
        by("torch", size=4),
        by("onnx", size=4),
    ),
    (
        "an even size, 4, from ONNX to OpenVINO: one channel is left out",
        by("onnx", size=4),
        by("openvino", size=4),
    ),
    (
        "an even n, 4, of AlexNet's paper given to darknet: one channel is left out",
        by("alexnet_paper", n=4, k=1.0),
        by("darknet", size=4),
    ),
    ("k = 2 read as 1, as importers do that ignore k", by("caffe", k=2.0), by("caffe")),
    (
        "beta left out: 0.75 in PyTorch, 0.5 in TensorFlow",
        by("tensorflow", depth_radius=2),
        lambda alpha: conventions.read("tensorflow", depth_radius=2, alpha=alpha),
    ),
]


def pitfalls() -> str:
    x = image()

    def off(right: np.ndarray, wrong: np.ndarray) -> str:
        percent = 100 * np.abs(wrong - right).max() / np.abs(right).max()
        return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1g} %"

    def norm(spec: LRNSpec, axis: int = 0) -> np.ndarray:
        return lrnorm.local_response_norm(x, spec=spec, axis=axis)

    rows = [
        [text, *(off(norm(meant(alpha)), norm(read(alpha))) for alpha in (1.0, 1e-4))]
        for text, meant, read in PITFALLS
    ]
    caffe = by("caffe")
    rows.append(
        [
            "at the edges, alpha divided by the channels that there are",
            *(off(norm(caffe(a)), cut_at_the_edges(x, caffe(a))) for a in (1.0, 1e-4)),
        ]
    )
    rows.append(
        [
            "channels last taken for channels first: the sum runs over pixels",
            *(off(norm(caffe(a)), norm(caffe(a), axis=2)) for a in (1.0, 1e-4)),
        ]
    )
    return table(("mistake", "off by, alpha = 1", "alpha = 1e-4"), rows)


def page(text: str) -> str:
    for name, content in (("conventions", frameworks()), ("pitfalls", pitfalls())):
        region = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = region.subn(lambda m, new=content: f"{m[1]}\n{new}\n\n{m[2]}", text)
        if count != 1:
            raise SystemExit(f"{PAGE.name} must have one region <!-- {name} --> … <!-- end -->.")
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
