"""lrnorm.models where only Python is there: no NumPy, no compiled core, no package at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from model_seeds import SEEDS

# Refuses every import that is neither Python's own nor lrnorm's Python.
REFUSE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if name == "lrnorm._core" or top not in {*sys.stdlib_module_names, "lrnorm", *ALLOWED}:
            raise ImportError(f"{name} is refused", name=name)
ALLOWED = sys.argv[2].split(",")
sys.meta_path.insert(0, Refuse())
import lrnorm.models as models
found = models.read(sys.argv[1])
assert "numpy" not in sys.modules
print(len(found.lrns), found.as_dict()["lrns"][0]["convention"] if found.lrns else "")
"""
NEEDS = {"openvino": "defusedxml,xml", "keras_h5": "h5py", "wolfram": "h5py"}


def run(path: Path, allowed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", REFUSE, str(path), allowed], capture_output=True, text=True
    )


@pytest.mark.parametrize("seed", sorted(SEEDS.keys() - {"keras_h5", "wolfram"}))
def test_readers_without_any_package(save: Any, seed: str) -> None:
    try:
        path = save(*SEEDS[seed]())
    except ImportError as error:
        pytest.skip(f"{error.name} writes this file")
    done = run(path, NEEDS.get(seed, ""))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= 1


@pytest.mark.parametrize("seed", NEEDS)
def test_what_needs_a_package_says_so(save: Any, seed: str) -> None:
    try:
        path = save(*SEEDS[seed]())
    except ImportError as error:
        pytest.skip(f"{error.name} writes this file")
    done = run(path)
    package = NEEDS[seed].split(",")[0]
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("lrnorm.MissingDependencyError: ")
    assert f"needs the package {package}. Run pip install 'lrnorm[models]'." in last
