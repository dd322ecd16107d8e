"""How many instructions the kernels take for an element, beside the numbers kept.

    python benchmarks/instructions.py             count, and say what changed
    python benchmarks/instructions.py --update    keep the new numbers
    python benchmarks/instructions.py --arm       the same for a 64-bit Arm processor, emulated

Counted by valgrind's callgrind in benchmarks/instructions.cpp: a fixed set of calls on one thread,
second call of each, set-up apart. Unlike times, the counts are the same in every run and on a busy
machine; they depend on the compiler, and know nothing of memory. Valgrind has no AVX-512.
Needs valgrind, cmake and a compiler; for Arm, Debian's g++-aarch64-linux-gnu and qemu-user, whose
instructions a plugin counts (count_instructions.c). A change is reported, never an error.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
CROSS = (
    *("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"),
    *("-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++", "-DLRNORM_CORE_TESTS=ON"),
)
VERBS = ("forward", "vjp", "jvp", "parameters", "vjp_parameters")
LOUD = 0.03
CALL = ("set", "verb", "type", "layout", "window", "beta", "shape")
COLUMNS = (*CALL, "elements", "instructions", "per_element", "compiler")

Call = tuple[str, ...]  # the values of CALL
Row = dict[str, str]


@dataclass(frozen=True)
class Machine:
    """What runs the program: its instruction sets, and how they are built and counted."""

    sets: tuple[str, ...]
    tools: tuple[str, ...]
    folder: Path
    options: tuple[str, ...]
    kept: Path
    count: Callable[[Path, str], tuple[str, list[int]]]  # what it prints, the counts of all calls


def run(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, **how)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done


def build(machine: Machine) -> str:
    """Builds the program; the compiler's name and version."""
    run(["cmake", "-S", str(ROOT), "-B", str(machine.folder), *machine.options])
    run(["cmake", "--build", str(machine.folder), "--parallel", "2", "--target", "instructions"])
    cache = (machine.folder / "CMakeCache.txt").read_text()
    (compiler,) = re.findall(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.MULTILINE)
    return run([compiler, "--version"]).stdout.splitlines()[0]


def count_with_callgrind(folder: Path, instruction_set: str) -> tuple[str, list[int]]:
    with tempfile.TemporaryDirectory() as dumps:
        done = run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={dumps}/out",
                "--toggle-collect=lrn::*(lrn::Problem const&*",
                *(f"--dump-after=lrn::{verb}(*" for verb in VERBS),
                str(folder / "instructions"),
                instruction_set,
            ]
        )
        totals = {int(path.suffix[1:]): total(path) for path in Path(dumps).glob("out.*")}
    return done.stdout, [totals[number] for number in sorted(totals)]


def count_with_qemu(folder: Path, instruction_set: str) -> tuple[str, list[int]]:
    plugin = folder / "count_instructions.so"
    source = Path(__file__).with_name("count_instructions.c")
    run(["cc", "-shared", "-fPIC", "-O2", str(source), "-o", str(plugin)])
    done = run(
        ["qemu-aarch64", "-plugin", str(plugin), str(folder / "instructions"), instruction_set],
        env={**os.environ, "QEMU_LD_PREFIX": "/usr/aarch64-linux-gnu"},
    )
    return done.stdout, [int(line) for line in done.stderr.splitlines()]


X86 = Machine(
    sets=("baseline", "avx2"),
    tools=("valgrind", "cmake"),
    folder=BUILD / "instructions",
    options=("-DLRNORM_INSTRUCTIONS=ON",),
    kept=Path(__file__).with_name("instructions.csv"),
    count=count_with_callgrind,
)
ARM = Machine(
    sets=("baseline", "neon"),
    tools=("qemu-aarch64", "aarch64-linux-gnu-g++", "cmake", "cc"),
    folder=BUILD / "arm",
    options=CROSS,
    kept=Path(__file__).with_name("instructions_arm.csv"),
    count=count_with_qemu,
)


def count(machine: Machine, instruction_set: str, compiler: str) -> dict[Call, Row]:
    """Every call of the program under one instruction set."""
    printed, counts = machine.count(machine.folder, instruction_set)
    calls = [line.split(",") for line in printed.splitlines()]
    if len(counts) != 2 * len(calls):
        raise SystemExit(f"{len(counts)} counts came back for {len(calls)} calls made twice.")
    rows = {}
    for (*words, elements), spent in zip(calls, counts[1::2], strict=True):  # of the second call
        call = (instruction_set, *words)
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


def against_sse2(rows: Mapping[Call, Row]) -> str:
    """How NEON's counts compare with those kept of SSE2, and of the generic vectors."""
    sse2 = read(X86.kept)
    lines = ["", f"{'':60}{'NEON':>10}{'/ SSE2':>10}{'generic /':>10}"]
    for call, row in rows.items():
        if call[0] != "neon":
            continue
        own = float(row["per_element"])
        others = (sse2.get(("baseline", *call[1:])), rows[("baseline", *call[1:])])
        first, second = (float(other["per_element"]) if other else None for other in others)
        cells = (f"{own / first:.2f}" if first else "–", f"{second / own:.2f}" if second else "–")
        lines.append(f"{' '.join(call[1:]):60}{own:>10.3f}" + "".join(f"{c:>10}" for c in cells))
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="count the instructions of the kernels")
    parser.add_argument("--update", action="store_true", help="keep the numbers")
    parser.add_argument("--arm", action="store_true", help="of a 64-bit Arm processor, emulated")
    arguments = parser.parse_args()
    machine = ARM if arguments.arm else X86
    for tool in machine.tools:
        if not shutil.which(tool):
            print(
                f"Counting instructions needs {tool}, which is not installed: nothing is counted."
            )
            return
    compiler = build(machine)
    new = {
        call: row for name in machine.sets for call, row in count(machine, name, compiler).items()
    }
    print(report(read(machine.kept), new), end="")
    if arguments.arm:
        print(against_sse2(new), end="")
    if arguments.update:
        machine.kept.write_text(csv_text(new), encoding="utf-8")
        print(f"kept in {machine.kept.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
