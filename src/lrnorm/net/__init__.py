"""Nets of layers with named ports.

    net(x) = layer_n(… layer_2(layer_1(x)))        NetChain
    net(x): every layer of what feeds it           NetGraph

A layer is anything that can be called: `lrnorm.LocalResponseNormalizationLayer`, a function, a
`torch.nn.Module`, or another net. `elementwise(function)` declares that a function keeps shapes.
"""

from lrnorm.net.functions import elementwise
from lrnorm.net.nets import NetChain, NetGraph
from lrnorm.net.ports import LayerLookupError, NetPort

__all__ = ["LayerLookupError", "NetChain", "NetGraph", "NetPort", "elementwise"]
