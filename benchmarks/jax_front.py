"""lrnorm.jax beside the formula written with lax.reduce_window, in one interleaved run.

    python benchmarks/jax_front.py [--rounds 15] [--results benchmarks/results]

Prints a Markdown table; `--results` also keeps it there, under the date. Both sides are compiled
by jax.jit, and use every processor that JAX uses. Needs jax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from printed import Row, canary_text, figures_text, parser_of, print_table, ratio

import lrnorm.jax
from lrnorm.cli.measuring import batch_of, interleave

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


def rows(rounds: int) -> list[Row]:
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
    canary = canary_text(measured)

    def beside(name: str, bound: float, suffix: str) -> Row:
        return ratio(times, canary, name, bound, "straightforward" + suffix, "ours" + suffix)

    text = "×".join(map(str, SHAPE)) + " float32"
    return [
        beside(f"{text}, forward: lax.reduce_window by ours", 5, ""),
        beside(f"{text}, gradient: lax.reduce_window by ours", 5, ", gradient"),
        beside(f"{text}, y and gradient: lax.reduce_window by ours", 5, ", both ways"),
        (
            "×".join(map(str, SMALL)) + ", compiled call, µs",
            "",
            times["ours, small"].min_ns / 1e3,
            canary,
            f"lax.reduce_window {times['straightforward, small'].min_ns / 1e3:.1f} µs",
        ),
    ]


def table(rounds: int) -> str:
    versions = f"JAX {jax.__version__} on {jax.devices()[0].platform}"
    return figures_text(versions, rounds, rows(rounds))


def main() -> None:
    arguments = parser_of("lrnorm.jax beside lax.reduce_window").parse_args()
    print_table(arguments, "jax", table)


if __name__ == "__main__":
    main()
