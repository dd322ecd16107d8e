"""`lrnorm demo`: the layer applied to the response of 96 oriented filters to a photograph.

The filters take the place of the first convolution of a network such as AlexNet, whose 96 learned
filters are mostly oriented.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lrnorm import files
from lrnorm._fronts import config
from lrnorm._function.functions import local_response_norm
from lrnorm._layers.shapes import shape_text
from lrnorm._spec.errors import missing
from lrnorm._spec.spec import LRNSpec
from lrnorm.cli.parser import Parser
from lrnorm.files.atomic import check_free

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["filter_bank", "photograph", "run"]

Array = npt.NDArray[np.float32]

WAVELENGTHS = (4, 8, 16)  # pixels
ORIENTATIONS = 8
NUMBERS: dict[str, Any] = {"alpha": 2.0, "beta": 0.5, "bias": 1.0, "channel_window_size": 16}
LOUD, QUIET = (328, 198), (151, 241)  # the edge of the collar, the skin of the forehead
ROUNDS = 7


def story(output: str, *, overwrite: bool = False) -> Iterator[str]:
    """Compute, measure and draw into the file `output`; yields each line of the report when it is
    known.

    Errors: FileError (an OSError) where `output` exists and `overwrite` is not set;
    MissingDependencyError (an ImportError) without matplotlib.
    """
    kind = _plot().file_kind(output)
    check_free(output, overwrite)
    photo = photograph()
    height, width = photo.shape
    yield f"photograph   {width} × {height}, Grace Hopper, from matplotlib's samples"
    x = filter_bank(photo)
    yield (
        f"filters      {len(x)} = {len(WAVELENGTHS)} sizes × {ORIENTATIONS} orientations × 4 "
        f"phases: float32 of {shape_text(x.shape)}, {x.nbytes / 2**20:.0f} MiB"
    )
    spec = LRNSpec.from_keywords(**NUMBERS)
    yield f"layer        {_words(', ')}"
    y, ours, copy = _measure(x, spec)
    threads = config.show_config()["threads"]
    yield f"time         {1e3 * ours:.1f} ms on {threads} thread{'s' * (threads > 1)}"
    yield f"bandwidth    {copy / ours:.0%} of the speed of np.copyto on the same bytes"
    yield f"PyTorch      {_against_torch(x, spec)}"
    with files.writing(output, overwrite=overwrite) as stream:
        _figure(photo, x, y, spec).savefig(stream, format=kind, dpi=100)
    yield f"picture      wrote {output}"


def _plot() -> Any:
    return import_module("lrnorm.plot")


def _words(separator: str) -> str:
    return separator.join(f"{name}={value:g}" for name, value in NUMBERS.items())


def photograph() -> Array:
    """matplotlib's photograph of Grace Hopper in gray, (height, width) in 0 … 1.

    >>> from lrnorm.cli.demo import photograph
    >>> photograph().shape
    (600, 512)
    """
    try:
        from matplotlib.cbook import get_sample_data
    except ImportError as error:
        raise missing("lrnorm demo", "matplotlib", "'lrnorm[cli]'") from error
    path = str(get_sample_data("grace_hopper.jpg", asfileobj=False))
    colours: Array = files.read(path)
    gray: Array = np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), colours, axes=1)
    return gray


def filter_bank(photo: Array) -> Array:
    """The rectified response of 96 oriented filters, scaled to a root mean square of 1.

        max(0, photo * g),   g of 3 wavelengths × 8 orientations × 4 phases

    `photo` is float32 of (height, width), the result float32 of (96, height, width). Each filter is
    a wave packet: in the frequency domain, a Gaussian of the logarithm of the wavelength times a
    Gaussian of the direction. The four phases are adjacent channels, then the orientations, then
    the wavelengths, so a window over channels holds neighbouring directions of one wavelength.

    >>> import numpy
    >>> from lrnorm.cli.demo import filter_bank
    >>> filter_bank(numpy.eye(60, 50, dtype="float32")).shape
    (96, 60, 50)
    """
    border = 2 * max(WAVELENGTHS)
    padded = np.pad(photo, border, mode="reflect")  # the Fourier transform is periodic
    v = np.fft.fftfreq(padded.shape[0]).astype(np.float32)[:, np.newaxis]
    u = np.fft.fftfreq(padded.shape[1]).astype(np.float32)[np.newaxis, :]
    radius, direction = np.hypot(u, v), np.arctan2(v, u)
    radius[0, 0] = 1  # the mean, which no filter passes
    spectrum = np.fft.fft2(padded)
    inside = slice(border, -border)
    x = np.empty((len(WAVELENGTHS) * ORIENTATIONS * 4, *photo.shape), np.float32)
    channel = iter(x)
    for wavelength in WAVELENGTHS:
        packet = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * 0.55**2))
        packet[0, 0] = 0
        for k in range(ORIENTATIONS):
            turn = np.arccos(np.clip(np.cos(direction - np.pi * k / ORIENTATIONS), -1, 1))
            g = packet * np.exp(-(turn**2) / (2 * (np.pi / 10) ** 2))
            seen = np.fft.ifft2(spectrum * g)[inside, inside]  # real part even, imaginary part odd
            for part in (seen.real, seen.imag, -seen.real, -seen.imag):
                np.maximum(part, 0, out=next(channel), casting="same_kind")
    x /= np.sqrt(np.mean(x**2))
    return x


def _measure(x: Array, spec: LRNSpec) -> tuple[Array, float, float]:
    """The result, and the fastest time of ROUNDS for it and for a copy, in seconds."""
    y, copied = np.zeros_like(x), np.zeros_like(x)
    ours = copy = float("inf")
    for _ in range(ROUNDS):  # alternating, so that a busy moment affects both
        ours = min(ours, _seconds(lambda: local_response_norm(x, spec=spec, out=y)))
        copy = min(copy, _seconds(lambda: np.copyto(copied, x)))
    return y, ours, copy


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _against_torch(x: Array, spec: LRNSpec) -> str:
    if find_spec("torch") is None:
        return "not installed: pip install torch adds the comparison"
    torch = import_module("torch")
    width = sum(spec.ends(len(x))) + 1
    tensor = torch.from_numpy(x).unsqueeze(0)

    def theirs() -> Any:
        return torch.nn.functional.local_response_norm(
            tensor, width, NUMBERS["alpha"], NUMBERS["beta"], NUMBERS["bias"]
        )

    ours = min(_seconds(lambda: local_response_norm(x, spec=spec)) for _ in range(3))
    with torch.no_grad():
        seconds = min(_seconds(theirs) for _ in range(2))
    return (
        f"F.local_response_norm takes {1e3 * seconds:.0f} ms, lrnorm {1e3 * ours:.0f} ms, also "
        f"with a new output: {seconds / ours:.0f} × faster"
    )


def _figure(photo: Array, x: Array, y: Array, spec: LRNSpec) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    pads = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06, hspace=0.03)
    figure = Figure(figsize=(12, 8.4), layout=pads)
    figure.suptitle(
        "Local Response Normalization divides each channel by the energy of its neighbours",
        fontsize=16,
        fontweight="bold",
    )
    figure.supxlabel(
        f"Layer: {_words(', ')}. Maps: root mean square of the 96 channels, each map scaled "
        "to its maximum.",
        fontsize=10,
        color="0.3",
    )
    pictures, graphs = figure.subplots(2, 3, height_ratios=[1.95, 1])
    before, after = (np.sqrt(np.mean(np.square(a), axis=0)) for a in (x, y))
    pictures[0].imshow(photo, cmap="gray")
    pictures[0].set_title("A photograph:\nA is a strong edge, B is faint texture")
    pictures[1].imshow(before, cmap="magma", vmin=0)
    pictures[1].set_title("Before: response of 96 filters.\nStrong edges hide everything else")
    pictures[2].imshow(after, cmap="magma", vmin=0)
    pictures[2].set_title("After: the same 96, normalized.\nFaint lines of the face are visible")
    for ax in pictures:
        ax.set_axis_off()
        _mark(ax, LOUD, "A")
        _mark(ax, QUIET, "B")
    plot = _plot()
    plot.response(spec, ax=graphs[0])
    graphs[0].set_title("The layer: more energy in the window,\na smaller output")
    for ax, values, strength in ((graphs[1], x, before), (graphs[2], y, after)):
        _two_pixels(ax, values, strength, plot.BEFORE, plot.AFTER)
    graphs[1].set_ylabel("response before")
    graphs[2].set_ylabel("response after")
    return figure


def _mark(ax: Axes, at: tuple[int, int], name: str) -> None:
    ax.plot(at[1], at[0], "o", markersize=16, markerfacecolor="none", markeredgecolor="white")
    ax.annotate(
        name,
        (at[1], at[0]),
        (-20, 3),
        textcoords="offset points",
        color="white",
        fontweight="bold",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "black", "linewidth": 0, "alpha": 0.6},
    )


def _two_pixels(ax: Axes, values: Array, strength: Array, loud: str, quiet: str) -> None:
    place = np.arange(len(values))
    for at, colour, name in ((LOUD, loud, "A"), (QUIET, quiet, "B")):
        ax.bar(place, values[(slice(None), *at)], width=1, color=colour, label=f"at {name}")
    ax.set_title(f"A is {strength[LOUD] / strength[QUIET]:.0f} times as strong as B")
    ax.set_xlabel("channel")
    ax.set_xlim(-0.5, len(values) - 0.5)
    ax.set_ylim(top=1.25 * ax.get_ylim()[1])  # room for the legend
    ax.legend(ncols=2, loc="upper center", frameon=False, handlelength=1.2)


def run(words: list[str]) -> int:
    """Run `lrnorm demo` with these arguments and return its exit status."""
    parser = Parser(
        prog="lrnorm demo",
        description="Applies 96 oriented filters and the layer to a photograph, measures the time, "
        "and draws the responses before and after.",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="lrnorm-demo.png", help="default %(default)s"
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    given = parser.parse_args(words)
    for line in story(given.output, overwrite=given.force):
        print(line, flush=True)
    return 0
