"""dtype="bfloat16" works in a fresh interpreter, and says what to install where it cannot."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("ml_dtypes")


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_it_needs_no_earlier_import():
    done = run(
        "import numpy as np, lrnorm, sys\n"
        "assert 'ml_dtypes' not in sys.modules\n"
        "y = lrnorm.local_response_norm(np.ones((5, 2, 2), 'f4'), dtype='bfloat16')\n"
        "print(y.dtype, float(y[2, 0, 0]))\n"
    )
    assert done.stdout == "bfloat16 0.70703125\n", done.stderr


WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "ml_dtypes":
            raise ModuleNotFoundError("refused")
sys.meta_path.insert(0, Refuse())
import numpy as np, lrnorm
x = np.ones((5, 2, 2))
"""


def test_without_ml_dtypes_the_error_says_what_to_install():
    done = run(
        WITHOUT
        + "try:\n    lrnorm.local_response_norm(x, dtype='bfloat16')\n"
        + "except ImportError as error:\n    print(error)\n"
    )
    assert done.stdout == (
        "dtype='bfloat16' of NumPy arrays needs ml_dtypes. Run pip install ml_dtypes.\n"
    ), done.stderr


def test_errors_list_only_types_that_work():
    refused = "try:\n    lrnorm.local_response_norm({x}, dtype='int8')\n"
    refused = refused.format(x="x") + "except TypeError as error:\n    print(error)\n"
    rule = "dtype must be {}, got int8. Use for example dtype='float32'.\n"
    done = run("import numpy as np, lrnorm\nx = np.ones((5, 2, 2))\n" + refused)
    assert done.stdout == rule.format("float16, bfloat16, float32 or float64"), done.stderr
    done = run(WITHOUT + refused)
    assert done.stdout == rule.format("float16, float32 or float64"), done.stderr
