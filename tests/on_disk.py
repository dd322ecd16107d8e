"""Arrays on disk, for the tests that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def saved(folder: Path, array: Any, name: str = "x.npy") -> Path:
    np.save(folder / name, array)
    return folder / name
