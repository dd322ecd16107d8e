"""The speed that lrnorm promises: one table of rows, each a ratio of two times with its bound.

`promises.py` measures them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from lrnorm.cli.measuring import Case


class Bounded:
    """A figure that is to be at most `bound`, or at least."""

    bound: float
    at_least: bool

    @property
    def bound_text(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def met(self, figure: float) -> bool:
        return figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True)
class Timed:
    """What is timed: a way of MAKERS, and what it needs."""

    way: str
    case: Case
    name: str = ""


copy = partial(Timed, "copy")
shared_copy = partial(Timed, "shared copy")  # on as many threads as the case has
ours = partial(Timed, "ours")  # into an existing output
fresh = partial(Timed, "fresh")  # into a new output


def rival(name: str, case: Case) -> Timed:
    return Timed("rival", case, name)


def line(statement: str, dtype: str = "float32") -> Timed:
    """A line of code on ten numbers, as a loop in Python meets it."""
    return Timed("line", Case((1, 5, 2, 1), dtype, beta=0.5, threads=1), statement)


@dataclass(frozen=True)
class Promise(Bounded):
    """The time of `top` by the time of `bottom`, at most (or at least) `bound`."""

    group: str
    text: str
    top: Timed
    bottom: Timed
    bound: float
    at_least: bool = False


_LARGE = Case((64, 96, 55, 55))
_LAST = replace(_LARGE, layout="last")
_CACHED = Case((1, 96, 55, 55), threads=1)
_NET = Case((16, 192, 56, 56))
_WINDOWS = Case((8, 512, 28, 28))
OURS_TINY, _ADD = "f(x)", "add(x, x)"


def _vjp(case: Case) -> Case:
    return replace(case, verb="vjp")


def _beta(case: Case, beta: float) -> Case:
    return replace(case, beta=beta)


_MIDDLE = Case((16, 96, 55, 55))
_ONE = Case((1, 96, 55, 55))
_WHOLE_LAST = Case((256, 1024, 1, 1), layout="last")
_DOUBLE = replace(_MIDDLE, dtype="float64")
_SHORT = (Case((16, 96, 4, 4)), Case((64, 512, 4, 4)))
_BEYOND = {  # arrays of twice the last cache of the machine that the page was measured on
    "float32": Case((867, 96, 55, 55)),
    "float16": Case((1734, 96, 55, 55), dtype="float16"),
    "bfloat16": Case((1734, 96, 55, 55), dtype="bfloat16"),
}
_BATCHES = (("16 pictures", _MIDDLE), ("1 picture", _ONE))

_BOXES = tuple(replace(_MIDDLE, window="within", radius=radius) for radius in (1, 2))

# Windows over height and width of each channel.
BOXES = (
    *(
        Promise(f"box {box.width}×{box.width}", text, top, bottom, bound, at_least)
        for box in _BOXES
        for both in [replace(box, verb="vjp")]
        for text, top, bottom, bound, at_least in (
            ("PyTorch's avg_pool2d by ours, forward", rival("torch", box), fresh(box), 5, True),
            ("the same, forward and backward", rival("torch", both), fresh(both), 5, True),
            ("OpenVINO by ours", rival("openvino", box), ours(box), 2, True),
            ("by channel window 5", ours(box), ours(_MIDDLE), 2.5, False),
        )
    ),
    Promise("box 31×31", "by box 5×5", ours(replace(_BOXES[1], radius=15)), ours(_BOXES[1]), 1.5),
)

# Calls next to the common one: none is much slower.
NEIGHBOURS = (
    *(
        Promise(
            f"windows, {name}",
            f"window {2 * radius + 1} by 5, beta {beta:g}",
            ours(replace(case, radius=radius, beta=beta)),
            ours(_beta(case, beta)),
            1.6,
        )
        for name, case in _BATCHES
        for radius in (3, 5, 7, 15)
        for beta in (0.5, 0.75, 1.0)
    ),
    *(
        Promise(
            "wide windows",
            f"window {2 * radius + 1} by 5",
            ours(replace(Case((8, 256, 28, 28)), radius=radius)),
            ours(Case((8, 256, 28, 28))),
            1.8,
        )
        for radius in (31, 63, 127)
    ),
    *(
        Promise(
            f"exponents, {name}",
            f"beta {beta:g} by 0.75",
            ours(_beta(case, beta)),
            ours(case),
            bound,
        )
        for name, case in _BATCHES
        for beta, bound in (
            *((beta, 1.4) for beta in (1.25, 1.5, 1.75, 2.0, 3.0)),
            *((beta, 2) for beta in (0.6, 0.9, 1.1, 2.5)),
        )
    ),
    *(
        Promise(
            f"derivatives, {name}", text, ours(replace(case, verb=verb)), ours(_vjp(case)), bound
        )
        for name, case in _BATCHES
        for text, verb, bound in (
            ("vjp with parameters by vjp", "vjp and parameters", 1.6),
            ("jvp by vjp", "jvp", 1.1),
        )
    ),
    Promise("vjp in cache", "vjp by np.copyto", ours(_vjp(_CACHED)), copy(_CACHED), 4),
    *(
        Promise(
            f"whole axis, {name}, channels {case.layout}",
            f"{verb}, whole axis by window 5",
            ours(replace(case, radius=case.shape[1], verb=verb)),
            ours(replace(case, verb=verb)),
            1.3,
        )
        for name, case in (
            ("256×1024", _WHOLE_LAST),
            ("256×1024", Case((1, 1024, 16, 16))),
            ("16 pictures", _MIDDLE),
            ("16 pictures", replace(_MIDDLE, layout="last")),
        )
        for verb in ("forward", "vjp")
    ),
    Promise(
        "windows of zeros",
        "bias 0 over windows of zeros by bias 1",
        ours(replace(_MIDDLE, bias=0.0, values="mostly zeros")),
        ours(replace(_MIDDLE, values="mostly zeros")),
        3,
    ),
    *(
        Promise(
            f"rare values, {values}",
            f"all inputs {values} by ordinary ones",
            ours(replace(case, values=values)),
            ours(case),
            8,
        )
        for case, values in (
            (_ONE, "1e20"),
            (_MIDDLE, "1e20"),
            (replace(_ONE, dtype="float64"), "1e200"),
        )
    ),
    *(
        Promise("short rows", "4×4 pixels by np.copyto", ours(case), copy(case), bound)
        for case, bound in zip(_SHORT, (5, 1.3), strict=True)
    ),
    Promise("layouts", "forward, channels last by first", ours(_LAST), ours(_LARGE), 1.3),
    Promise("float64", "forward by np.copyto of its bytes", ours(_DOUBLE), copy(_DOUBLE), 2),
    Promise(
        "16 pictures", "forward by a copy on two threads", ours(_MIDDLE), shared_copy(_MIDDLE), 1.3
    ),
    Promise(
        "twice the last cache",
        "forward by the fastest copy",
        ours(_BEYOND["float32"]),
        shared_copy(_BEYOND["float32"]),
        1.1,
    ),
    *(
        Promise(
            f"twice the last cache, {name}",
            "forward by a copy on two threads",
            ours(_BEYOND[name]),
            shared_copy(_BEYOND[name]),
            1.3,
        )
        for name in ("float16", "bfloat16")
    ),
    *(
        Promise(
            "torch.compile",
            f"torch.compile by ours, beta {beta:g}",
            rival("torch.compile", _beta(_MIDDLE, beta)),
            fresh(_beta(_MIDDLE, beta)),
            1.5,
            True,
        )
        for beta in (1.0, 2.0)
    ),
    Promise(
        "ten numbers",
        "OpenCV by ours",
        rival("opencv", Case((1, 5, 2, 1))),
        fresh(Case((1, 5, 2, 1))),
        1,
        True,
    ),
)


PROMISES = (
    Promise("large", "forward, beta 0.75, by np.copyto", ours(_LARGE), copy(_LARGE), 1.3),
    Promise(
        "large", "forward, beta 0.5, by np.copyto", ours(_beta(_LARGE, 0.5)), copy(_LARGE), 1.3
    ),
    Promise("large", "beta 0.6 by beta 0.75", ours(_beta(_LARGE, 0.6)), ours(_LARGE), 2),
    Promise("large", "vjp by np.copyto", ours(_vjp(_LARGE)), copy(_LARGE), 2.2),
    Promise("large", "forward, channels last by first", ours(_LAST), ours(_LARGE), 1.5),
    Promise("large", "vjp, channels last by first", ours(_vjp(_LAST)), ours(_vjp(_LARGE)), 1.5),
    Promise("in cache", "beta 0.75 by np.copyto", ours(_CACHED), copy(_CACHED), 4),
    Promise("in cache", "beta 0.5 by np.copyto", ours(_beta(_CACHED, 0.5)), copy(_CACHED), 4),
    *(
        Promise("tiny", f"{dtype}, the function by np.add", line(OURS_TINY, dtype), add, 6)
        for dtype in ("float32", "float64")
        for add in [line(_ADD, dtype)]
    ),
    Promise("rivals", "OpenVINO by ours", rival("openvino", _NET), ours(_NET), 2, True),
    Promise(
        "rivals",
        "OpenVINO by ours, beta 0.6",
        rival("openvino", _beta(_NET, 0.6)),
        ours(_beta(_NET, 0.6)),
        5,
        True,
    ),
    Promise(
        "rivals",
        "PyTorch eager by ours, both allocating",
        rival("torch", _NET),
        fresh(_NET),
        20,
        True,
    ),
    Promise(
        "windows", "window 63 by window 5", ours(replace(_WINDOWS, radius=31)), ours(_WINDOWS), 3
    ),
    *NEIGHBOURS,
    *BOXES,
)
