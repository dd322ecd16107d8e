"""Cycles that the hot loops take on Arm processors, by llvm-mca, without the processor.

    python benchmarks/cycles.py        after `make arm` has built build/arm

Each loop is cut out of the kernels' object file: the innermost loop of a function that computes a
whole vector. llvm-mca then schedules it on its model of a processor, with every load in the
first cache. LLVM 14 models apple-m1 by Apple's earlier Cyclone, and neoverse-n1 by its Cortex-A57.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / "build" / "arm" / "CMakeFiles"
PROCESSORS = ("apple-m1", "neoverse-n1")
FLOATS = 4  # in a vector
ITERATIONS = 200

# Function, as objdump names it, and what it computes.
LOOPS = {
    r"void .*narrow_row<\(lrn::Power\)2, float, false>": "forward, float32, window 5, beta 0.75",
    r"void .*narrow_row<\(lrn::Power\)1, float, false>": "forward, float32, window 5, beta 0.5",
}
# What only the loop over whole vectors holds: an estimate of a vector.
VECTORS = re.compile(r"\bfrsqrte\s+v")


def functions(path: Path) -> dict[str, list[tuple[int, str]]]:
    """The instructions of every function, each with its address."""
    command = ["aarch64-linux-gnu-objdump", "-dC", "--no-show-raw-insn", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[tuple[int, str]]] = {}
    name = ""
    for line in text.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            name = head[1]
            found[name] = []
        elif body := re.match(r"\s*([0-9a-f]+):\s+(.*)", line):
            found[name].append((int(body[1], 16), body[2]))
    return found


def hot_loop(instructions: list[tuple[int, str]]) -> list[str] | None:
    """The shortest loop that computes with vectors, without branches, for llvm-mca."""
    loops = []
    for address, text in instructions:
        branch = re.match(r"(?:b\.\w+|cbn?z|tbn?z)\s.*?([0-9a-f]+) <", text)
        if branch and int(branch[1], 16) <= address:
            body = [t for a, t in instructions if int(branch[1], 16) <= a <= address]
            if any(VECTORS.search(t) for t in body):
                loops.append(body)
    if not loops:
        return None
    # Branches name addresses, and adrp the symbol of a constant: neither matters to the cycles.
    plain = (re.sub(r"\s*(//|<).*", "", t) for t in min(loops, key=len))
    kept = [t for t in plain if not re.match(r"(b|b\.\w+|cbn?z|tbn?z|bl|ret)\b", t)]
    return [re.sub(r"(adrp\s+\w+,).*", r"\1 #0", t) for t in kept]


def cycles(loop: list[str], processor: str) -> float:
    done = subprocess.run(
        ["llvm-mca", "-mtriple=aarch64", f"-mcpu={processor}", f"-iterations={ITERATIONS}"],
        input="\n".join(loop),
        capture_output=True,
        text=True,
        check=True,
    )
    total = re.search(r"^Total Cycles:\s+(\d+)", done.stdout, re.MULTILINE)
    if not total:
        raise SystemExit(f"llvm-mca told no cycles:\n{done.stdout}")
    return int(total[1]) / ITERATIONS


def main() -> None:
    for tool in ("llvm-mca", "aarch64-linux-gnu-objdump"):
        if not shutil.which(tool):
            print(f"Cycles need {tool}, which is not installed: nothing is computed.")
            return
    print(f"{'':50}{'instructions':>14}" + "".join(f"{p:>14}" for p in PROCESSORS))
    found = functions(BUILD / "isa_neon.dir" / "csrc" / "isa.cpp.o")
    for pattern, what in LOOPS.items():
        loops = [hot_loop(body) for name, body in found.items() if re.match(pattern, name)]
        for loop in filter(None, loops):
            numbers = (len(loop), *(cycles(loop, processor) for processor in PROCESSORS))
            print(f"{what:50}" + "".join(f"{n / FLOATS:>14.2f}" for n in numbers) + "   an element")


if __name__ == "__main__":
    main()
