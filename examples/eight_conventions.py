"""Eight conventions, one cat: what a trained GoogLeNet sees under eight readings of its LRN.

    python examples/eight_conventions.py [PICTURE.png]

GoogLeNet was trained with local_size 5, alpha 1e-4, beta 0.75, k 1 in Caffe's words. The other
readings are what people have made of these words on the way to another framework. Weights and
labels are found as examples/googlenet.py says.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import googlenet
import skimage.data
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor, nn

import lrnorm
from lrnorm import LRNSpec, conventions

PICTURE = googlenet.ROOT / "docs" / "images" / "eight_conventions.png"
AS_TRAINED, SILENT, LOUD = "as trained", "same answer, other numbers", "another answer"
COLOURS = {AS_TRAINED: "#1b7f5c", SILENT: "#66758a", LOUD: "#c8402f"}

Guess = tuple[str, float]


@dataclass(frozen=True)
class Reading:
    """A reading of the words; `spec=None` leaves the layer out."""

    text: str
    spec: LRNSpec | None
    axis: int = 1

    @property
    def formula(self) -> str:
        if self.spec is None:
            return "x, as it came"
        s, (before, after) = self.spec, self.spec.ends(sys.maxsize)
        window = f"{before + after + 1} {'channels' if self.axis == 1 else 'pixels of a row'}"
        return f"x / ({s.bias:g} + {s.scale:.3g} × sum of x² over {window}) ^ {s.beta:g}"


def caffe(**other: float) -> LRNSpec:
    words = {"local_size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
    return conventions.read("caffe", **words | other)


TWICE = Reading("Alpha divided twice", caffe(alpha=1e-4 / 5))
READINGS = (
    Reading("As trained: alpha / 5", caffe()),
    TWICE,
    Reading(
        "Alpha not divided",
        conventions.read("tensorflow", depth_radius=2, alpha=1e-4, beta=0.75),
    ),
    Reading("k = 2, as in AlexNet", caffe(k=2.0)),
    Reading(
        "Size 5 taken for a radius",
        conventions.read("lrnorm", channel_window_size=5, alpha=1e-4, beta=0.75),
    ),
    Reading("Channels taken to be last", caffe(), axis=-1),
    Reading("TensorFlow's defaults", conventions.read("tensorflow")),
    Reading("No LRN at all", None),
)


class LRN(nn.Module):
    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading

    def forward(self, x: Tensor) -> Tensor:
        if self.reading.spec is None:
            return x
        return lrnorm.local_response_norm(x, spec=self.reading.spec, axis=self.reading.axis)


def probabilities(net: googlenet.GoogLeNet, reading: Reading, x: Tensor) -> Tensor:
    net.norm1, net.norm2 = LRN(reading), LRN(reading)
    return googlenet.probabilities(net, x)


def figure(cats: list[Guess], note: str) -> Figure:
    """The cat, and a bar for the first guess of each reading."""
    figure = Figure(figsize=(10.5, 6.4), layout="constrained", dpi=120)
    figure.suptitle(
        "Eight conventions, one cat: a trained GoogLeNet, its LRN read in eight ways",
        fontsize=15,
        fontweight="bold",
    )
    photo, ax = figure.subplots(1, 2, width_ratios=[1, 2.6])
    photo.imshow(googlenet.cropped(skimage.data.chelsea()))
    photo.set_axis_off()
    photo.set_title("What the net is shown", fontsize=11)
    for place, (reading, (label, p)) in enumerate(zip(READINGS, cats, strict=True)):
        verdict = AS_TRAINED if place == 0 else SILENT if label == cats[0][0] else LOUD
        ax.barh(place, p, height=0.5, color=COLOURS[verdict])
        guess = f"{label} {p:.3f}"
        ax.text(p + 0.012, place, guess, va="center", color=COLOURS[verdict], weight="bold")
        ax.text(0, place + 0.42, reading.formula, va="center", fontsize=8, color="0.35")
    ax.set_yticks(range(len(READINGS)), [reading.text for reading in READINGS], fontsize=11)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, 1.3)  # room for the longest guess
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    ax.set_xlabel("probability of the first guess")
    ax.set_ylim(len(READINGS) - 0.3, -0.5)
    ax.spines[["top", "right", "left"]].set_visible(False)
    keys = [Patch(color=colour, label=verdict) for verdict, colour in COLOURS.items()]
    ax.legend(handles=keys, loc="lower right", bbox_to_anchor=(1, 0.16), frameon=False)
    figure.supxlabel(note, fontsize=10, color="0.25")
    return figure


def luck(rockets: list[Guess]) -> str:
    (right, p), (wrong, q) = rockets[0], rockets[READINGS.index(TWICE)]
    return (
        "No wrong reading raises an error, and where the cat is found it is luck:\n"
        "on a photograph of a rocket, alpha divided twice turns "
        f"{right} {p:.3f} into {wrong} {q:.3f}."
    )


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    place = googlenet.folder()
    net, names = googlenet.load(place), googlenet.labels(place)
    photos = (skimage.data.chelsea(), skimage.data.rocket())
    x = torch.cat([googlenet.prepared(photo) for photo in photos])
    guesses = []
    for reading in READINGS:
        best = probabilities(net, reading, x).max(dim=1)
        guesses.append([(names[i], float(p)) for p, i in zip(*best, strict=True)])
        print(f"{reading.text:27}", *(f"{label:14}{p:.3f}   " for label, p in guesses[-1]))
    cats, rockets = (list(column) for column in zip(*guesses, strict=True))
    drawn = io.BytesIO()
    figure(cats, luck(rockets)).savefig(drawn)
    Image.open(drawn).convert("RGB").quantize(256).save(path, optimize=True)  # a third of the bytes
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
