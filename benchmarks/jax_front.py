"""lrnorm.jax beside the formula written with lax.reduce_window, in one interleaved run.

    python benchmarks/jax_front.py [--rounds 15] [--results benchmarks/results]

Prints a Markdown table; `--results` also keeps it there, under the date. Both sides are compiled
by jax.jit, and use every processor that JAX uses. Needs jax.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrnorm.jax
from lrnorm.bench.report import about_text, machine
from lrnorm.bench.timing import BUSY_BELOW, batch_of, interleave

SHAPE = (16, 192, 56, 56)
SMALL = (1, 8, 4, 4)
WIDTH, ALPHA, BETA, BIAS = 5, 1e-4, 0.75, 1.0
Norm = Callable[[jax.Array], jax.Array]


def ours(x: jax.Array) -> jax.Array:
    y: jax.Array = lrnorm.jax.local_response_norm(x, alpha=ALPHA, beta=BETA, bias=BIAS)
    return y


def straightforward(x: jax.Array) -> jax.Array:
    half = WIDTH // 2
    sums = jax.lax.reduce_window(
        x * x,
        0.0,
        jax.lax.add,
        (1, WIDTH, 1, 1),
        (1, 1, 1, 1),
        ((0, 0), (half, half), (0, 0), (0, 0)),
    )
    return x * (BIAS + ALPHA / WIDTH * sums) ** -BETA


def forward(norm: Norm, x: jax.Array) -> Callable[[], Any]:
    compiled = jax.jit(norm)
    return lambda: compiled(x).block_until_ready()


def gradient(norm: Norm, x: jax.Array, g: jax.Array) -> Callable[[], Any]:
    """From x and any cotangent to dx."""
    compiled = jax.jit(lambda x, g: jax.vjp(norm, x)[1](g)[0])
    return lambda: compiled(x, g).block_until_ready()


def both_ways(norm: Norm, x: jax.Array, g: jax.Array) -> Callable[[], Any]:
    """Forward and backward, y and dx."""

    @jax.jit
    def both(x: jax.Array, g: jax.Array) -> Any:
        y, backward = jax.vjp(norm, x)
        return y, backward(g)[0]

    return lambda: jax.block_until_ready(both(x, g))


def rows(rounds: int) -> list[tuple[str, str, float, str, str]]:
    rng = np.random.default_rng(0)
    x, g, small = (jnp.asarray(rng.standard_normal(s), "float32") for s in (SHAPE, SHAPE, SMALL))
    np.testing.assert_allclose(jax.jit(ours)(x), jax.jit(straightforward)(x), 1e-5)
    entrants = {
        "ours": forward(ours, x),
        "straightforward": forward(straightforward, x),
        "ours, gradient": gradient(ours, x, g),
        "straightforward, gradient": gradient(straightforward, x, g),
        "ours, both ways": both_ways(ours, x, g),
        "straightforward, both ways": both_ways(straightforward, x, g),
        "ours, small": forward(ours, small),
        "straightforward, small": forward(straightforward, small),
    }
    measured = interleave([batch_of(call) for call in entrants.values()], rounds)
    times = dict(zip(entrants, measured.timings, strict=True))
    canary = f"{measured.canary:.2f}{' BUSY' if measured.canary < BUSY_BELOW else ''}"

    def ratio(name: str, bound: float, suffix: str) -> tuple[str, str, float, str, str]:
        a, b = times["straightforward" + suffix], times["ours" + suffix]
        detail = f"{a.min_ns / 1e3:.0f} by {b.min_ns / 1e3:.0f} µs"
        detail += f"; medians {a.median_ns / b.median_ns:.1f}; rounds {b.rounds}"
        return name, f"≥ {bound:g}", a.min_ns / b.min_ns, canary, detail

    text = "×".join(map(str, SHAPE)) + " float32"
    return [
        ratio(f"{text}, forward: lax.reduce_window by ours", 5, ""),
        ratio(f"{text}, gradient: lax.reduce_window by ours", 5, ", gradient"),
        ratio(f"{text}, y and gradient: lax.reduce_window by ours", 5, ", both ways"),
        (
            "×".join(map(str, SMALL)) + ", compiled call, µs",
            "",
            times["ours, small"].min_ns / 1e3,
            canary,
            f"lax.reduce_window {times['straightforward, small'].min_ns / 1e3:.1f} µs",
        ),
    ]


def table(rounds: int) -> str:
    lines = [
        f"{about_text(machine())}; JAX {jax.__version__} on {jax.devices()[0].platform}",
        "",
        f"Fastest of {rounds} interleaved rounds.",
        "",
        "| what | goal | figure | canary | times |",
        "|---|---|---|---|---|",
    ]
    for name, bound, figure, canary, detail in rows(rounds):
        lines.append(f"| {name} | {bound} | {figure:.1f} | {canary} | {detail} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="lrnorm.jax beside lax.reduce_window")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--results", type=Path, help="keep the table in this folder")
    arguments = parser.parse_args()
    text = table(arguments.rounds)
    print(text, end="")
    if arguments.results:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d-%H%M")
        (arguments.results / f"jax-{stamp}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
