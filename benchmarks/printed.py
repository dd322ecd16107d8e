"""What the scripts that set one front beside another have in common: rows of ratios, the table
that they are printed in, the folder where it is kept.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lrnorm.cli.bench import about_text, machine
from lrnorm.cli.measuring import BUSY_BELOW, Measured, Timing

Row = tuple[str, str, float, str, str]  # what, goal, figure, canary, times


def canary_text(measured: Measured) -> str:
    """The canary of a run, marked where it says that the machine is busy."""
    return f"{measured.canary:.2f}{' BUSY' if measured.canary < BUSY_BELOW else ''}"


def ratio(
    times: Mapping[str, Timing], canary: str, name: str, bound: float, top: str, bottom: str
) -> Row:
    """The fastest of `top` by the fastest of `bottom`, which is to be `bound` at least."""
    a, b = times[top], times[bottom]
    detail = f"{a.min_ns / 1e3:.0f} by {b.min_ns / 1e3:.0f} µs"
    detail += f"; medians {a.median_ns / b.median_ns:.1f}; rounds {b.rounds}"
    return name, f"≥ {bound:g}", a.min_ns / b.min_ns, canary, detail


def figures_text(versions: str, rounds: int, rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        f"{about_text(machine())}; {versions}",
        "",
        f"Fastest of {rounds} interleaved rounds.",
        "",
        "| what | goal | figure | canary | times |",
        "|---|---|---|---|---|",
    ]
    for name, bound, figure, canary, detail in rows:
        lines.append(f"| {name} | {bound} | {figure:.1f} | {canary} | {detail} |")
    return "\n".join(lines) + "\n"


def parser_of(description: str) -> argparse.ArgumentParser:
    """--rounds and --results."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--results", type=Path, help="keep the table in this folder")
    return parser


def print_table(arguments: argparse.Namespace, stem: str, table: Callable[[int], str]) -> None:
    """The table of so many rounds, kept under `stem` and the date if that is asked for."""
    text = table(arguments.rounds)
    print(text, end="")
    if arguments.results:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d-%H%M")
        (arguments.results / f"{stem}-{stamp}.md").write_text(text, encoding="utf-8")
