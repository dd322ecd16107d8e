"""Your first layer, and what it does: a photograph, sixteen filters, one layer, three pictures.

    python examples/first_layer.py [--out FOLDER]

The text beside it is docs/tutorials/first_layer.md.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import skimage.color
import skimage.data
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view

import lrnorm

parser = argparse.ArgumentParser(description="Your first layer, and what it does.")
parser.add_argument("--out", type=Path, help="folder for the pictures; default: a new one")
out = parser.parse_args().out or Path(tempfile.mkdtemp(prefix="first_layer-"))
out.mkdir(parents=True, exist_ok=True)

# [filters]
photo = skimage.color.rgb2gray(skimage.data.chelsea())[:, 40:400]
angles = np.arange(16) * np.pi / 16


def gabor(angle: float) -> np.ndarray:
    """A wave under a bell, 17 × 17: it answers to lines in the direction of the angle."""
    i, j = np.mgrid[-8:9, -8:9]
    across = i * np.cos(angle) - j * np.sin(angle)
    kernel = np.exp(-(i**2 + j**2) / (2 * 3.0**2)) * np.cos(2 * np.pi * across / 7)
    kernel -= kernel.mean()  # no answer where nothing changes
    return kernel / np.abs(kernel).sum()


bank = np.array([gabor(angle) for angle in angles])
x = np.tensordot(bank, sliding_window_view(photo, (17, 17)), axes=((1, 2), (2, 3)))
x = np.maximum(x, 0)  # as after a convolution and its ReLU
x = (x / x.std()).astype(np.float32)
print("x:", x.shape, x.dtype)
# [end filters]

# [layer]
layer = lrnorm.LocalResponseNormalizationLayer(alpha=1.0, beta=0.5, channel_window_size=4)
y = layer(x)
print("y:", y.shape, y.dtype)
print(lrnorm.information(layer))
# [end layer]

# [formula]
squares = np.pad(x.astype(float) ** 2, ((4, 4), (0, 0), (0, 0)))
energy = sum(squares[k : k + 16] for k in range(9))
by_hand = x / (1 + energy / 9) ** 0.5
print(f"largest difference from the formula: {np.abs(y - by_hand).max():.0e}")
# [end formula]

# [two pixels]
glint, cheek = (93, 121), (166, 141)  # of an eye; fur
for name, z in (("before", x), ("after", y)):
    strength = np.sqrt((z**2).mean(axis=0))
    print(
        f"{name}: the glint is {strength[glint] / strength[cheek]:.1f} times as strong as the cheek"
    )
# [end two pixels]

# [explain]
strongest = int(x[:, *cheek].argmax())
print(lrnorm.explain(x, (strongest, *cheek), spec=layer.spec))
# [end explain]


# What goes in.
figure = Figure(figsize=(10.5, 3.3), layout="constrained")
panels = figure.subplots(1, 3)
framed = np.pad(bank, ((0, 0), (1, 1), (1, 1)), constant_values=bank.max())
mosaic = np.concatenate([np.concatenate(row, axis=1) for row in framed.reshape(4, 4, 19, 19)])
for ax, picture, title in (
    (panels[0], photo, "A photograph"),
    (panels[1], mosaic, "16 filters, one a direction"),
    (panels[2], x[0], "What the first sees: channel 0 of x"),
):
    ax.imshow(picture, cmap="gray")
    ax.set_title(title)
    ax.set_axis_off()
figure.savefig(out / "tutorial_first_layer_filters.png", dpi=80)

# [picture]
figure = Figure(figsize=(10.5, 7.6), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=[1.4, 1])
picture = lrnorm.plot.compare(x, y, ax=above.subplots())
law, at_glint, at_cheek = below.subplots(1, 3)
lrnorm.plot.response(layer.spec, ax=law)
lrnorm.plot.channels(x, layer.spec, at=glint, ax=at_glint)
lrnorm.plot.channels(x, layer.spec, at=cheek, ax=at_cheek)
# [end picture]
for name, (i, j) in (("glint", glint), ("cheek", cheek)):
    for left in (0, x.shape[2] + x.shape[2] // 30):
        picture.plot(left + j, i, "o", markersize=12, mec="red", mew=2, fillstyle="none")
        picture.text(left + j + 12, i - 12, name, color="white", backgroundcolor="black")
picture.set_title("What 16 filters see, and what the layer makes of it")
law.set_title("The more energy around,\nthe smaller the output")
at_glint.set_title("At the glint:\nmuch energy, cut down")
at_cheek.set_title("On the cheek:\nlittle energy, nearly kept")
figure.savefig(out / "tutorial_first_layer.png", dpi=80)

# [numbers]
figure = Figure(figsize=(10.5, 3.6), layout="constrained")
panels = figure.subplots(1, 3)
one = np.linspace(0, 4, 101)[np.newaxis]  # one channel, so that it is its own neighbourhood
for alpha in (0.5, 2, 8):
    curve = lrnorm.local_response_norm(one, alpha=alpha, channel_window_size=2, axis=0)
    panels[0].plot(one[0], curve[0], label=f"alpha={alpha}")
for beta in (0.25, 0.5, 0.75):
    curve = lrnorm.local_response_norm(one, alpha=5, beta=beta, axis=0)
    panels[1].plot(one[0], curve[0], label=f"beta={beta}")
spike = np.ones(16)
spike[8] = 4
for radius, mark in ((1, "o"), (3, "s"), (6, "^")):
    channels = lrnorm.local_response_norm(spike, alpha=5, channel_window_size=radius, axis=0)
    panels[2].plot(channels / channels.max(), mark + "-", label=f"radius {radius}")
# [end numbers]
titles = ("alpha: how soon it bends", "beta: how flat it gets", "window: who is pushed down")
for ax, title in zip(panels, titles, strict=True):
    ax.set_title(title)
    ax.set_xlabel("input")
    ax.set_ylabel("output")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
panels[2].set_xlabel("channel (input: 4 at 8, else 1)")
panels[2].set_ylabel("output, of the largest")
figure.savefig(out / "tutorial_first_layer_numbers.png", dpi=80)
print("pictures in", out)
