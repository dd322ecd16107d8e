"""Draws one photograph normalized across and within its channels: python docs/boxes_images.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from skimage import data

import lrnorm

FILE = Path(__file__).with_name("images") / "across_and_within.png"


def draw() -> None:
    x = np.moveaxis(data.chelsea() / 255.0, -1, 0).astype(np.float32)
    how = {"alpha": 10.0, "beta": 0.75, "bias": 0.1}
    pictures = {
        "The photograph": x,
        "Across channels: axis=0, window 3": lrnorm.local_response_norm(
            x, axis=0, channel_window_size=1, **how
        ),
        "Within channels: axis=(1, 2), box 31 × 31": lrnorm.local_response_norm(
            x, axis=(1, 2), channel_window_size=15, **how
        ),
    }
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    for panel, (title, picture) in zip(figure.subplots(1, 3), pictures.items(), strict=True):
        bright = np.quantile(picture, 0.995)  # single pixels may be far brighter
        panel.imshow(np.moveaxis(np.clip(picture / bright, 0, 1), 0, -1))
        panel.set_title(title)
        panel.set_axis_off()
    figure.savefig(FILE, dpi=80)


if __name__ == "__main__":
    draw()
