"""`lrnorm bench`: measure the speed here, against copying and against others."""

from __future__ import annotations

from lrnorm import bench


def run(words: list[str]) -> int:
    """Run the command with these words; the result is the exit status."""
    return bench.main(words)
