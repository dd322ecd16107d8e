"""Draws the pictures of docs/nets.md into docs/images: python docs/nets_images.py"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

import lrnorm
from lrnorm import LocalResponseNormalizationLayer, NetChain, NetGraph, NetPort, information

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import googlenet_net

IMAGES = Path(__file__).parent / "images"


def two_eyes() -> NetGraph:
    """A net with a net inside that has two ports at either end."""
    norm = LocalResponseNormalizationLayer()
    stem = NetChain({"conv": nn.Conv2d(3, 8, 3), "norm": norm})
    eyes = NetGraph(
        {"a": stem, "b": stem},
        [
            (NetPort("left"), "a", NetPort("seen left")),
            (NetPort("right"), "b", NetPort("seen right")),
        ],
    )
    return NetGraph(
        {"eyes": eyes, "difference": np.subtract, "size": abs},
        [
            (NetPort("left"), NetPort("eyes", "left")),
            (NetPort("right"), NetPort("eyes", "right")),
            (NetPort("eyes", "seen left"), "difference", "size"),
            (NetPort("eyes", "seen right"), "difference"),
        ],
        input={"left": (3, 32, 32), "right": (3, 32, 32)},
    )


def small_model() -> ModelProto:
    """The model of the page."""
    weights = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["picture", "weights"], ["a"], name="conv"),
            helper.make_node("LRN", ["a"], ["b"], name="norm", size=5, alpha=1.0),
            helper.make_node("Relu", ["b"], ["c"], name="relu"),
            helper.make_node("Add", ["c", "a"], ["features"], name="skip"),
        ],
        "small",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 8, 30, 30])],
        initializer=[numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    pictures = {
        "net_summary": (two_eyes(), "SummaryGraphic"),
        "net_full": (two_eyes(), "FullSummaryGraphic"),
        "onnx_net": (lrnorm.onnx.load(small_model()), "SummaryGraphic"),
        "onnx_node_graph": (lrnorm.onnx.load(small_model()), "NodeGraphPlot"),
        "inception": (googlenet_net.googlenet()["inception_3a"], "SummaryGraphic"),
    }
    for name, (net, what) in pictures.items():
        information(net, what).save(IMAGES / f"{name}.svg")


if __name__ == "__main__":
    main()
