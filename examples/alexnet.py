"""AlexNet as a net: one shape is given, that of the input, and every other is inferred.

python examples/alexnet.py [DRAWING.svg or .png]
"""

import sys

import numpy as np
from torch import nn

import lrnorm

norm = lrnorm.LocalResponseNormalizationLayer.from_convention(
    "alexnet_paper", n=5, alpha=1e-4, beta=0.75, k=2.0
)


def alexnet() -> lrnorm.NetChain:
    features = {
        "conv1": nn.LazyConv2d(96, 11, stride=4),
        "relu1": nn.ReLU(),
        "norm1": norm,
        "pool1": nn.MaxPool2d(3, 2),
        "conv2": nn.LazyConv2d(256, 5, padding=2, groups=2),
        "relu2": nn.ReLU(),
        "norm2": norm,
        "pool2": nn.MaxPool2d(3, 2),
        "conv3": nn.LazyConv2d(384, 3, padding=1),
        "relu3": nn.ReLU(),
        "conv4": nn.LazyConv2d(384, 3, padding=1, groups=2),
        "relu4": nn.ReLU(),
        "conv5": nn.LazyConv2d(256, 3, padding=1, groups=2),
        "relu5": nn.ReLU(),
        "pool5": nn.MaxPool2d(3, 2),
    }
    classifier = {
        "flat": nn.Flatten(),
        "drop6": nn.Dropout(),
        "fc6": nn.LazyLinear(4096),
        "relu6": nn.ReLU(),
        "drop7": nn.Dropout(),
        "fc7": nn.LazyLinear(4096),
        "relu7": nn.ReLU(),
        "fc8": nn.LazyLinear(1000),
    }
    return lrnorm.NetChain(features | classifier, input=(3, 227, 227))


if __name__ == "__main__":
    net = alexnet()
    picture = np.random.default_rng(0).random((3, 227, 227), dtype=np.float32)
    scores = net(picture)
    print(net)
    print(lrnorm.information(net))
    print("at norm1:", net(picture, port=lrnorm.NetPort("norm1")).shape, "scores:", scores.shape)
    for path in sys.argv[1:2]:
        lrnorm.information(net, "SummaryGraphic").save(path)
