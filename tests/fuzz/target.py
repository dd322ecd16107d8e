"""One fuzz target: python tests/fuzz/target.py FORMAT CORPUS [options of libFuzzer].

Results and FileErrors are right; any other exception, a hang or a crash is a finding. Formats whose
bytes are packed (zip, zlib) are also fuzzed inside: their readers get the unpacked bytes changed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers")]
with atheris.instrument_imports(include=["lrnorm.models"]):
    from lrnorm import FileError, models
from model_seeds import SEEDS  # noqa: E402

FORMAT = sys.argv.pop(1)
NAME = SEEDS[FORMAT]()[0]
FOLDER = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
PATH = Path(FOLDER) / NAME


def check(data: bytes) -> None:
    PATH.write_bytes(data)
    try:
        found = models.read(PATH)
    except FileError as error:
        assert "\n" not in str(error), error
    else:
        found.as_dict()


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
