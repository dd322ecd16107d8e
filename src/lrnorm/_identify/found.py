"""What `identify` returns: the numbers, each convention's words, remarks; it prints as a table."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lrnorm import conventions
from lrnorm._spec.errors import ConventionError
from lrnorm._spec.spec import LRNSpec


class Remark(NamedTuple):
    """A code that stays the same between versions, and a sentence."""

    code: str
    text: str


@dataclass(frozen=True)
class Identification:
    """What a callable computes. It prints as a table.

    Attributes
    ----------
    spec : LRNSpec
        Its numbers are the shortest decimals within `uncertainty`.
    words : dict
        Convention → its keywords, for every convention that can express the spec.
    max_ulp : float
        The largest distance from the exact result on ordinary probes, in ULP of `dtype`.
    remarks : tuple of (code, text)
        The codes are leaks_nan, overflows, running_sum, low_precision, ignores_bias and
        constant_factor; edge_divisor is the code of a refusal.
    uncertainty : dict
        scale, beta and bias → the largest error of the measured number.
    values, calls : int
        How many random values the spec was verified on, and how often the callable was called.
    """

    spec: LRNSpec
    max_ulp: float
    remarks: tuple[Remark, ...]
    uncertainty: Mapping[str, float]
    dtype: str
    channels: int
    values: int
    calls: int
    max_error: float

    @functools.cached_property
    def words(self) -> dict[str, dict[str, Any]]:
        """Every convention that can express the spec, in its keywords."""
        words = {}
        for name in conventions.names():
            try:
                said = conventions.write(name, self.spec)
            except ConventionError:
                continue
            words[name] = {
                word: _without_dust(value) if isinstance(value, float) else value
                for word, value in said.items()
            }
        return words

    def __repr__(self) -> str:
        lines = [
            f"y[c] = x[c] · ({self.spec.bias:g} + {self.spec.scale:.12g} · Σ x[j]²)^"
            f"{-self.spec.beta:g},  j from {self._end('before', '-')} "
            f"to {self._end('after', '+')}",
            "",
        ]
        rows = []
        for name in ("scale", "beta", "bias"):
            spread = self.uncertainty.get(name)
            rows.append(
                (name, f"{getattr(self.spec, name)!r}", f"± {spread:.1g}" if spread else "")
            )
        for name in ("before", "after"):
            end = getattr(self.spec, name)
            rows.append(
                (
                    name,
                    *(
                        ("to the end", f"of {self.channels} channels")
                        if end is None
                        else (str(end), "")
                    ),
                )
            )
        rows.append(
            (
                "largest error",
                f"{self.max_ulp:.3g} ulp",
                f"of {self.dtype}, on {self.values:,} values, {self.calls} calls",
            )
        )
        lines += table(rows)
        if self.words:
            lines += [
                "",
                *table(
                    [
                        (name, ", ".join(f"{word}={value!r}" for word, value in said.items()))
                        for name, said in self.words.items()
                    ]
                ),
            ]
        if self.remarks:
            lines += ["", *table([(remark.code, remark.text) for remark in self.remarks])]
        return "\n".join(lines)

    def _end(self, name: str, sign: str) -> str:
        end = getattr(self.spec, name)
        if end is None:
            return "the first" if sign == "-" else "the last"
        return f"c{sign}{end}" if end else "c"


def _without_dust(value: float) -> float:
    """The number without what a division and a product left in its last digits."""
    text = f"{value:.15g}"
    digits = text.partition("e")[0].replace(".", "").strip("-0")
    return float(text) if len(digits) <= 12 else value


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of columns that begin at the same place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
