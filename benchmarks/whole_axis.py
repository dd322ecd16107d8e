"""Times windows that hold the whole axis beside PyTorch's own functions for the same formula.

    python benchmarks/whole_axis.py

`torch.nn.functional.rms_norm` without gain is scale 1/N, beta 1/2, bias eps; `normalize` is scale
1, beta 1/2, bias 0. The table, the fastest of 15 interleaved rounds, all allocating, goes into
`results/whole_axis.md`, from where `page.py` takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

import lrnorm
from lrnorm import LRNSpec
from lrnorm.cli.bench import about_text, machine
from lrnorm.cli.measuring import BUSY_BELOW, batch_of, interleave

EPS = 1e-6
SHAPES = ((256, 1024), (16, 55, 55, 96))  # channels last
ROUNDS, THREADS = 15, 2
TABLE = Path(__file__).parent / "results" / "whole_axis.md"


def table() -> Iterator[str]:
    """The lines of the table."""
    torch.set_num_threads(THREADS)
    lrnorm.set_num_threads(THREADS)
    yield f"{about_text(machine())}; torch {torch.__version__}; {THREADS} threads; channels last."
    yield ""
    yield "| function | shape | PyTorch, µs | lrnorm, µs | PyTorch by lrnorm | |"
    yield "|---|---|---|---|---|---|"
    for shape in SHAPES:
        x = torch.randn(shape)
        channels = shape[-1]
        pairs = {
            "rms_norm": (
                lambda x=x, n=channels: torch.nn.functional.rms_norm(x, (n,), eps=EPS),
                LRNSpec(1 / channels, 0.5, EPS, None, None),
            ),
            "normalize": (
                lambda x=x: torch.nn.functional.normalize(x, dim=-1),
                LRNSpec(1.0, 0.5, 0.0, None, None),
            ),
        }
        for name, (theirs, spec) in pairs.items():
            ours = lambda x=x, spec=spec: lrnorm.local_response_norm(x, spec=spec, axis=-1)  # noqa: E731
            torch.testing.assert_close(ours(), theirs())
            measured = interleave([batch_of(theirs), batch_of(ours)], ROUNDS)
            them, us = (timing.min_ns / 1e3 for timing in measured.timings)
            busy = "busy" if measured.canary < BUSY_BELOW else ""
            size = "×".join(map(str, shape))
            yield (f"| {name} | {size} | {them:.0f} | {us:.0f} | {them / us:.1f} | {busy} |")


def main() -> None:
    text = "\n".join(table()) + "\n"
    TABLE.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
