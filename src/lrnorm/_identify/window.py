"""Which channels count in the window of each channel, and whether all of them count alike."""

from __future__ import annotations

import numpy as np

from lrnorm._identify.single_channel import Estimate, ordinary
from lrnorm._identify.subject import Array, Subject
from lrnorm._spec.errors import IdentificationError

BUMP = 10.0


def measure(subject: Subject, estimate: Estimate) -> tuple[int | None, int | None]:
    """(before, after), None for an end that the axis is too short to show.

    Every channel has one size, of either sign, and one of them is ten times as large: how the
    sum of squares of each channel grows then says how much that one counts there.
    """
    weights = _weights(subject, estimate)
    tolerance = min(
        0.25, max(1e-9, 16 * estimate.noise / abs(estimate.beta) * (2 + subject.channels / 99))
    )
    inside = weights > 0.5 * weights.max(axis=1, keepdims=True)
    reach = np.arange(subject.channels)[None] - np.arange(subject.channels)[:, None]
    means = np.array([row[mask].mean() for row, mask in zip(weights, inside, strict=True)])
    uniform = np.abs(weights - inside * means[:, None]).max() <= tolerance * max(means.max(), 1)
    if not uniform:
        raise IdentificationError(_unequal(weights), "unequal_weights")
    counts = inside.sum(axis=1)
    if np.abs(means - 1).max() > tolerance:
        totals = means * counts
        if np.ptp(totals) <= 2 * tolerance * totals.max():
            raise IdentificationError(
                "the divisor changes at the edges: alpha is divided by the number of channels "
                f"that are there ({counts.min()} at the edge, {counts.max()} in the middle)",
                "edge_divisor",
            )
        raise IdentificationError(
            "the weight of the window is not the same at every channel: from "
            f"{means.min():.3g} to {means.max():.3g} times that of the middle",
            "unequal_weights",
        )
    before, after = int(-reach[inside].min()), int(reach[inside].max())
    if not np.array_equal(inside, (reach >= -before) & (reach <= after)):
        raise IdentificationError(_unequal(weights), "unequal_weights")
    last = subject.channels - 1
    return (None if before >= last else before), (None if after >= last else after)


def _weights(subject: Subject, estimate: Estimate) -> Array:
    """Row c: how much each channel counts for channel c, as a multiple of `scale`."""
    channels = subject.channels
    signs = np.random.default_rng(3).choice([-1.0, 1.0], channels)
    base = _base(estimate, channels)
    columns = np.tile(signs * base, (channels + 1, 1))
    columns[np.arange(channels) + 1, np.arange(channels)] *= BUMP
    columns = subject.precision.rounded(columns)
    y = subject(columns)
    if not ordinary(columns, y, subject.precision).all():
        raise IdentificationError(
            f"channels of size {base:.3g} together have no ordinary results, though one alone has",
            "unequal_weights",
        )
    with np.errstate(all="ignore"):
        energy = np.sign(estimate.bias + estimate.scale * base**2) * (columns / y) ** (
            1 / estimate.beta
        )
    grown: Array = (energy[1:] - energy[0]).T
    grown /= estimate.scale * (BUMP**2 - 1) * base**2
    return grown


def _base(estimate: Estimate, channels: int) -> float:
    """A size at which the sum of squares neither vanishes beside the bias nor drowns it."""
    if estimate.bias == 0:
        base = 1 / np.sqrt(abs(estimate.scale))
    elif estimate.bias * estimate.scale > 0:
        base = np.sqrt(0.1 * estimate.bias / estimate.scale)
    elif estimate.scale < 0:
        base = np.sqrt(0.3 * estimate.bias / -estimate.scale / (BUMP**2 + channels))
    else:
        base = np.sqrt(4 * -estimate.bias / estimate.scale)
    return float(np.clip(base, estimate.low, estimate.high / (2 * np.sqrt(BUMP**2 + channels))))


def _unequal(weights: Array) -> str:
    centre = len(weights) // 2
    row = weights[centre]
    seen = np.flatnonzero(np.abs(row) > 0.02 * np.abs(row).max())
    shown = row[seen[0] : seen[-1] + 1]
    if len(shown) > 11:
        shown = row[max(0, centre - 5) : centre + 6]
    text = ", ".join(f"{round(float(weight), 3):g}" for weight in shown)
    return (
        "the channels of a window do not count alike, or not at the same offsets everywhere: "
        f"around channel {centre} their weights are {text}, beside 1 for its own square"
    )
