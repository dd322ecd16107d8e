"""One fuzz target: python tests/fuzz/target.py FORMAT CORPUS [options of libFuzzer].

Results and FileErrors are right; any other exception, a hang or a crash is a finding. Formats whose
bytes are packed (zip, zlib) are also fuzzed inside: the bytes are changed before they are packed.
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
    from lrnorm.models import wolfram
from model_seeds import INSIDE, SEEDS, network  # noqa: E402

FORMAT = sys.argv.pop(1)
OUTER, _, PACK = INSIDE.get(FORMAT, (FORMAT, b"", bytes))
NAME = SEEDS[OUTER]()[0]
if FORMAT == "wolfram_expression":
    wolfram.value_of = network
FOLDER = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
PATH = Path(FOLDER) / NAME


def check(data: bytes) -> None:
    PATH.write_bytes(PACK(data))
    try:
        found = models.read(PATH)
    except FileError as error:
        assert "\n" not in str(error), error
    else:
        found.as_dict()


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
