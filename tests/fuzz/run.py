"""Fuzz every reader, ten minutes in total: python tests/fuzz/run.py [SECONDS].

Each format starts from its own small files. What is found stands in build/fuzz/FORMAT; a table of
runs is printed. The status is 1 if anything was found.
"""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers")]
from model_seeds import INSIDE, SEEDS  # noqa: E402

SLOWEST = 20  # seconds for one file
MEMORY = 1500  # MiB
WORKERS = 2
ROOT = Path(__file__).parents[2]
FORMATS = [*SEEDS, *INSIDE]


def fuzz(kind: str, seconds: float) -> tuple[str, int, bool]:
    """(format, runs, whether something was found)"""
    folder = ROOT / "build" / "fuzz" / kind
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "seed").write_bytes(INSIDE[kind][1] if kind in INSIDE else SEEDS[kind]()[1])
    options = [
        f"-max_total_time={seconds:.0f}",
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={MEMORY}",
        "-max_len=65536",
        f"-artifact_prefix={folder}/",
    ]
    command = [sys.executable, str(Path(__file__).with_name("target.py")), kind, *options, corpus]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    (folder / "log").write_text(run.stdout + run.stderr)
    runs = re.findall(r"^(?:#(\d+)\s|Done (\d+) runs)", run.stderr, re.M)
    count = max((int(a or b) for a, b in runs), default=0)
    return kind, count, run.returncode != 0


def main() -> int:
    total = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    seconds = max(total * WORKERS / len(FORMATS), 1.0)
    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(lambda kind: fuzz(kind, seconds), FORMATS))
    for kind, count, found in results:
        print(f"{kind:<18} {count:>9} runs{'   FOUND, see build/fuzz/' + kind if found else ''}")
    print(f"{'total':<18} {sum(count for _, count, _ in results):>9} runs")
    return int(any(found for _, _, found in results))


if __name__ == "__main__":
    sys.exit(main())
