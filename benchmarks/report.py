"""The rows of a run as CSV, with everything that was measured beside each number."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lrnorm import files
from lrnorm.cli import bench
from lrnorm.cli.bench import notes_of, over_ours, ratio
from lrnorm.cli.measuring import Case, Row

COLUMNS = (
    *("date", "system", "cpu", "processors", "last_cache", "isa", "lrnorm", "numpy", "python"),
    *("sweep", "shape", "dtype", "layout", "beta", "alpha", "bias", "window", "verb", "values"),
    *("threads", "entrant", "version", "entrant_threads", "allocates", "rounds", "calls"),
    *("min_ns", "median_ns", "over_copy", "over_ours", "disagreement"),
    *("canary", "busy", "notes"),
)


def machine() -> dict[str, Any]:
    """What the figures are measured on, and with."""
    return {**bench.machine(), "last_cache": last_cache() or ""}


def last_cache() -> int | None:
    """Bytes of the processor's largest cache; None where the system does not report it."""
    found = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    sizes = [path.read_text().strip() for path in found]
    return max((int(size[:-1]) << {"K": 10, "M": 20}[size[-1]] for size in sizes), default=None)


def free_memory() -> int:
    """Bytes that the system can give without taking memory from another process."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def _case_columns(case: Case) -> dict[str, Any]:
    same = ("dtype", "layout", "beta", "alpha", "bias", "verb", "values", "threads")
    return {
        "shape": case.shape_text,
        "window": case.width,
        **{name: getattr(case, name) for name in same},
    }


def csv_text(rows: Sequence[Row], about: dict[str, Any], rounds: int) -> str:
    """The rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        shared = {
            **about,
            "sweep": row.sweep,
            "canary": _number(row.canary),
            "busy": "" if row.canary is None else row.busy,
        }
        for who, timing in row.columns:
            writer.writerow(
                {
                    **shared,
                    **_case_columns(who.case),
                    "entrant": who.name,
                    "version": who.version,
                    "entrant_threads": who.threads,
                    "allocates": who.allocates,
                    "rounds": timing.rounds,
                    "calls": timing.calls,
                    "min_ns": f"{timing.min_ns:.1f}",
                    "median_ns": f"{timing.median_ns:.1f}",
                    "over_copy": _number(ratio(timing, row.fastest_copy(row.case))),
                    "over_ours": _number(over_ours(row, who, timing)),
                    "disagreement": _number(who.disagreement),
                    "notes": "; ".join(notes_of(who, timing, rounds)),
                }
            )
        for name, reason in row.absent.items():
            writer.writerow({**shared, **_case_columns(row.case), "entrant": name, "notes": reason})
    return text.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def write_text(path: Path, text: str) -> None:
    """Replace the file, whole or not at all."""
    with files.writing(path, overwrite=True) as stream:
        stream.write(text.encode())


def saver(folder: Path | None, stem: str) -> Callable[[str, str], None]:
    """Writes CSV and Markdown. Called after every row, so that a run that breaks is not lost."""
    if folder is None:
        return lambda table, text: None
    folder.mkdir(parents=True, exist_ok=True)

    def save(table: str, text: str) -> None:
        write_text(folder / f"{stem}.csv", table)
        write_text(folder / f"{stem}.md", text)

    return save
