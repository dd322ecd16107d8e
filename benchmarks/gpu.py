"""Times the Triton kernels on a card, against a copy and PyTorch, and prints a Markdown table.

    python benchmarks/gpu.py

in an environment with lrnorm[torch], on a machine with CUDA. A figure is the median of 50 calls,
each timed by a pair of events after the cache was overwritten. `of copy` is the copy's time by
ours: 1 where forward is as fast as `copy_` of x within the card.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch
from torch.nn import functional as F

SHAPES = [(1, 96, 55, 55), (16, 192, 56, 56), (64, 96, 55, 55)]
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
DTYPES = [torch.float32, torch.float16]
SIZE, ALPHA, BETA, K = 5, 1e-4, 0.75, 1.0
ROUNDS, WARM = 50, 10


def milliseconds(calls: dict[str, Callable[[], object]], flush: torch.Tensor) -> dict[str, float]:
    """The median time of each, taken in turns."""
    for call in calls.values():
        for _ in range(WARM):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            flush.zero_()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            end.synchronize()
            times[name].append(start.elapsed_time(end))
    return {name: statistics.median(taken) for name, taken in times.items()}


def row(shape: tuple[int, ...], layout: str, dtype: torch.dtype, flush: torch.Tensor) -> str:
    from lrnorm._fronts.torch.triton import launch

    x, g = (
        torch.randn(shape, device="cuda").to(dtype, memory_format=LAYOUTS[layout]) for _ in range(2)
    )
    target = torch.empty_like(x)
    spec = (ALPHA / SIZE, BETA, K, SIZE // 2, (SIZE - 1) // 2, 1)
    leaf = x.detach().requires_grad_()
    y = F.local_response_norm(leaf, SIZE, ALPHA, BETA, K)
    torch.testing.assert_close(launch.forward(x, *spec), y.detach(), rtol=5e-3, atol=1e-5)
    taken = milliseconds(
        {
            "copy": lambda: target.copy_(x),
            "forward": lambda: launch.forward(x, *spec),
            "F": lambda: F.local_response_norm(x, SIZE, ALPHA, BETA, K),
            "vjp": lambda: launch.vjp(x, g, *spec),
            "F backward": lambda: torch.autograd.grad(y, leaf, g, retain_graph=True),
        },
        flush,
    )
    cells = [f"{taken[name]:.4f}" for name in ("copy", "forward", "F", "vjp", "F backward")]
    cells.insert(2, f"{taken['copy'] / taken['forward']:.2f}")
    name = "×".join(map(str, shape))
    return f"| {name} | {layout} | {str(dtype)[6:]} | " + " | ".join(cells) + " |"


def main() -> int:
    if not torch.cuda.is_available():
        print(
            "benchmarks/gpu.py needs a card: torch.cuda.is_available() is false.", file=sys.stderr
        )
        return 2
    # Larger than the caches of today's cards.
    flush = torch.empty(2**28, dtype=torch.uint8, device="cuda")
    print(
        f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, window {SIZE}, beta {BETA}"
    )
    print("\nTimes in ms.\n")
    print("| shape | layout | dtype | copy_ | forward | of copy | F | vjp | F backward |")
    print("|---|---|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        for layout in LAYOUTS:
            for dtype in DTYPES:
                print(row(shape, layout, dtype, flush), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
