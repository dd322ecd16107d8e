"""How DTensor may spread the operators over machines: any axis but those of the window stays where
it is, without communication; axes of the window that are sharded are gathered first."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import Partial, Replicate, Shard
from torch.distributed.tensor.experimental import register_sharding


def _pieces(x: Any, axes: list[int]) -> list[Any]:
    """The ways to cut x that leave the axes of its window whole."""
    return [Shard(d) for d in range(len(x.shape)) if d not in axes]


def _over_pixels(tensors: int, learned: bool) -> Any:
    """One tensor out, of the shape of the `tensors` in."""

    def strategies(x: Any, *rest: Any) -> list[tuple[list[Any], list[Any]]]:
        others = _others(rest, tensors, learned)
        places = [Replicate(), *_pieces(x, rest[-1])]
        return [([place], [*[place] * tensors, *others]) for place in places]

    return strategies


def _summed(learned: bool) -> Any:
    """Sums over everything: of the pieces where x is in pieces."""

    def strategies(x: Any, *rest: Any) -> list[tuple[list[Any], list[Any]]]:
        others = _others(rest, 2, learned)
        return [
            ([Replicate()], [Replicate(), Replicate(), *others]),
            *(([Partial()], [piece, piece, *others]) for piece in _pieces(x, rest[-1])),
        ]

    return strategies


def _others(rest: Any, tensors: int, learned: bool) -> list[Any]:
    """Places of what follows the `tensors`: numbers, the first a tensor of them if learned."""
    numbers = 1 + len(rest) - tensors
    return [Replicate(), *[None] * (numbers - 1)] if learned else [None] * numbers


for _verb, _strategies in {
    "forward": _over_pixels(1, learned=False),
    "vjp": _over_pixels(2, learned=False),
    "jvp": _over_pixels(2, learned=False),
    "parameters": _summed(learned=False),
    "learned_forward": _over_pixels(1, learned=True),
    "learned_vjp": _over_pixels(2, learned=True),
    "learned_parameters": _summed(learned=True),
}.items():
    register_sharding(getattr(torch.ops.lrnorm, _verb).default)(_strategies)
