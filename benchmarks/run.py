"""`lrnorm bench` with its results kept beside this file; takes the same options."""

import sys
from pathlib import Path

from lrnorm.bench import main

if __name__ == "__main__":
    sys.exit(main(["--results", str(Path(__file__).parent / "results"), *sys.argv[1:]]))
