"""How time is measured: short calls in batches, entrants interleaved, a canary beside them."""

from __future__ import annotations

import gc
import hashlib
import itertools
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ROUNDS = 15
SHORTEST_SAMPLE_NS = 200_000  # far above the clock's step and the cost of reading it
MOST_CALLS = 1 << 20
# OpenMP's workers spin for up to 16 ms after their last call; whoever comes next would share the
# cores with them.
SETTLE_S = 0.02
# An entrant that has used this much stops taking part, and its row says after how many rounds.
LIMIT_S = 60.0
BUSY_BELOW = 1.6
_CANARY_BYTES = bytes(4 << 20)


@dataclass(frozen=True)
class Timing:
    """Nanoseconds a call, over the rounds an entrant took part in."""

    min_ns: float
    median_ns: float
    rounds: int
    calls: int  # in each round's sample


@dataclass(frozen=True)
class Measured:
    timings: list[Timing]
    canary: float  # how much faster two threads finish two pieces of work than one thread


def batch_of(call: Callable[[], Any]) -> Callable[[int], int]:
    """`call` as a function that runs it so many times and returns the nanoseconds."""

    def batch(calls: int) -> int:
        turns = itertools.repeat(None, calls)
        start = time.perf_counter_ns()
        for _ in turns:
            call()
        return time.perf_counter_ns() - start

    return batch


def canary() -> tuple[int, int]:
    """Nanoseconds for two pieces of work on one thread, and on two.

    SHA-256 of a constant: pure arithmetic outside the GIL, and none of lrnorm's own code.
    """
    start = time.perf_counter_ns()
    hashlib.sha256(_CANARY_BYTES)
    hashlib.sha256(_CANARY_BYTES)
    one = time.perf_counter_ns() - start
    other = threading.Thread(target=hashlib.sha256, args=(_CANARY_BYTES,))
    start = time.perf_counter_ns()
    other.start()
    hashlib.sha256(_CANARY_BYTES)
    other.join()
    return one, time.perf_counter_ns() - start


def calls_for(batch: Callable[[int], int]) -> int:
    """How many calls make a sample long enough to time."""
    batch(1)  # the first call pays for what is set up once
    calls = 1
    while calls < MOST_CALLS and batch(calls) < SHORTEST_SAMPLE_NS:
        calls *= 2
    return calls


def interleave(
    batches: Sequence[Callable[[int], int]],
    rounds: int = ROUNDS,
    *,
    limit_s: float = LIMIT_S,
    settle_s: float = SETTLE_S,
    canary: Callable[[], tuple[int, int]] = canary,
) -> Measured:
    """Time every batch once in each round, each round in another order."""
    shuffle = random.Random(0).shuffle
    samples: list[list[float]] = [[] for _ in batches]
    spent = [0.0] * len(batches)
    ones, twos = [], []
    collecting = gc.isenabled()
    gc.disable()
    try:
        calls = [calls_for(batch) for batch in batches]
        order = list(range(len(batches)))
        for _ in range(rounds):
            time.sleep(settle_s)
            one, two = canary()
            ones.append(one)
            twos.append(two)
            shuffle(order)
            for i in order:
                if spent[i] > limit_s:
                    continue
                time.sleep(settle_s)
                before = time.perf_counter()
                batches[i](calls[i])  # wakes its threads and brings its data back into the cache
                samples[i].append(batches[i](calls[i]) / calls[i])
                spent[i] += time.perf_counter() - before
    finally:
        if collecting:
            gc.enable()
    timings = [
        Timing(min(s), statistics.median(s), len(s), n) for s, n in zip(samples, calls, strict=True)
    ]
    return Measured(timings, statistics.median(ones) / statistics.median(twos))
