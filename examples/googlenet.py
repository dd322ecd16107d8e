"""GoogLeNet with trained weights, and what its two LRN layers are worth.

    python examples/googlenet.py

prints the first guess for three pictures with PyTorch's own LRN, with lrnorm's in its place, and
with none, and what each way costs.

The weights are those of the BVLC GoogLeNet of Caffe's model zoo (Szegedy et al., 2014), which are
not part of lrnorm. They are looked for in the folder that the environment variable LRNORM_GOOGLENET
names, then in shared/googlenet in and beside the repository: bvlc_googlenet_fp16.npz, an array for
each of Caffe's blobs (`conv1/7x7_s2_w` … in the order out, in, height, width; `_b` for biases),
and imagenet_synset_words.txt, a line for each of the 1000 labels.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import lrnorm.torch

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS, LABELS = "bvlc_googlenet_fp16.npz", "imagenet_synset_words.txt"
PICTURES = ("chelsea", "coffee", "rocket")
MEAN_BGR = (104.0, 117.0, 123.0)

# Channels of: 1×1; 3×3 and the 1×1 before it; 5×5 and the 1×1 before it; 1×1 after the pool.
INCEPTION = {
    "inception_3a": (192, 64, 96, 128, 16, 32, 32),
    "inception_3b": (256, 128, 128, 192, 32, 96, 64),
    "pool3": None,
    "inception_4a": (480, 192, 96, 208, 16, 48, 64),
    "inception_4b": (512, 160, 112, 224, 24, 64, 64),
    "inception_4c": (512, 128, 128, 256, 24, 64, 64),
    "inception_4d": (512, 112, 144, 288, 32, 64, 64),
    "inception_4e": (528, 256, 160, 320, 32, 128, 128),
    "pool4": None,
    "inception_5a": (832, 256, 160, 320, 32, 128, 128),
    "inception_5b": (832, 384, 192, 384, 48, 128, 128),
}


class Inception(nn.ModuleDict):
    """Four ways from the input to the output, side by side along the channels."""

    def __init__(
        self, inputs: int, one: int, before3: int, three: int, before5: int, five: int, pooled: int
    ) -> None:
        super().__init__(
            {
                "1x1": nn.Conv2d(inputs, one, 1),
                "3x3_reduce": nn.Conv2d(inputs, before3, 1),
                "3x3": nn.Conv2d(before3, three, 3, padding=1),
                "5x5_reduce": nn.Conv2d(inputs, before5, 1),
                "5x5": nn.Conv2d(before5, five, 5, padding=2),
                "pool_proj": nn.Conv2d(inputs, pooled, 1),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        ways = (
            self["1x1"](x),
            self["3x3"](F.relu(self["3x3_reduce"](x))),
            self["5x5"](F.relu(self["5x5_reduce"](x))),
            self["pool_proj"](F.max_pool2d(x, 3, stride=1, padding=1)),
        )
        return F.relu(torch.cat(ways, dim=1))


class GoogLeNet(nn.Sequential):
    """(batch, 3, 224, 224) to (batch, 1000), before the softmax; the modules have Caffe's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = named({"7x7_s2": nn.Conv2d(3, 64, 7, stride=2, padding=3), "relu": nn.ReLU()})
        self.pool1 = pool()
        self.norm1: nn.Module = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.conv2 = named(
            {
                "3x3_reduce": nn.Conv2d(64, 64, 1),
                "relu_reduce": nn.ReLU(),
                "3x3": nn.Conv2d(64, 192, 3, padding=1),
                "relu": nn.ReLU(),
            }
        )
        self.norm2: nn.Module = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.pool2 = pool()
        for name, channels in INCEPTION.items():
            self.add_module(name, Inception(*channels) if channels else pool())
        self.pool5 = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.loss3 = named({"classifier": nn.Linear(1024, 1000)})


def named(modules: dict[str, nn.Module]) -> nn.Sequential:
    sequence = nn.Sequential()
    for name, module in modules.items():
        sequence.add_module(name, module)
    return sequence


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)  # Caffe rounds sizes up


