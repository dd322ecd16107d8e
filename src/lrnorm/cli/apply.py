"""`lrnorm apply`: normalize an array or a picture, or show what that would change."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrnorm._function.foreign_names import snake_case, translation
from lrnorm._spec.errors import LRNormError, ParameterError
from lrnorm.cli.parser import Parser

if TYPE_CHECKING:
    from lrnorm._spec.spec import LRNSpec


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number such as 0.75, got {text!r}") from None


def _axis(text: str) -> int | tuple[int, ...]:
    try:
        axes = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be an integer such as -1, or several such as 2,3, got {text!r}"
        ) from None
    return axes[0] if len(axes) == 1 else axes


Ends = int | tuple[int, int]


def _window(text: str) -> Ends | list[Ends]:
    """A radius or a pair, or one for each axis of a box: "1/2,0" is [1, (2, 0)]."""
    windows = [_ends(part, text) for part in text.split("/")]
    return windows[0] if len(windows) == 1 else windows


def _ends(part: str, text: str) -> Ends:
    """One axis of a window: 2 is a radius, 2,1 a pair. `text` is the whole option, for errors."""
    try:
        ends = [int(number) for number in part.split(",")]
    except ValueError:
        ends = []
    if len(ends) not in (1, 2):
        raise argparse.ArgumentTypeError(
            f"must be a radius such as 2, or a pair BEFORE,AFTER such as 2,1, got {text!r}"
        )
    return ends[0] if len(ends) == 1 else (ends[0], ends[1])


_NUMBERS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "--alpha": (_number, "A", "default 1"),
    "--beta": (_number, "B", "default 0.5"),
    "--bias": (_number, "K", "default 1"),
    "--channel-window-size": (
        _window,
        "R",
        "a radius, or BEFORE,AFTER; default 2; for a box also one for each axis, such as 1/2,0",
    ),
    "--axis": (
        _axis,
        "N",
        "axis of the channels, or the axes of a box, such as 2,3; default: that of the "
        "convention, else third from last, at rank 3 and 4",
    ),
}
# Subject of an error → the way out as options.
_WAYS_OUT = {
    "axis": "Pass the axis of the channels, for example --axis -1, or the axes of a box, for "
    "example --axis 2,3.",
    "channel_window_size": "Pass a radius, for example --channel-window-size 2, or a pair "
    "BEFORE,AFTER. A window of one channel alone is --convention torch --set size=1.",
}


def _foreign(said: str, words: list[str]) -> str | None:
    """The options to use instead of an option or KEY=VALUE that another framework has."""
    option, _, value = said.partition("=")
    if not value:
        value = next(iter(words[words.index(said) + 1 :]), "VALUE")
    word = snake_case(option.lstrip("-")).replace("-", "_")
    ours = "--" + word.replace("_", "-")
    if ours in _NUMBERS:
        return f"there is no {option}: write {ours} {value}"
    found = translation(word, int(value) if value.isdecimal() else value, shown=_as_typed)
    if found is None:
        return None
    ways = []
    if found.window != (0, 0) and not found.factor:  # --alpha would have to be changed as well
        ways.append(f"--{found.parameter.replace('_', '-')} {found.value}")
    if found.convention:
        ways.append(f"--convention {found.convention} --set {word}={value}")
    return f"there is no {option}: {word} is {found.meaning}: here {', or '.join(ways)}"


def _as_typed(value: Any) -> str:
    """A value as the command takes it: a pair as 2,1."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _join_negatives(words: list[str]) -> list[str]:
    """`--alpha -1e-4` as `--alpha=-1e-4`: argparse takes the number for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _NUMBERS and word[:1] == "-" and word[1:2].isdigit():
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def run(words: list[str]) -> int:
    """Run `lrnorm apply` with these arguments and return its exit status."""
    try:
        return _run(words)
    except LRNormError as error:
        way_out = _WAYS_OUT.get(error.subject)
        if way_out is None:
            raise
        if any(place.endswith("]") for place in error.where):  # one of several arrays in a file
            way_out += " To leave this array as it is, choose others with --key NAME."
        raise error.advising(way_out) from error


def _run(words: list[str]) -> int:
    parser = Parser(
        prog="lrnorm apply",
        description="Normalize an array or a picture: y = x · (bias + alpha/(2R+1) · Σ x²)^-beta, "
        "the sum over the R neighbouring channels on either side. Without -o nothing is written, "
        "and a table shows before and after.",
        epilog="Files: .npy .npz .zarr .wxf .safetensors, and every picture that Pillow reads and "
        "writes. A picture is read as (channels, height, width) in 0 … 1, without its "
        "transparency, and written with its largest value at 255. A .npy, .wxf or .zarr goes "
        "through in pieces; a run into a .zarr that was interrupted goes on where it stopped.",
    )
    parser.add_argument("source", metavar="PICTURE-OR-ARRAY")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the result here")
    for name, (kind, metavar, text) in _NUMBERS.items():
        parser.add_argument(name, type=kind, metavar=metavar, help=text, default=argparse.SUPPRESS)
    parser.add_argument(
        "--convention",
        metavar="NAME",
        help="take a framework's parameters, given by --set, in place of those above",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter of the convention, such as local_size=5; may be repeated",
    )
    parser.add_argument("--dtype", metavar="TYPE", help="of the result, for example float32")
    parser.add_argument(
        "--key",
        action="append",
        metavar="NAME",
        help="of several arrays in a file, normalize this one; may be repeated; default: all",
    )
    parser.add_argument("--plot", metavar="FILE", help="draw before and after (.png .pdf .svg)")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    words = _join_negatives(words)
    given, unknown = parser.parse_known_args(words)
    if unknown:
        everything = f"unrecognized arguments: {' '.join(unknown)}"
        parser.error(_foreign(unknown[0], words) or everything)
    options = vars(given)
    spec = _spec(given)
    work = {
        "spec": spec,
        "axis": options.get("axis", _axis_of_convention(given, spec)),
        "dtype": given.dtype,
        "keys": given.key,
        "progress": _bar_wanted(),
    }
    if given.plot is None:
        print(_normalize(given, work))
        return 0
    return _apply_and_draw(given, work)


def _spec(given: argparse.Namespace) -> LRNSpec:
    """From --alpha and the like, or from --convention and --set."""
    from lrnorm._spec.spec import LRNSpec, count_axes

    options = vars(given)
    words = {option: option[2:].replace("-", "_") for option in _NUMBERS if option != "--axis"}
    numbers = {word: options[word] for word in words.values() if word in options}
    if given.convention is None:
        if given.set:
            raise ParameterError(
                f"--set {given.set[0]}",
                "is a parameter of a framework",
                way_out="Say of which with --convention NAME.",
            )
        return LRNSpec.from_keywords(**numbers, axes=count_axes(options.get("axis")))
    if numbers:
        both = ", ".join(option for option, word in words.items() if word in numbers)
        raise ParameterError(
            "--convention",
            f"replaces {both}",
            way_out="Give its own parameters with --set KEY=VALUE.",
        )
    from lrnorm import conventions
    from lrnorm.cli.convert import keywords

    return conventions.read(given.convention, **keywords(given.set))


def _axis_of_convention(given: argparse.Namespace, spec: LRNSpec) -> int | tuple[int, ...] | None:
    """The axis of the channels in the framework's layout, or the spatial axes for a box: -1 for
    NHWC, 2 for HWCN. Where the layout does not say, and for pictures, which are CHW, the last axes
    for a box, else None."""
    from lrnorm.conventions.naming import row_of
    from lrnorm.files.formats import format_of

    unsaid = tuple(range(-spec.axes, 0)) if spec.axes > 1 else None
    if given.convention is None or format_of(Path(given.source)).picture:
        return unsaid
    layout = row_of(given.convention)[1].layout
    letters = "HW" if isinstance(spec.before, tuple) else "C"
    if not set(letters) <= set(layout) or len(letters) != spec.axes:
        return unsaid
    last = 0 if layout.endswith("N") else len(layout)  # a batch axis may be missing
    axes = tuple(layout.index(letter) - last for letter in letters)
    return axes if len(axes) > 1 else axes[0]


def _apply_and_draw(given: argparse.Namespace, work: dict[str, Any]) -> int:
    """The run with --plot: the drawing appears only if everything else succeeds."""
    from lrnorm import files, plot

    drawing = os.path.realpath(given.plot)
    if drawing in {os.path.realpath(name) for name in (given.source, given.output) if name}:
        raise ParameterError("--plot", "must be a file of its own", got=f"{given.plot} twice")
    kind = plot.file_kind(given.plot)
    with files.writing(given.plot, overwrite=given.force) as stream:
        x = files.first(given.source, keys=given.key, axis=work["axis"])
        plot.overview(x, work["spec"], axis=work["axis"]).savefig(stream, format=kind, dpi=120)
        text = _normalize(given, work)
    print(text)
    print(f"wrote {given.plot}: the drawing")
    return 0


def _normalize(given: argparse.Namespace, work: dict[str, Any]) -> str:
    """The line to print for -o FILE, or the table for a run without it."""
    from lrnorm import files

    if given.output is not None:
        work |= {"overwrite": given.force}
        line = files.apply(given.source, given.output, **work)
        if given.convention is None or "axis" in vars(given) or work["axis"] is None:
            return line
        return f"{line}; along axis {work['axis']}, where {given.convention} has the channels"
    return _table(given.source, files.summarize(given.source, **work), work["spec"])


def _bar_wanted() -> bool:
    from importlib.util import find_spec

    return sys.stderr.isatty() and find_spec("rich") is not None


def _table(source: str, changes: Any, spec: LRNSpec) -> str:
    """Before and after of each array."""
    from lrnorm._layers.shapes import shape_text

    lines = []
    for change in changes:
        name = f"{source}[{change.name}]" if change.name else source
        what = "a box over axes" if spec.axes > 1 else "channels on axis"
        lines.append(f"{name}, {what} {change.axis}, {spec}")
        lines.append(f"  {'':<10} {'before':>20} {'after':>20}")
        pair = change.before, change.after
        rows = [("shape", [shape_text(side.shape) for side in pair])]
        rows.append(("dtype", [side.dtype for side in pair]))
        for row in ("min", "max", "mean", "std"):
            rows.append((row, [f"{getattr(side, row):.6g}" for side in pair]))
        if change.before.not_finite or change.after.not_finite:
            rows.append(("nan or inf", [str(side.not_finite) for side in pair]))
        lines += [f"  {row:<10} {before:>20} {after:>20}" for row, (before, after) in rows]
    return "\n".join([*lines, "nothing written: -o FILE writes the result"])
