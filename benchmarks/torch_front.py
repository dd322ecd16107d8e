"""lrnorm.torch beside PyTorch's own, in one interleaved run: time, memory, a small call.

    python benchmarks/torch_front.py [--rounds 15] [--results benchmarks/results]

Prints a Markdown table; `--results` also keeps it there, under the date. Needs torch; the rows of
torch.compile need a C++ compiler.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from printed import Row, canary_text, figures_text, parser_of, print_table, ratio

import lrnorm.torch
from lrnorm.cli.measuring import batch_of, interleave

SHAPE = (16, 192, 56, 56)
SMALL = (1, 8, 4, 4)
THREADS = 2
Norm = Callable[..., torch.Tensor]


def inference(norm: Norm, x: torch.Tensor) -> Callable[[], Any]:
    def call() -> Any:
        with torch.no_grad():
            return norm(x, 5)

    return call


def training(norm: Norm, x: torch.Tensor, g: torch.Tensor) -> Callable[[], Any]:
    leaf = x.clone().requires_grad_()

    def call() -> Any:
        leaf.grad = None
        norm(leaf, 5).backward(g)
        return leaf.grad

    return call


def peak_of(name: str) -> int:
    """Bytes at the highest beyond the inputs, of one forward and backward in a new process."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak", name], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def highest_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def print_peak(name: str) -> None:
    norm = {"ours": lrnorm.torch.local_response_norm, "torch": F.local_response_norm}[name]
    training(norm, torch.randn(SMALL), torch.randn(SMALL))()  # what is loaded once
    x, g = torch.randn(SHAPE), torch.randn(SHAPE)
    call = training(norm, x, g)
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    before = highest_bytes()
    call()
    print(highest_bytes() - before)


def rows(rounds: int) -> list[Row]:
    torch.set_num_threads(THREADS)
    ours, theirs = lrnorm.torch.local_response_norm, F.local_response_norm
    compiled = torch.compile(F.local_response_norm, fullgraph=True)
    x, g, small = torch.randn(SHAPE), torch.randn(SHAPE), torch.randn(SMALL)
    entrants = {
        "ours": inference(ours, x),
        "eager": inference(theirs, x),
        "compiled": inference(compiled, x),
        "ours, both ways": training(ours, x, g),
        "eager, both ways": training(theirs, x, g),
        "compiled, both ways": training(compiled, x, g),
        "ours, small": inference(ours, small),
        "eager, small": inference(theirs, small),
    }
    measured = interleave([batch_of(call) for call in entrants.values()], rounds)
    times = dict(zip(entrants, measured.timings, strict=True))
    canary = canary_text(measured)
    beside = partial(ratio, times, canary)
    text = "×".join(map(str, SHAPE)) + " float32"
    small_us = times["ours, small"].min_ns / 1e3
    peaks = {name: peak_of(name) for name in ("ours", "torch")}
    return [
        beside(f"{text}, forward: PyTorch eager by ours", 20, "eager", "ours"),
        beside(f"{text}, forward: torch.compile by ours", 4, "compiled", "ours"),
        beside(
            f"{text}, forward and backward: PyTorch eager by ours",
            20,
            "eager, both ways",
            "ours, both ways",
        ),
        beside(
            f"{text}, forward and backward: torch.compile by ours",
            4,
            "compiled, both ways",
            "ours, both ways",
        ),
        (
            f"{text}, forward and backward: PyTorch's peak memory by ours",
            "≥ 3",
            peaks["torch"] / peaks["ours"],
            "",
            f"{peaks['torch'] / 2**20:.0f} by {peaks['ours'] / 2**20:.0f} MiB beyond the inputs",
        ),
        (
            "×".join(map(str, SMALL)) + " without gradient, µs",
            "≤ 12",
            small_us,
            canary,
            f"PyTorch eager {times['eager, small'].min_ns / 1e3:.1f} µs",
        ),
    ]


def table(rounds: int) -> str:
    return figures_text(f"PyTorch {torch.__version__}; {THREADS} threads", rounds, rows(rounds))


def main() -> None:
    parser = parser_of("lrnorm.torch beside PyTorch's own")
    parser.add_argument("--peak", choices=("ours", "torch"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(arguments.peak)
    else:
        print_table(arguments, "torch", table)


if __name__ == "__main__":
    main()
