"""Writes docs/performance.md and its figures from the CSV of evidence.py.

python benchmarks/page.py [CSV] [--into FOLDER]
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import figures
from causes import REASONS, cause_of
from report import write_text
from results import COPY_TARGETS, TARGETS, WATCHED, Finding, Point, findings, is_of_layer, read

from lrnorm.cli.bench import about_text, time_text
from lrnorm.cli.measuring import COPIES, OURS_ALLOCATING, OWN
from lrnorm.cli.rivals import RIVALS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CSV = RESULTS / "sweeps.csv"

NO_REASON = "**no reason found yet**"

# Sweep → its heading, the column that varies, and a remark on the table.
SWEEPS: dict[str, tuple[str, str, str]] = {
    "shapes": (
        "Shapes of nets",
        "shape",
        "The shapes at LRN layers of published nets, for one picture and for 16.",
    ),
    "channels": ("Number of channels", "shape", ""),
    "pixels": ("Number of pixels", "shape", ""),
    "batch": ("Number of pictures", "shape", ""),
    "window": ("Window size", "window", ""),
    "beta": ("Exponent", "beta", "0.5, 0.75, 1 and 2 have short chains; 0.6 uses log2 and exp2."),
    "dtype": ("Type", "dtype", "The copy has the same dtype."),
    "layout": ("Memory layout", "layout", "Channels on axis 1 (first) or on the last axis."),
    "threads": (
        "Threads",
        "threads",
        "JAX and TensorFlow choose their own number.",
    ),
    "verb": (
        "Forward and gradient",
        "verb",
        "vjp computes dx from x and dy and includes the forward pass.",
    ),
    "tiny": ("Ten numbers", "shape", "The time is that of the call itself."),
    "memory": (
        "Arrays of twice the last cache",
        "shape",
        "lrnorm and the copies only: with every rival the machine's memory would not suffice.",
    ),
}
FIELDS = ("shape", "dtype", "layout", "beta", "window", "verb", "threads")
ORDERS: dict[str, Callable[[str], Any]] = {
    "shape": lambda text: [int(size) for size in text.split("×")],
    "window": int,
    "beta": float,
    "threads": int,
}
SAID = {
    "shape": "{}",
    "dtype": "{}",
    "verb": "{}",
    "layout": "channels {}",
    "threads": "threads: {}",
}
NET_WAYS = ("torch", OURS_ALLOCATING, "without LRN")

HEAD = """\
# Performance

Written by `benchmarks/page.py` from `{csv}`; `make bench` measures again and rewrites it.

{about}; last cache {cache}. Rivals: {rivals}.

{closest}

{pictures}
## How to read it

- All entrants of a row were timed in the same run, once in each round and in a different order
  each time; the fastest round counts. Ratios are comparable between machines, times are not.
- **copyto** is `np.copyto` of the same bytes into an existing array, on one thread, **copyto on
  all threads** on as many as the call: the time to read and write the memory once. **lrnorm**
  writes into an existing array, **lrnorm allocating** into a new one. The factor behind a time is
  its ratio to the faster of the two copies.
- A rival's number is its time divided by that of lrnorm, allocating where the rival allocates: ×5
  took five times as long. A dash: the rival cannot compute this row; the reason is below the table.
- An array that fits into the last cache is compared with a copy inside that cache, which is faster
  than memory. {cache_remark}
- **busy**: in each round, two threads hash a constant and one thread hashes it twice (the canary).
  If two threads were less than 1.6 times as fast, other programs used the processors, or a virtual
  machine was slow to wake the second one, which affects short calls most. Do not trust such a row.
- † marks what misses a target.

## Targets

"""

WATCHED_HEAD = """\
## What limits the speed

All rows above 1.3 times a copy, and all rows with a rival within 2 times, by their cause: the
number of rows and the worst of them. Instructions were counted by valgrind (`make instructions`,
AVX2), and loops analysed by llvm-mca.
"""

FOOT = """
## Measuring again

    make bench                                                          everything, in 20 minutes
    python benchmarks/evidence.py --only window,nets --csv part.csv     a part
    python benchmarks/page.py                                           this page from the CSV kept

