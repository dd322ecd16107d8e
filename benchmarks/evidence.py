"""What docs/performance.md is written from: every sweep and the whole nets, in one CSV.

    python benchmarks/evidence.py                                       about ten minutes
    python benchmarks/evidence.py --only window,nets --csv part.csv     a part of it
    python benchmarks/page.py [part.csv]                                the page from it

Needs nothing but lrnorm; every rival that is installed takes part, and PyTorch brings the nets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import report
import sweeps

from lrnorm.cli.measuring import ROUNDS, Row
from lrnorm.cli.rivals import RIVALS

CSV = Path(__file__).parent / "results" / "sweeps.csv"
NETS = "nets"
PARTS = (*sweeps.NAMES, NETS)


def measure(parts: Sequence[str], rivals: Sequence[str], rounds: int) -> Iterator[Row]:
    yield from sweeps.measure_sweeps(parts, rivals, rounds)
    if NETS not in parts:
        return
    try:
        import nets
    except ImportError as error:
        print(f"whole nets left out: {error}", file=sys.stderr)
        return
    yield from nets.measure_nets(rounds)


def listed(known: Sequence[str], text: str) -> list[str]:
    parts = text.split(",")
    unknown = [part for part in parts if part not in known]
    if unknown:
        raise SystemExit(f"unknown: {unknown[0]!r}. There are: {', '.join(known)}.")
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description="measure what docs/performance.md shows")
    parser.add_argument("--only", metavar="…", help=", ".join(PARTS))
    parser.add_argument("--against", metavar="…", help=", ".join(RIVALS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--csv", type=Path, help=f"{CSV} if left out")
    arguments = parser.parse_args()
    if (arguments.only or arguments.against) and not arguments.csv:
        parser.error(f"this is a part: name a file with --csv, to keep the whole run of {CSV}.")
    parts = listed(PARTS, arguments.only) if arguments.only else PARTS
    rivals = listed(tuple(RIVALS), arguments.against) if arguments.against else tuple(RIVALS)
    about = report.machine()
    rows: list[Row] = []
    for row in measure(parts, rivals, arguments.rounds):
        rows.append(row)
        text = report.csv_text(rows, about, arguments.rounds)
        report.write_text(arguments.csv or CSV, text)
    print(f"{len(rows)} rows in {arguments.csv or CSV}")


if __name__ == "__main__":
    main()
