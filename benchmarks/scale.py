"""Times `lrnorm apply x.zarr -o y.zarr` against copying x.zarr, and prints a Markdown table.

    python benchmarks/scale.py [--gigabytes 1] [--folder DIR] [--rounds 3]

It needs lrnorm[dask]; --gigabytes 8 takes 24 GB of disk. The array is float32, of random numbers,
in chunks of all 96 channels by 128 × 128 pixels, with Zarr's default codec. The copy reads and
writes chunk by chunk in as many threads as ours. Both end when the files are on the disk. A time is
the shortest of the rounds, in which both take turns. Memory is the largest resident size of the
command in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import zarr

from lrnorm import LRNSpec, _core, files
from lrnorm.files import chunked, zarr_store
from lrnorm.files.atomic import sync
from lrnorm.files.resume import Piece

CHUNK = (1, 96, 128, 128)
SIDE = 512


def random_array(path: Path, gigabytes: float) -> int:
    """Make it; the result is its bytes."""
    items = max(1, round(gigabytes * 1e9 / (4 * CHUNK[1] * SIDE * SIDE)))
    x = zarr.create_array(path, shape=(items, CHUNK[1], SIDE, SIDE), dtype="f4", chunks=CHUNK)
    rng = np.random.default_rng(0)
    for i in range(items):
        x[i] = rng.standard_normal(x.shape[1:], np.float32)
    return x.nbytes


def copy(source: Path, target: Path) -> None:
    x = zarr_store.Stored(source)
    target.mkdir()
    zarr_store.create_like(x, target, x.dtype)
    y = zarr_store.Stored(target, "r+")
    pieces = chunked.pieces_of(y, (1,), LRNSpec.from_keywords())

    def one(piece: Piece) -> None:
        y[piece.read] = x[piece.read]

    with ThreadPoolExecutor(_core.thread_count() + 1) as pool:
        list(pool.map(one, pieces))
    sync(target)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def resident(source: Path, target: Path) -> float:
    """The largest resident size of the command, in MB: it is the only child so far."""
    words = ["apply", str(source), "-o", str(target), "--beta", "0.75"]
    subprocess.run([sys.executable, "-m", "lrnorm", *words], check=True, capture_output=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed and memory of Zarr in pieces.")
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--folder", help="on the disk to measure; default: a temporary one")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        source, target = Path(name, "x.zarr"), Path(name, "y.zarr")
        size = random_array(source, given.gigabytes)
        memory = resident(source, target)
        shutil.rmtree(target)
        ways: dict[str, Callable[[], float]] = {
            "copy": lambda: seconds(lambda: copy(source, target)),
            "lrnorm": lambda: seconds(lambda: files.apply(source, target, beta=0.75)),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(given.rounds):
            for way, run in ways.items():
                times[way].append(run())
                shutil.rmtree(target)
    load = os.getloadavg()[0]
    print(f"{size / 1e9:.2f} GB of float32, {os.cpu_count()} processors, load {load:.1f}\n")
    print("| | seconds | MB/s | of the copy's speed |\n|---|---|---|---|")
    best = {way: min(taken) for way, taken in times.items()}
    for way, taken in best.items():
        print(f"| {way} | {taken:.2f} | {size / 1e6 / taken:.0f} | {best['copy'] / taken:.2f} |")
    print(f"\nlargest resident size of the command: {memory:.0f} MB")


if __name__ == "__main__":
    main()
