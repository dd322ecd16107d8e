"""Whole nets with PyTorch's LRN, with lrnorm's in its place, and with none: forward, in turn.

GoogLeNet and AlexNet of examples/, with random weights: how long they take does not depend on
them. The difference to "without LRN" is what the layer costs. Needs torch, scikit-image, pillow.
evidence.py calls it.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lrnorm.torch
from lrnorm.cli.measuring import (
    OURS_ALLOCATING,
    Case,
    Entrant,
    Row,
    Who,
    batch_of,
    measure_row,
    our_version,
)

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))
import alexnet as alexnet_example
import googlenet as googlenet_example

BATCHES = (1, 8)
THREADS = 2
LIMIT_S = 8.0
WITHOUT = "without LRN"


def googlenet() -> nn.Module:
    return googlenet_example.GoogLeNet()


def alexnet() -> nn.Module:
    """The layers of the example, with PyTorch's LRN."""
    words = lrnorm.conventions.write("torch", alexnet_example.norm.spec)
    layers = lrnorm.information(alexnet_example.alexnet(), "LayersList")
    return nn.Sequential(
        *(
            nn.LocalResponseNorm(**words) if layer == alexnet_example.norm else layer
            for layer in layers
        )
    )


def without_lrn(net: nn.Module) -> nn.Module:
    for name in lrnorm.torch.find(net):
        net.set_submodule(name, nn.Identity())
    return net


# Each net, and the shape of one picture.
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "GoogLeNet": (googlenet, (3, 224, 224)),
    "AlexNet": (alexnet, (3, 227, 227)),
}
WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "torch": lambda net: net,
    OURS_ALLOCATING: lrnorm.torch.replace,
    WITHOUT: without_lrn,
}


def forward(net: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    def call() -> Any:
        with torch.inference_mode():
            return net(x)

    return call


def measure_nets(rounds: int) -> Iterator[Row]:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    for name, (build, picture) in NETS.items():
        net = build().eval()
        net(torch.zeros(1, *picture))  # lazy layers learn their shapes
        spec = next(iter(lrnorm.torch.find(net).values()))
        words = lrnorm.conventions.write("torch", spec)
        ways = {way: change(copy.deepcopy(net)) for way, change in WAYS.items()}
        for batch in BATCHES:
            case = Case((batch, *picture), alpha=words["alpha"], bias=words["k"], threads=THREADS)
            print(f"{name} {case.shape_text}", file=sys.stderr, flush=True)
            row = entrants(ways, case)
            yield measure_row(case, row, rounds, {}, limit_s=LIMIT_S, sweep=name)


def entrants(ways: dict[str, nn.Module], case: Case) -> list[Entrant]:
    x = torch.randn(case.shape)
    calls = {way: forward(net, x) for way, net in ways.items()}
    theirs, ours = calls["torch"](), calls[OURS_ALLOCATING]()
    far = float((ours - theirs).abs().max() / theirs.abs().max())
    versions = dict.fromkeys(WAYS, str(torch.__version__)) | {OURS_ALLOCATING: our_version()}
    return [
        Entrant(
            Who(
                case,
                way,
                allocates=True,
                threads=str(THREADS),
                version=versions[way].split("+")[0],
                disagreement=far if way == "torch" else None,
            ),
            batch_of(call),
        )
        for way, call in calls.items()
    ]
