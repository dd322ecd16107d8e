"""What `import lrnorm` brings with it: NumPy, and no framework."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FRAMEWORKS = [
    *("torch", "jax", "jaxlib", "tensorflow", "keras", "cupy", "onnx", "onnxruntime"),
    *("dask", "xarray", "zarr", "pandas", "scipy", "ml_dtypes"),
    *("matplotlib", "PIL", "rich", "skimage", "safetensors"),
]


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder where every framework can be imported, so that no `except ImportError` hides an
    attempt."""
    for name in FRAMEWORKS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    return tmp_path


def loaded_by(code: str, shelf: Path) -> set[str]:
    path = os.pathsep.join([str(shelf), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"lrnorm.numpy"' in done.stdout
    return {name.split(".")[0] for name in json.loads(done.stdout)} & set(FRAMEWORKS)


USE = """
import lrnorm, numpy as np
x = np.ones((5, 2, 1))
lrnorm.local_response_norm(x)
lrnorm.local_response_norm([1.0], axis=0)
lrnorm.local_response_norm_vjp(x, x, parameters=True)
lrnorm.local_response_norm_jvp(x.astype("f4"), x)
lrnorm.LocalResponseNormalizationLayer()(x)
lrnorm.information(lrnorm.LocalResponseNormalizationLayer())
lrnorm.show_config()
try:
    lrnorm.local_response_norm(object())
except TypeError:
    pass
"""


def test_no_framework_is_loaded(shelf: Path) -> None:
    assert loaded_by("import lrnorm", shelf) == set()
    assert loaded_by("from lrnorm import *", shelf) == set()
    assert loaded_by("import lrnorm; dir(lrnorm)", shelf) == set()


def test_nor_by_using_it_on_arrays(shelf: Path) -> None:
    assert loaded_by(USE, shelf) == set()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_two_above_can_fail(shelf: Path, name: str) -> None:
    assert loaded_by(f"import lrnorm, {name}", shelf) == {name}
