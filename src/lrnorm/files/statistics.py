"""Summarizes the values of an array, piece by piece."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Summary:
    """An array in a few numbers: those of its finite values, nan where it has none."""

    shape: tuple[int, ...]
    dtype: str
    min: float
    max: float
    mean: float
    std: float
    not_finite: int


@dataclass(frozen=True)
class Change:
    """One array before and after, with the axis of its channels. `name` is its name in the file."""

    name: str
    axis: int | tuple[int, ...]
    before: Summary
    after: Summary


class Tally:
    """Gathers the numbers of a Summary, piece by piece."""

    def __init__(self) -> None:
        self.count = self.not_finite = 0
        self.min, self.max = math.inf, -math.inf
        self.mean = self.squares = 0.0

    def add(self, piece: npt.NDArray[Any]) -> None:
        """Count a piece: its finite values change count, mean and the sum of squared deviations.

        Source: the pairwise update of Chan, Golub and LeVeque, "Updating formulae and a pairwise
        algorithm for computing sample variances" (1979).
        """
        values = piece.astype(np.float64, copy=False)
        finite = np.isfinite(values)
        if not finite.all():
            self.not_finite += int(values.size - finite.sum())
            values = values[finite]
        if not values.size:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            mean, squares = float(values.mean()), float(values.var()) * values.size
        step, total = mean - self.mean, self.count + values.size
        self.squares += squares + step * step * self.count * values.size / total
        self.mean += step * values.size / total
        self.count = total
        self.min = min(self.min, float(values.min()))
        self.max = max(self.max, float(values.max()))

    def summary(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Summary:
        """What the pieces so far have together; std is that of the population."""
        low, high, mean, std = math.nan, math.nan, math.nan, math.nan
        if self.count:
            low, high, mean = self.min, self.max, self.mean
            std = math.sqrt(self.squares / self.count)
        return Summary(shape, str(dtype), low, high, mean, std, self.not_finite)
