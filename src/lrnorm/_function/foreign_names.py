"""Parameter names of other frameworks, and what they are called here.

One table serves the functions, the command and PyTorch's function: each renders a `Translation`
in words of its own, as keywords, as options or as PyTorch's keywords.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from lrnorm._spec.errors import KindError, LRNormError


class _Name(str):
    """A placeholder, which is shown without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


class _Row(NamedTuple):
    meaning: str  # completes "{word} is …"
    parameter: str  # our parameter that says the same
    convention: str = ""  # the row of lrnorm.conventions that defines the name as a window
    value: Any = ""  # what our parameter takes, where that is not the value as it stands


_WINDOW = "channel_window_size"
_WIDTH = "R, where {word} is 2R + 1"
_BOTH_ENDS = _Name("BEFORE"), _Name("AFTER")
_UNDIVIDED = ", which does not divide alpha by the window size"

_ROWS = {
    "size": _Row("a width in PyTorch", _WINDOW, "torch", _WIDTH),
    "local_size": _Row("a width in Caffe", _WINDOW, "caffe", _WIDTH),
    "nsize": _Row("a width in MXNet", _WINDOW, "mxnet", _WIDTH),
    "n": _Row("a width in the AlexNet paper" + _UNDIVIDED, _WINDOW, "alexnet_paper", _WIDTH),
    "depth_radius": _Row("a radius in TensorFlow" + _UNDIVIDED, _WINDOW, "tensorflow", "{word}"),
    "radius": _Row("a radius in TFLite" + _UNDIVIDED, _WINDOW, "tflite", "{word}"),
    "depthRadius": _Row("a radius in TensorFlow.js" + _UNDIVIDED, _WINDOW, "tfjs", "{word}"),
    **dict.fromkeys(("k", "knorm", "kappa"), _Row("called bias", "bias")),
    "Alpha": _Row("Wolfram's spelling", "alpha"),
    "Beta": _Row("Wolfram's spelling", "beta"),
    "Bias": _Row("Wolfram's spelling", "bias"),
    "ChannelWindowSize": _Row("Wolfram's spelling", _WINDOW),
    "scale": _Row("alpha divided by the window size", "alpha", value="scale * window size"),
    "before": _Row("one end of the window", _WINDOW, value=_BOTH_ENDS),
    "after": _Row("one end of the window", _WINDOW, value=_BOTH_ENDS),
    "dim": _Row("a dimension by its name", "axis", value="NUMBER"),
    "axes": _Row("called axis", "axis"),
    "channel_axis": _Row("called axis", "axis"),
    "data_format": _Row(
        "a layout", "axis", value="-1 for channels last, 1 for (batch, channels, …)"
    ),
    # Names of our own, which PyTorch's function does not have.
    "channel_window_size": _Row("a radius", _WINDOW, "lrnorm", "{word}"),
    "bias": _Row("called k in PyTorch", "bias"),
}


class Translation(NamedTuple):
    """What a parameter of another framework is called here, and what to pass."""

    word: str
    meaning: str
    parameter: str
    value: str
    window: tuple[int, int] | None  # (before, after), where the value says one
    factor: str  # alpha has to be multiplied by it, unless it is empty
    convention: str


def translation(word: str, value: Any, shown: Callable[[Any], str] = repr) -> Translation | None:
    """What `word` and its value are called here, the value as `shown` writes it; None for a name
    that no framework has.

    >>> translation("depth_radius", 2)[2:]
    ('channel_window_size', '2', (2, 2), '5', 'tensorflow')
    """
    row = _ROWS.get(word)
    if row is None:
        return None
    said = shown(row.value or value)
    if isinstance(row.value, str) and row.value:
        said = row.value.format(word=word)
    window, factor = None, "window size" if _UNDIVIDED in row.meaning else ""
    if row.convention and (spec := _read(row.convention, word, value)):
        before, after = window = spec.ends(0)
        said = shown(before if before == after else window)
        if factor:
            factor = str(before + after + 1)
    return Translation(word, row.meaning, row.parameter, said, window, factor, row.convention)


def _read(convention: str, word: str, value: Any) -> Any:
    """The spec that the convention reads, None if it refuses the value."""
    from lrnorm import conventions  # needed for an error alone

    try:
        return conventions.read(convention, **{word: value})
    except LRNormError:
        return None


def unknown_parameter(function: str, word: str, value: Any, way_out: str) -> KindError:
    """The error for a parameter name that `function` does not have."""
    rule = f"has no argument {word!r}"
    return KindError(f"{function}()", rule, value=value, got="", way_out=f"{way_out}.")


def explain_foreign(function: str, words: dict[str, Any], known: tuple[str, ...]) -> KindError:
    """The error for keywords that `function` does not have, with what to write instead."""
    word, value = next(iter(words.items()))
    found = translation(word, value)
    way_out = _as_keywords(found, value) if found else f"It takes {', '.join(known)}"
    return unknown_parameter(function, word, value, way_out)


def _as_keywords(found: Translation, value: Any) -> str:
    here = f"{found.parameter}={found.value}"
    if found.window == (0, 0):
        here = "spec=LRNSpec(…, before=0, after=0)"
    if found.factor:
        here += f" and alpha=alpha * {found.factor}"
    elsewhere = {
        "size": f", or lrnorm.torch.local_response_norm(x, {value!r})",
        "dim": f", or lrnorm.xarray.local_response_norm(x, dim={value!r})",
    }
    return f"{found.word} is {found.meaning}: here {here}{elsewhere.get(found.word, '')}"


def snake_case(name: str) -> str:
    """Wolfram's spelling as Python's.

    >>> snake_case("ArraysTotalByteCount")
    'arrays_total_byte_count'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
