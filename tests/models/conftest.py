from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_files import SHARED

from lrnorm import models

Save = Callable[[str, Any], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes text or bytes under a name."""

    def written(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


@pytest.fixture
def one() -> Callable[[Any], models.Found]:
    """The only LRN of a file."""

    def found(path: Any) -> models.Found:
        [lrn] = models.find(path)
        return lrn

    return found


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the model files beside the repository are not there")
    return SHARED
