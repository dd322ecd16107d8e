"""How many instructions the kernels take for an element, beside the numbers kept.

    python benchmarks/instructions.py             count, and say what changed
    python benchmarks/instructions.py --update    keep the new numbers

Counted by valgrind's callgrind in benchmarks/instructions.cpp: a fixed set of calls on one thread,
second call of each, set-up apart. Unlike times, the counts are the same in every run and on a busy
machine; they depend on the compiler, and know nothing of memory. Valgrind has no AVX-512.
Needs valgrind, cmake and a compiler. A change is reported, never an error.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = Path(__file__).with_name("instructions.csv")
BUILD = ROOT / "build" / "instructions"
SETS = ("baseline", "avx2")
VERBS = ("forward", "vjp", "jvp", "parameters")
LOUD = 0.03
CALL = ("set", "verb", "type", "layout", "window", "beta", "shape")
COLUMNS = (*CALL, "elements", "instructions", "per_element", "compiler")

Call = tuple[str, ...]  # the values of CALL
Row = dict[str, str]


def build() -> str:
    """Builds the program; the compiler's name and version."""
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-DLRNORM_INSTRUCTIONS=ON"],
        ["cmake", "--build", str(BUILD), "--parallel", "2"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    cache = (BUILD / "CMakeCache.txt").read_text()
    (compiler,) = re.findall(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.MULTILINE)
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return version.stdout.splitlines()[0]


def count(instruction_set: str, compiler: str) -> dict[Call, Row]:
    """Every call of the program under one instruction set."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={folder}/out",
                "--toggle-collect=lrn::*(lrn::Problem const&*",
                *(f"--dump-after=lrn::{verb}(*" for verb in VERBS),
                str(BUILD / "instructions"),
                instruction_set,
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"valgrind failed:\n{done.stderr}")
        totals = {int(path.suffix[1:]): total(path) for path in Path(folder).glob("out.*")}
    calls = [line.split(",") for line in done.stdout.splitlines()]
    if len(totals) != 2 * len(calls):
        raise SystemExit(f"{len(totals)} counts came back for {len(calls)} calls made twice.")
    rows = {}
    for number, (*words, elements) in enumerate(calls, 1):
        call = (instruction_set, *words)
        spent = totals[2 * number]  # of the second call
        rows[call] = dict(zip(CALL, call, strict=True)) | {
            "elements": elements,
            "instructions": str(spent),
            "per_element": f"{spent / int(elements):.3f}",
            "compiler": compiler,
        }
    return rows


def total(dump: Path) -> int:
    """The instructions of one of callgrind's files."""
    found = re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
    if not found:
        raise SystemExit(f"callgrind's file {dump.name} has no total.")
    return int(found[1])


def read(path: Path) -> dict[Call, Row]:
    """The numbers kept."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as lines:
        return {tuple(row[name] for name in CALL): row for row in csv.DictReader(lines)}


def csv_text(rows: Mapping[Call, Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.values())
    return text.getvalue()


def report(old: Mapping[Call, Row], new: Mapping[Call, Row]) -> str:
    """A table old, new, change; then what changed by more than 3 %."""
    lines = [f"{'':60}{'old':>10}{'new':>10}{'change':>10}   instructions per element"]
    loud = []
    for call in {**old, **new}:
        before, after = (
            float(rows[call]["per_element"]) if call in rows else None for rows in (old, new)
        )
        cells = "".join(f"{'–' if v is None else f'{v:.3f}':>10}" for v in (before, after))
        change = after / before - 1 if before and after else None
        said = "–" if change is None else f"{change:+.1%}"
        mark = ""
        if change is not None and abs(change) > LOUD:
            mark = "  <<< MORE" if change > 0 else "  <<< fewer"
            loud.append(f"{' '.join(call)}: {before:.3f} → {after:.3f} ({said})")
        lines.append(f"{' '.join(call):60}{cells}{said:>10}{mark}")
    compilers = [sorted({row["compiler"] for row in rows.values()}) for rows in (old, new)]
    if old and compilers[0] != compilers[1]:
        kept, now = (" and ".join(names) for names in compilers)
        lines += ["", f"The numbers kept are of {kept}; these are of {now}."]
    lines += [
        "",
        f"{len(loud)} of {len(new)} calls changed by more than {LOUD:.0%}" + (":" if loud else "."),
    ]
    return "\n".join([*lines, *(f"    !!! {line}" for line in loud)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="count the instructions of the kernels")
    parser.add_argument("--update", action="store_true", help=f"keep the numbers in {KEPT.name}")
    arguments = parser.parse_args()
    for tool in ("valgrind", "cmake"):
        if not shutil.which(tool):
            print(
                f"Counting instructions needs {tool}, which is not installed: nothing is counted."
            )
            return
    compiler = build()
    new = {call: row for name in SETS for call, row in count(name, compiler).items()}
    print(report(read(KEPT), new), end="")
    if arguments.update:
        KEPT.write_text(csv_text(new), encoding="utf-8")
        print(f"kept in {KEPT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
