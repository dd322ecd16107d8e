"""Tensors to test with: values, the ways they lie in memory, and what NumPy sees of them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

torch = pytest.importorskip("torch")

SHAPE = (3, 7, 4, 5)
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
every_dtype = pytest.mark.parametrize("kind", DTYPES, ids=str)


def sample(shape: Any = SHAPE, dtype: Any = torch.float64, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * 1.5).to(dtype)


def array(x: Any) -> Any:
    """As NumPy has it, whatever the layout."""
    x = x.detach().resolve_neg()
    if x.dtype is torch.bfloat16:
        return x.contiguous().view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return x.numpy()


def wide(x: Any) -> Any:
    """For the reference."""
    return x.double().resolve_neg().numpy()


def same_bits(a: Any, b: Any) -> bool:
    return bool(
        a.dtype == b.dtype and a.shape == b.shape and array(a).tobytes() == array(b).tobytes()
    )


def strided(x: Any) -> Any:
    """Every second element of something larger, with what lies between not a number."""
    whole = torch.full([2 * n + 1 for n in x.shape], torch.nan).to(x.dtype)
    part = whole[tuple(slice(1, 2 * n + 1, 2) for n in x.shape)]
    return part.copy_(x)


def misaligned(x: Any) -> Any:
    """At an address that is no multiple of the element."""
    y = torch.empty(x.numel() + 1, dtype=x.dtype).view(torch.uint8)[1 : 1 - x.element_size()]
    values = np.frombuffer(y.numpy().data, array(x.new_empty(0).double()).dtype)
    place = torch.from_numpy(values.reshape(x.shape))
    return place.copy_(x)


LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
    "channels first of all": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "strided": strided,
    "strided channels last": lambda x: strided(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "lazily negated": lambda x: torch.complex(x, -x).conj().imag if x.dtype == torch.float64 else x,
}
