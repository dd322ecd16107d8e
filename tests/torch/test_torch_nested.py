"""Nested tensors are refused, and the ways out that the error names work."""

from __future__ import annotations

import re

import pytest
import torch

import lrnorm
from lrnorm import KindError


def nested(layout: torch.layout) -> torch.Tensor:
    pieces = [torch.rand(5, 3, 2), torch.rand(7, 3, 2)]
    return torch.nested.nested_tensor(pieces, layout=layout)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize(
    "call",
    [
        lambda x: lrnorm.local_response_norm(x, axis=1),
        lambda x: lrnorm.torch.local_response_norm(x, 5),
        lambda x: lrnorm.local_response_norm_vjp(x, x, axis=1),
    ],
)
def test_nested_tensors_are_refused(layout, call):
    with pytest.raises(KindError, match=re.escape("must be a tensor of one shape, got a nested")):
        call(nested(layout))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_padding_with_zeros_changes_no_result():
    x = nested(torch.strided)
    y = lrnorm.local_response_norm(torch.nested.to_padded_tensor(x, 0.0))
    for padded, piece in zip(y, x.unbind(), strict=True):
        torch.testing.assert_close(padded[: len(piece)], lrnorm.local_response_norm(piece))
