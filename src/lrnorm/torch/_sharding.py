"""How DTensor may spread the operators over machines: any axis but the channels stays where it
is, without communication; sharded channels are gathered first."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import Partial, Replicate, Shard
from torch.distributed.tensor.experimental import register_sharding

_library = torch.ops.lrnorm


def _over_pixels(tensors: int) -> Any:
    """One tensor out, of the shape of the `tensors` in."""

    def strategies(x: Any, *rest: Any) -> list[tuple[list[Any], list[Any]]]:
        channels = rest[-1] % len(x.shape)
        places = [Replicate(), *(Shard(d) for d in range(len(x.shape)) if d != channels)]
        others = [None] * (1 + len(rest) - tensors)
        return [([place], [*[place] * tensors, *others]) for place in places]

    return strategies


def _summed(x: Any, *rest: Any) -> list[tuple[list[Any], list[Any]]]:
    """Sums over everything: of the pieces where x is in pieces."""
    channels = rest[-1] % len(x.shape)
    others = [None] * (len(rest) - 1)
    pieces = [Shard(d) for d in range(len(x.shape)) if d != channels]
    return [
        ([Replicate()], [Replicate(), Replicate(), *others]),
        *(([Partial()], [piece, piece, *others]) for piece in pieces),
    ]


register_sharding(_library.forward.default)(_over_pixels(1))
register_sharding(_library.vjp.default)(_over_pixels(2))
register_sharding(_library.jvp.default)(_over_pixels(2))
register_sharding(_library.parameters.default)(_summed)