def folder() -> Path:
    """Where the weights are; FileNotFoundError where they are nowhere."""
    asked = os.environ.get("LRNORM_GOOGLENET")
    beside = [parent / "shared" / "googlenet" for parent in (ROOT, ROOT.parent)]
    places = [Path(asked)] if asked else beside
    for place in places:
        if (place / WEIGHTS).is_file() and (place / LABELS).is_file():
            return place
    raise FileNotFoundError(
        f"the example needs {WEIGHTS} and {LABELS}, which are not in "
        f"{' or '.join(map(str, places))}. Set LRNORM_GOOGLENET to the folder that has them."
    )


def load(place: Path) -> GoogLeNet:
    """The net with the arrays of the folder, all of them, in evaluation mode."""
    net = GoogLeNet()
    with np.load(place / WEIGHTS) as arrays:
        net.load_state_dict({state_name(key): torch.from_numpy(arrays[key]) for key in arrays})
    return net.eval()


def state_name(blob: str) -> str:
    """Caffe's `conv2/3x3_w` is PyTorch's `conv2.3x3.weight`."""
    path, kind = blob.rsplit("_", 1)
    return f"{path.replace('/', '.')}.{'weight' if kind == 'w' else 'bias'}"


def labels(place: Path) -> list[str]:
    """What each of the 1000 outputs is called: the first of its names."""
    lines = (place / LABELS).read_text(encoding="utf-8").splitlines()
    return [line.split(" ", 1)[1].split(",")[0] for line in lines]


def cropped(picture: np.ndarray) -> Image.Image:
    """An RGB picture of bytes, its short side brought to 256, and the centre 224 × 224 of it."""
    image = Image.fromarray(picture)
    shrink = 256 / min(image.size)
    width, height = (round(shrink * side) for side in image.size)
    left, top = (width - 224) // 2, (height - 224) // 2
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return image.crop((left, top, left + 224, top + 224))


def prepared(picture: np.ndarray) -> Tensor:
    """What the net was trained on: (1, 3, 224, 224), blue first, the mean colour taken off."""
    bgr = np.asarray(cropped(picture), np.float32)[:, :, ::-1] - np.array(MEAN_BGR, np.float32)
    return torch.from_numpy(bgr.transpose(2, 0, 1).copy()).unsqueeze(0)


@torch.inference_mode()
def probabilities(net: nn.Module, x: Tensor) -> Tensor:
    return torch.softmax(net(x), dim=1)


def without_lrn(net: GoogLeNet) -> GoogLeNet:
    net.norm1, net.norm2 = nn.Identity(), nn.Identity()
    return net


WAYS: dict[str, Callable[[GoogLeNet], Any]] = {
    "nn.LocalResponseNorm": lambda net: net,
    "lrnorm.torch.replace": lrnorm.torch.replace,
    "without LRN": without_lrn,
}
ROUNDS = 5


@torch.inference_mode()
def seconds(net: nn.Sequential, x: Tensor) -> tuple[float, float]:
    """What the whole net takes, and what its LRN layers take of that."""
    took = dict.fromkeys(("net", "lrn"), 0.0)
    for name, module in net.named_children():
        start = time.perf_counter()
        x = module(x)
        took["lrn" if name.startswith("norm") else "net"] += time.perf_counter() - start
    return took["net"] + took["lrn"], took["lrn"]


def main() -> None:
    place = folder()
    names = labels(place)
    x = torch.cat([prepared(getattr(skimage.data, name)()) for name in PICTURES])
    nets = {way: change(load(place)) for way, change in WAYS.items()}
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in nets}
    for _ in range(ROUNDS):  # in turn, so that a busy moment meets all
        for way, net in nets.items():
            times[way].append(seconds(net, x))
    print(f"{'':22}", *(f"{name:20}" for name in PICTURES), "the net takes, its LRN")
    for way, net in nets.items():
        best = probabilities(net, x).max(dim=1)
        guesses = (f"{names[i]} {p:.3f}" for p, i in zip(best.values, best.indices, strict=True))
        whole, lrn = (1e3 * min(column) for column in zip(*times[way], strict=True))
        print(f"{way:22}", *(f"{guess:20}" for guess in guesses), f"{whole:.0f} ms, {lrn:.1f} ms")


if __name__ == "__main__":
    main()
