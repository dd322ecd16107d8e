"""The scripts of benchmarks/ import each other by plain names, as when one of them is run."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "benchmarks"
sys.path.append(str(HERE))
if not HERE.is_dir():  # the source distribution has none
    collect_ignore_glob = ["test_*.py"]
