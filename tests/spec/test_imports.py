"""`import lrnorm` loads nothing else; using it on NumPy arrays loads no framework."""

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
    loaded: list[str] = json.loads(done.stdout)
    assert "lrnorm" in loaded
    return {name.split(".")[0] for name in loaded} & set(FRAMEWORKS)


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


# Finding the package loads importlib.util where it was installed to be edited.
FIND = "from importlib.util import find_spec; find_spec('lrnorm')"


def loaded_more_by(code: str) -> set[str]:
    """Modules that are loaded after `code` and not after finding the package."""
    lists = []
    for each in (FIND, code):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"{each}\nimport json, sys\nprint(json.dumps(list(sys.modules)))",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        lists.append(set(json.loads(done.stdout)))
    return lists[1] - lists[0]


def test_importing_lrnorm_loads_nothing_else():
    assert loaded_more_by("import lrnorm") == {"lrnorm"}
    assert loaded_more_by("import lrnorm; dir(lrnorm)") == {"lrnorm"}


def test_that_one_can_fail():
    assert "numpy" in loaded_more_by("import lrnorm; lrnorm.local_response_norm")


# Refuses what a browser lacks: NumPy and the compiled core.
BARE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "numpy" or name == "lrnorm._core":
            raise ImportError(f"{name} is refused")
sys.meta_path.insert(0, Refuse())
"""


def bare(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BARE + code], capture_output=True, text=True)


def test_conventions_and_the_spec_need_neither_numpy_nor_the_core():
    done = bare(
        "import lrnorm\n"
        "spec = lrnorm.conventions.read('torch', size=5, alpha=1e-4, beta=0.75, k=2.0)\n"
        "assert spec == lrnorm.LRNSpec(2e-05, 0.75, 2.0, 2, 2)\n"
        "for name in lrnorm.conventions.names():\n"
        "    lrnorm.conventions.describe(name)\n"
        "print(lrnorm.conventions.write('tensorflow', spec))\n"
        "try:\n"
        "    lrnorm.conventions.write('caffe', lrnorm.LRNSpec(1, 0.75, 1, 2, 1))\n"
        "except lrnorm.ConventionError as error:\n"
        "    print(error.nearest)\n"
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == (
        "{'depth_radius': 2, 'alpha': 2e-05, 'beta': 0.75, 'bias': 2.0}"
    )


def test_the_interpreter_above_really_refuses():
    assert "numpy is refused" in bare("import numpy").stderr
    assert "is refused" in bare("import lrnorm; lrnorm.local_response_norm([1.0], axis=0)").stderr