`make bench` installs the rivals into a separate environment and leaves out those that cannot be
installed. [benchmarks](../benchmarks/README.md) explains the columns of the CSV.
"""


def names_of(points: Sequence[Point]) -> dict[str, str]:
    """Entrant → its name with the version, for a rival."""
    return {
        name: name if name in OWN else f"{name} {time.version.split('+')[0]}".strip()
        for point in points
        for name, time in point.times.items()
    }


def reason(finding: Finding) -> str:
    """The reason why this row misses its target."""
    row = finding.point.row
    for wanted, text in REASONS:
        if all(row[column] == value for column, value in wanted.items()):
            return text
    cause = cause_of(finding.point) if finding.target in COPY_TARGETS else None
    return cause or unexplained(finding.point)


def unexplained(point: Point) -> str:
    """The text for a row without a known reason."""
    if point.busy:
        return f"the machine was busy (canary {point.canary:.2f}): measure again"
    return NO_REASON


def cell(point: Point, name: str, marked: bool) -> str:
    """The text of one entrant in one row of a table."""
    if name not in point.times:
        return "–"
    time = point.times[name]
    ratio = time.over_copy if name in OWN else time.over_ours
    multiple = "" if ratio is None or name in COPIES else f"×{figures.times(ratio)}"
    text = f"{time_text(time.ns)} {multiple}".strip() if name in OWN else multiple
    return f"**{text}** †" if marked else text


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows)]


def sweep_text(sweep: str, points: Sequence[Point], missed: Sequence[Finding]) -> str:
    """The table of a sweep: one row per point, one column per entrant."""
    heading, varies, remark = SWEEPS[sweep]
    rows = [point for point in points if sweep in point.sweeps]
    if varies in ORDERS:
        rows.sort(key=lambda point: ORDERS[varies](point.row[varies]))
    entrants = [n for n in (*OWN, *RIVALS) if any(n in point.times for point in rows)]
    fixed = [f for f in FIELDS if f != varies and len({point.row[f] for point in rows}) == 1]
    free = [f for f in FIELDS if f not in fixed]
    common = ", ".join(SAID.get(f, f"{f} {{}}").format(rows[0].row[f]) for f in fixed)
    marked = {(id(finding.point), finding.who) for finding in missed}
    lines = []
    for point in rows:
        head = [point.row[f] for f in free]
        head[-1] += " (busy)" if point.busy else ""
        cells = [cell(point, name, (id(point), name) in marked) for name in entrants]
        lines.append([*head, *cells])
    text = [f"### {heading}", "", f"{common}. {remark}".strip(), ""]
    text += table([*free, *entrants], lines)
    absent = Counter(f"{name}: {why}" for point in rows for name, why in point.absent.items())
    text += ["", *(f"- {line}" for line in absent)] if absent else []
    return "\n".join(text)


def nets_text(points: Sequence[Point]) -> str:
    """The table of whole nets: with PyTorch's layer, with that of lrnorm, and without LRN."""
    rows = [
        [
            f"{point.row['sweep']} {point.row['shape']}{' (busy)' if point.busy else ''}",
            *(time_text(point.times[way].ns) for way in NET_WAYS),
            f"×{figures.times(point.times['torch'].over_ours or 0)}",
        ]
        for point in points
        if set(NET_WAYS) <= set(point.times)
    ]
    heads = ["", "with nn.LocalResponseNorm", "after lrnorm.torch.replace", "without LRN"]
    said = "Forward pass, random weights. The last column is the first time divided by the second."
    return "\n".join(["### Whole nets", "", said, "", *table([*heads, ""], rows)])


def targets_text(found: Sequence[Finding]) -> str:
    rows = []
    for target in TARGETS:
        of = [finding for finding in found if finding.target is target]
        missed = sum(not finding.met for finding in of)
        worst = f"{target.worst([f.figure for f in of]):.3g}" if of else "–"
        rows.append([target.text, target.bound_text, str(len(of)), worst, str(missed)])
    return "\n".join(table(["target", "bound", "rows", "worst", "missed"], rows))


def misses_text(missed: Sequence[Finding]) -> str:
    """Every row that misses a target, with the reason."""
    rows = [
        [
            str(f.point),
            f.target.text.split(",")[0],
            f"{f.who}: {f.figure:.3g} ({f.target.bound_text})",
            reason(f),
        ]
        for f in missed
    ]
    return "\n".join(table(["row", "target", "measured", "reason"], rows))


