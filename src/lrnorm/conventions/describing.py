"""Descriptions of conventions: formula, window, defaults, limits, axis and source."""

from __future__ import annotations

from typing import Any, NamedTuple

from lrnorm.conventions.measures import Row
from lrnorm.conventions.naming import row_of
from lrnorm.conventions.translation import fixed_bias


class Description(NamedTuple):
    """What a framework computes, in its own words. It prints as a page."""

    name: str
    title: str
    formula: str
    window: str
    defaults: dict[str, Any]
    limits: str
    axis: str
    source: str
    remark: str

    def __repr__(self) -> str:
        lines = [f"{self.name}: {self.title}", f"  {self.formula}"]
        defaults = ", ".join(f"{word}={value!r}" for word, value in self.defaults.items())
        for label, text in (
            ("window", self.window),
            ("defaults", defaults or "none: every word has to be given"),
            ("limits", self.limits or "none"),
            ("axis", self.axis),
            ("remark", self.remark),
            ("source", self.source),
        ):
            if text:
                lines.append(f"  {label:<9} {text}")
        return "\n".join(lines)


def describe(name: str, /) -> Description:
    """What a framework computes, in its own words: formula, window, defaults, limits, axis of the
    channels and source. It prints as a page.

    Errors: ParameterError (a ValueError) for an unknown name. Source: the one it tells.

    >>> import lrnorm
    >>> lrnorm.conventions.describe("tensorflow")
    tensorflow: TensorFlow
      y[c] = x[c] · (bias + alpha · Σ x[j]²)^-beta,  j = c-before … c+after
      window    depth_radius is a radius: as many channels on either side
      defaults  depth_radius=5, alpha=1.0, beta=0.5, bias=1.0
      limits    none
      axis      3 of (N, H, W, C)
      remark    takes rank 4
      source    tf.raw_ops.LRN; tensorflow/core/kernels/lrn_op.cc
    """
    key, row = row_of(name)
    size, alpha, beta, bias = row.words
    divisor = "/" + row.measure.divisor.format(n=size) if row.divides else ""
    always = row.box is not None and row.box.axes({}) > 1
    fixed = fixed_bias(row, 2) if always else None
    additive = bias if fixed is None else f"{fixed:g}"
    formula = f"y[c] = x[c] · ({additive} + {alpha}{divisor} · Σ x[j]²)^-{beta},  "
    formula += "j = c-before … c+after"
    if row.box and always:
        formula = f"y = x · ({additive} + {alpha}/{size}^d · Σ x²)^-{beta},  over {row.box.text}"
    elif row.box:
        formula += f"; or over {row.box.text}"
    defaults = dict(zip(row.words, row.defaults, strict=True))
    limits = [f"{size} ≤ {row.largest}"] if row.largest else []
    limits += [limit.text(word) for word, limit in row.limits.items()]
    return Description(
        name=key,
        title=row.title,
        formula=formula,
        window=row.measure.text.format(n=size),
        defaults={word: value for word, value in defaults.items() if value is not None}
        | {word: switch.default for word, switch in row.switches.items()},
        limits=", ".join(limits),
        axis=row.axis or place(row),
        source=row.source,
        remark=row.remark,
    )


def place(row: Row) -> str:
    """The axis of the channels in the framework's layout."""
    return f"{row.layout.index('C')} of ({', '.join(row.layout)})"
