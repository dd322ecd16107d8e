"""GoogLeNet as a net of nets: nine inception modules, and one shape, that of the input.

    python examples/googlenet_net.py [DRAWING.svg or .png]

prints what the net is made of and its guesses for three pictures, with the trained weights that
examples/googlenet.py speaks of. A drawing shows one inception module.
"""

from __future__ import annotations

import sys

import numpy as np
import skimage.data
import torch
from googlenet import INCEPTION, PICTURES, folder, labels, load, pool, prepared
from torch import Tensor, nn

import lrnorm
from lrnorm import NetChain, NetGraph
from lrnorm.torch import as_module

norm = lrnorm.LocalResponseNormalizationLayer.from_convention(
    "caffe", local_size=5, alpha=1e-4, beta=0.75, k=1.0
)


class Concat(nn.Module):
    """Channels beside channels."""

    def forward(self, *ways: Tensor) -> Tensor:
        return torch.cat(ways, dim=1)


def inception(one: int, before3: int, three: int, before5: int, five: int, pooled: int) -> NetGraph:
    """Four ways from the input to the output, side by side along the channels."""
    return NetGraph(
        {
            "1x1": nn.LazyConv2d(one, 1),
            "3x3_reduce": nn.LazyConv2d(before3, 1),
            "relu_3x3": nn.ReLU(),
            "3x3": nn.LazyConv2d(three, 3, padding=1),
            "5x5_reduce": nn.LazyConv2d(before5, 1),
            "relu_5x5": nn.ReLU(),
            "5x5": nn.LazyConv2d(five, 5, padding=2),
            "pool": nn.MaxPool2d(3, stride=1, padding=1),
            "pool_proj": nn.LazyConv2d(pooled, 1),
            "concat": Concat(),
            "relu": nn.ReLU(),
        },
        [
            ("1x1", "concat"),
            ("3x3_reduce", "relu_3x3", "3x3", "concat"),
            ("5x5_reduce", "relu_5x5", "5x5", "concat"),
            ("pool", "pool_proj", "concat", "relu"),
        ],
    )


def googlenet() -> NetChain:
    """(3, 224, 224) to 1000 probabilities. Names are those of examples/googlenet.py."""
    first = {"7x7_s2": nn.LazyConv2d(64, 7, stride=2, padding=3), "relu": nn.ReLU()}
    second = {
        "3x3_reduce": nn.LazyConv2d(64, 1),
        "relu_reduce": nn.ReLU(),
        "3x3": nn.LazyConv2d(192, 3, padding=1),
        "relu": nn.ReLU(),
    }
    stem = {
        "conv1": NetChain(first),
        "pool1": pool(),
        "norm1": norm,
        "conv2": NetChain(second),
        "norm2": norm,
        "pool2": pool(),
    }
    modules = {
        name: inception(*channels[1:]) if channels else pool()
        for name, channels in INCEPTION.items()
    }
    head = {
        "pool5": NetChain([nn.AdaptiveAvgPool2d(1), nn.Flatten()]),
        "loss3": NetChain({"classifier": nn.LazyLinear(1000)}),
        "softmax": nn.Softmax(dim=1),
    }
    return NetChain(stem | modules | head, input=(3, 224, 224))


def trained() -> NetChain:
    """With the arrays of the folder; FileNotFoundError where there is none."""
    net = googlenet()
    as_module(net).load_state_dict(load(folder()).state_dict())
    return net


def main() -> None:
    net = googlenet()
    print(lrnorm.information(net))
    for path in sys.argv[1:2]:
        lrnorm.information(net["inception_3a"], "SummaryGraphic").save(path)
    names = labels(folder())
    pictures = np.concatenate([prepared(getattr(skimage.data, name)()) for name in PICTURES])
    for picture, found in zip(PICTURES, trained()(pictures), strict=True):
        print(f"{picture}: {names[found.argmax()]} {found.max():.3f}")


if __name__ == "__main__":
    main()