def watched_text(found: Sequence[Finding]) -> str:
    """The causes of rows above 1.3 times a copy or with a rival within 2 times."""
    by_cause: dict[str, list[Finding]] = {}
    for finding in found:
        cause = cause_of(finding.point) or unexplained(finding.point)
        by_cause.setdefault(cause, []).append(finding)
    rows = []
    for cause, of in sorted(by_cause.items(), key=lambda item: -len(item[1])):
        cells = []
        for target in WATCHED:
            figures_of = [finding.figure for finding in of if finding.target is target]
            many = f"{len(figures_of)} row{'s' if len(figures_of) > 1 else ''}"
            worst = f", ×{figures.times(target.worst(figures_of))}" if figures_of else ""
            cells.append(f"{many}{worst}" if figures_of else "–")
        rows.append([cause, *cells])
    heads = [f"{target.text} ({target.bound_text})" for target in WATCHED]
    return "\n".join(table(["cause", *heads], rows))


def closest_text(points: Sequence[Point]) -> str:
    """One sentence about all rows."""
    found = [(*point.closest, point) for point in points if point.closest]
    if not found:
        return "No rival was installed."
    name, ratio, point = min(found, key=lambda row: row[1])
    faster = sum(row[1] < 1 for row in found)
    said = f"Of {len(found)} rows with rivals, {faster or 'none'} had one faster than lrnorm. "
    return said + f"The closest is {name}, at {figures.times(ratio)} times our time ({point})."


# Head of a section → the file in results/ that holds its table; of several, the newest.
TABLES = {
    "## Whole-axis windows beside PyTorch\n\nA window that holds the whole axis is the RMS norm "
    "without gain (scale 1/N, beta 1/2, bias eps) and the L2 norm (scale 1, beta 1/2, bias 0). "
    "`python benchmarks/whole_axis.py` measures it.": "whole_axis*.md",
    "## Promises\n\nEach row is a ratio of two times of one run. `python benchmarks/run.py --suite "
    "promises` measures them again; [Design](design.md) says why rows miss their bounds.": (
        "promises-*.md"
    ),
}


def tables_text(folder: Path = RESULTS) -> str:
    """The sections whose tables other scripts have measured, each with its own machine and date."""
    sections = []
    for head, pattern in TABLES.items():
        if files := sorted(folder.glob(pattern)):
            sections.append(f"\n{head}\n\n{files[-1].read_text(encoding='utf-8').strip()}\n")
    return "".join(sections)


def page_text(points: Sequence[Point], csv: str) -> str:
    """The whole page."""
    layer = [point for point in points if is_of_layer(point)]
    nets = [point for point in points if not is_of_layer(point)]
    found = findings(points)
    missed = [finding for finding in found if not finding.met]
    row = points[0].row
    cache = points[0].last_cache
    beyond = sum(cache is not None and point.nbytes >= 2 * cache for point in layer)
    text = HEAD.format(
        csv=csv,
        about=about_text(row),
        cache=figures.readable_bytes(cache) if cache else "unknown",
        cache_remark=f"{beyond} of the {len(layer)} rows have arrays of twice that cache or more.",
        rivals=", ".join(name for own, name in names_of(layer).items() if own not in OWN) or "none",
        closest=closest_text(layer),
        pictures="".join(
            f"![{picture.says}](images/{name})\n\n"
            for name, picture in figures.PICTURES.items()
            if any(map(picture.chosen, points))
        ),
    )
    text += targets_text(found) + "\n"
    if missed:
        text += f"\n{misses_text(missed)}\n"
    if beyond_copy := [f for f in findings(points, WATCHED) if not f.met]:
        text += f"\n{WATCHED_HEAD}\n{watched_text(beyond_copy)}\n"
    text += "\n## Rows\n"
    for sweep in SWEEPS:
        if any(sweep in point.sweeps for point in layer):
            text += f"\n{sweep_text(sweep, layer, missed)}\n"
    if nets:
        text += f"\n{nets_text(nets)}\n"
    return text + tables_text() + FOOT


def main() -> None:
    parser = argparse.ArgumentParser(
        description="write docs/performance.md from the CSV of evidence.py"
    )
    parser.add_argument("csv", type=Path, nargs="?", default=CSV)
    parser.add_argument("--into", type=Path, default=ROOT / "docs", help="docs if left out")
    arguments = parser.parse_args()
    points = read(arguments.csv)
    if not points:
        raise SystemExit(f"{arguments.csv} has no rows: measure with benchmarks/evidence.py first.")
    figures.save(points, names_of(points), arguments.into / "images")
    page = arguments.into / "performance.md"
    csv = arguments.csv.resolve()
    shown = csv.relative_to(ROOT) if csv.is_relative_to(ROOT) else csv.name
    write_text(page, page_text(points, str(shown)))
    print(f"{len(points)} rows in {page} and {arguments.into / 'images'}")


if __name__ == "__main__":
    main()
