"""The options of layers and nets: two tables that each holds, and what their values may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lrnorm._function.foreign_names import explain_foreign, snake_case, unknown_parameter
from lrnorm._layers.devices import gpu_number
from lrnorm._spec.errors import KindError, ParameterError
from lrnorm._spec.spec import is_integer

EVALUATION_OPTIONS: dict[str, Any] = {
    "batch_size": None,
    "net_evaluation_mode": "Test",
    "random_seeding": None,
    "target_device": "CPU",
    "working_precision": None,
}

# working_precision → (the dtype computed in, the dtype returned); None leaves it to the input.
PRECISIONS: dict[str | None, tuple[str | None, str | None]] = {
    None: (None, None),
    "Real16": ("float16", "float16"),
    "Real32": ("float32", "float32"),
    "Real64": ("float64", "float64"),
    "Mixed": ("float32", "float16"),
}


def options(layer: Any, name: Any = None) -> Any:
    """options(class) → how a layer is made, options(layer) → how it is evaluated: the defaults.

    The names are keywords of the class and of a call, ``layer(x, batch_size=8)``. The result is a
    dict of its own. `output`, which the class takes too, is another word for `input`. With a
    `name`, in either spelling, it is the default of that option; with a list of names, a list.

    Errors: KindError (a TypeError) for what is neither a layer nor a class of layers;
    ParameterError (a ValueError) for an unknown option.

    Source: Wolfram's Options[LocalResponseNormalizationLayer] and Options[layer].

    >>> import lrnorm
    >>> lrnorm.options(lrnorm.LocalResponseNormalizationLayer)
    {'alpha': 1.0, 'beta': 0.5, 'bias': 1.0, 'channel_window_size': 2, 'input': None}
    >>> lrnorm.options(lrnorm.LocalResponseNormalizationLayer())["target_device"]
    'CPU'
    """
    kind = "construction" if isinstance(layer, type) else "evaluation"
    found = getattr(layer, f"_{kind}_options", None)
    if found is None:
        raise KindError(
            "options",
            "takes a layer or a class of layers",
            value=layer,
            way_out="Try options(LocalResponseNormalizationLayer).",
        )
    if name is None:
        return dict(found)
    if isinstance(name, (list, tuple)):
        return [options(layer, one) for one in name]
    own = snake_case(name) if isinstance(name, str) else name
    if own not in found:
        raise ParameterError("option", f"must be one of {list(found)}", value=name)
    return found[own]


def explain_option(
    function: str,
    words: dict[str, Any],
    known: tuple[str, ...],
    fixed: tuple[str, ...],
    elsewhere: Mapping[str, str],
) -> KindError:
    """The error for keywords that `function` does not have, with what to write instead: `known`
    are its own, `fixed` those that making the layer takes, `elsewhere` holds hints."""
    word, value = next(iter(words.items()))
    ours = snake_case(word)
    owner = "net" if function.lower().startswith("net") else "layer"
    if ours in known:
        way_out = f"Write {ours}={value!r}"
    elif ours in fixed:
        way_out = f"It is fixed when the {owner} is made: {owner}.replace({ours}={value!r})"
    elif ours in EVALUATION_OPTIONS:
        way_out = f"It belongs to an evaluation: {owner}(x, {ours}={value!r})"
    elif word in elsewhere:
        way_out = elsewhere[word].format(value=value)
    else:
        return explain_foreign(function, words, known)
    return unknown_parameter(function, word, value, way_out)


def _one_of(name: str, value: Any, allowed: tuple[str | None, ...]) -> None:
    if not (value is None or isinstance(value, str)) or value not in allowed:
        names = ", ".join(map(repr, allowed[:-1]))
        raise ParameterError(name, f"must be {names} or {allowed[-1]!r}", value=value)


def check_evaluation(
    batch_size: Any,
    net_evaluation_mode: Any,
    random_seeding: Any,
    target_device: Any,
    working_precision: Any,
) -> None:
    """Refuse what the options of an evaluation cannot be."""
    if batch_size is not None and not (is_integer(batch_size) and batch_size > 0):
        raise (ParameterError if is_integer(batch_size) else KindError)(
            "batch_size",
            "must be a positive integer or None",
            value=batch_size,
            way_out="None computes the whole batch at once.",
        )
    _one_of("net_evaluation_mode", net_evaluation_mode, ("Test", "Train"))
    if not is_integer(random_seeding):
        seeds = (None, "Inherited", "Automatic")
        _one_of("random_seeding, unless an integer,", random_seeding, seeds)
    _one_of("working_precision", working_precision, tuple(PRECISIONS))
    gpu_number(target_device)


def learnable_names(learnable: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the numbers that a layer learns: `learnable` is True, False, a name or several."""
    if isinstance(learnable, bool):
        return names if learnable else ()
    rule = f"must be True, False or names among {', '.join(names)}"
    if not isinstance(learnable, Iterable):
        raise KindError("learnable", rule, value=learnable)
    wanted = (learnable,) if isinstance(learnable, str) else tuple(learnable)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise ParameterError("learnable", rule, value=unknown[0])
    return tuple(name for name in names if name in wanted)
