"""What a run says: CSV with everything beside each number, a Markdown table, a picture."""

from __future__ import annotations

import csv
import datetime
import importlib
import io
import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lrnorm
from lrnorm._spec.errors import FileError, MissingDependencyError, ParameterError
from lrnorm.bench.cases import COPY, OURS, OURS_ALLOCATING, Case, Entrant, Who
from lrnorm.bench.timing import BUSY_BELOW, LIMIT_S, Timing, interleave

COLUMNS = (
    *("date", "system", "cpu", "processors", "last_cache", "isa", "lrnorm", "numpy", "python"),
    *("sweep", "shape", "dtype", "layout", "beta", "alpha", "bias", "window", "verb", "threads"),
    *("entrant", "version", "entrant_threads", "allocates", "rounds", "calls"),
    *("min_ns", "median_ns", "over_copyto", "over_ours", "disagreement"),
    *("canary", "busy", "notes"),
)

OUR_COLOUR, CLOSE_COLOUR = "#c0392b", "#e59a8f"  # ours, and ours allocating
RIVAL_COLOURS = ("#9aa5b1", "#c9b458", "#7fa88f", "#a884b8", "#c78d6b", "#6f8fc2", "#8a8a5c")


@dataclass(frozen=True)
class Row:
    """Who was measured together, with what came out; and who could not take part, and why."""

    case: Case
    columns: Sequence[tuple[Who, Timing]]
    canary: float | None
    absent: dict[str, str] = field(default_factory=dict)
    sweep: str = ""  # the names of the sweeps it belongs to

    @property
    def busy(self) -> bool:
        return self.canary is not None and self.canary < BUSY_BELOW

    def timing(self, name: str, case: Case) -> Timing | None:
        return next((t for who, t in self.columns if who.name == name and who.case == case), None)


def measure_row(
    case: Case,
    entrants: Sequence[Entrant],
    rounds: int,
    absent: dict[str, str],
    *,
    limit_s: float = LIMIT_S,
    sweep: str = "",
) -> Row:
    """Time every entrant of a case, interleaved."""
    measured = interleave([entrant.batch for entrant in entrants], rounds, limit_s=limit_s)
    columns = zip((entrant.who for entrant in entrants), measured.timings, strict=True)
    return Row(case, list(columns), measured.canary, absent, sweep)


def machine() -> dict[str, Any]:
    """What the figures were measured on, and with."""
    config = lrnorm.show_config()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "processors": config["processors"],
        "last_cache": last_cache() or "",
        **{name: config[name] for name in ("isa", "lrnorm", "numpy", "python")},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


def last_cache() -> int | None:
    """Bytes of the processor's largest cache, as the system tells them; None where it does not."""
    found = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    sizes = [path.read_text().strip() for path in found]
    return max((int(size[:-1]) << {"K": 10, "M": 20}[size[-1]] for size in sizes), default=None)


def free_memory() -> int:
    """Bytes the system can give without pushing anyone out."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def ratio(top: Timing | None, bottom: Timing | None) -> float | None:
    """The fastest of one by the fastest of the other; None where either is missing."""
    return None if top is None or bottom is None else top.min_ns / bottom.min_ns


def over_ours(row: Row, who: Who, timing: Timing) -> float | None:
    """A rival's time by ours, with ours allocating where the rival does."""
    if who.name in (COPY, OURS, OURS_ALLOCATING):
        return None
    ours = OURS_ALLOCATING if who.allocates else OURS
    return ratio(timing, row.timing(ours, who.case))


def _notes(who: Who, timing: Timing, rounds: int) -> list[str]:
    few = [f"only {timing.rounds} rounds"] if timing.rounds < rounds else []
    return [*who.notes, *few]


def _case_columns(case: Case) -> dict[str, Any]:
    return {
        "shape": case.shape_text,
        "window": case.width,
        **{
            name: getattr(case, name)
            for name in ("dtype", "layout", "beta", "alpha", "bias", "verb", "threads")
        },
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
                    "over_copyto": _number(ratio(timing, row.timing(COPY, row.case))),
                    "over_ours": _number(over_ours(row, who, timing)),
                    "disagreement": _number(who.disagreement),
                    "notes": "; ".join(_notes(who, timing, rounds)),
                }
            )
        for name, reason in row.absent.items():
            writer.writerow({**shared, **_case_columns(row.case), "entrant": name, "notes": reason})
    return text.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def time_text(ns: float) -> str:
    """Nanoseconds in the unit that suits."""
    units = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns"))
    unit, name = next((u, n) for u, n in units if ns >= u or u == 1)
    return f"{ns / unit:.3g} {name}"


def canary_text(row: Row) -> str:
    """The canary of a row, marked where it says that the machine is busy."""
    if row.canary is None:
        return "busy on purpose"
    return f"{row.canary:.2f}" + (" BUSY" if row.busy else "")


def about_text(about: dict[str, Any]) -> str:
    """The machine in one line."""
    return (
        f"{about['cpu']}, {about['processors']} processors, {about['system']}; "
        f"lrnorm {about['lrnorm']} ({about['isa']}), NumPy {about['numpy']}, "
        f"Python {about['python']}; {about['date']}"
    )


def table_text(rows: Sequence[Row], about: dict[str, Any], rounds: int) -> str:
    """Fastest of the rounds. Ours by the copy; a rival by ours."""
    names = list(dict.fromkeys(who.name for row in rows for who, _ in row.columns))
    versions = {who.name: who.version for row in rows for who, _ in row.columns}
    rivals = [name for name in names if name not in (COPY, OURS, OURS_ALLOCATING)]
    heads = [f"{name} {versions[name]}".strip() if name in rivals else name for name in names]
    lines = [
        about_text(about),
        "",
        f"Fastest of {rounds} interleaved rounds.",
        "lrnorm: (× the time of np.copyto on one thread).",
        "Others: (× the time of lrnorm, allocating where they do).",
        "",
        "| case | canary | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    remarks: Counter[str] = Counter()
    for row in rows:
        cells = {}
        for who, timing in row.columns:
            times = over_ours(row, who, timing)
            if who.name in (OURS, OURS_ALLOCATING):
                times = ratio(timing, row.timing(COPY, row.case))
            mark = "" if times is None else f" ({times:.2f}×)"
            cells[who.name] = f"{time_text(timing.min_ns)}{mark}"
            for note in _notes(who, timing, rounds):
                cells[who.name] += "*"
                remarks[f"{who.name}: {note}"] += 1
        for name, reason in row.absent.items():
            remarks[f"{name}: {reason}"] += 1
        listed = " | ".join(cells.get(name, "–") for name in names)
        lines.append(f"| {row.case} | {canary_text(row)} | {listed} |")
    lines.append("")
    for remark, where in remarks.items():
        lines.append(
            f"- {remark}" + ("" if where == len(rows) else f" ({where} of {len(rows)} rows)")
        )
    if any(row.busy for row in rows):
        lines.append(
            "- BUSY: two threads did not speed a known loop up by 1.6; do not trust that row."
        )
    return "\n".join(lines).rstrip() + "\n"


def write_whole(path: Path, content: bytes) -> None:
    """The file appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}.") from error


def check_picture(path: Path) -> None:
    """Say before a long run, not after it, that the picture could not be drawn."""
    known = _figure_class()().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise ParameterError(
            f"--plot must end in one of {', '.join(sorted(known))}, got {str(path)!r}."
        )
    if not path.parent.is_dir():
        raise FileError(f"--plot: the folder {path.parent} does not exist. Make it first.")


def _figure_class() -> Any:
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise MissingDependencyError(
            "--plot needs Matplotlib: pip install 'lrnorm[plot]'."
        ) from error


def draw(rows: Sequence[Row], about: dict[str, Any], path: Path) -> None:
    """Bars of time by the time of a copy, one group of bars a case."""
    names = list(
        dict.fromkeys(who.name for row in rows for who, _ in row.columns if who.name != COPY)
    )
    colours = {OURS: OUR_COLOUR, OURS_ALLOCATING: CLOSE_COLOUR}
    others = [name for name in names if name not in colours]
    colours |= {name: RIVAL_COLOURS[i % len(RIVAL_COLOURS)] for i, name in enumerate(others)}
    bars = []  # (place, ratio, colour, text), from the top down
    ticks, place = [], 0.0
    for row in rows:
        top = place
        for who, timing in row.columns:
            times = ratio(timing, row.timing(COPY, row.case))
            if who.name == COPY or times is None:
                continue
            bars.append(
                (
                    place,
                    times,
                    colours[who.name],
                    f" {times:.1f}" if times < 100 else f" {times:,.0f}",
                )
            )
            place += 1
        busy = "\n(machine busy)" if row.busy else ""
        label = str(row.case).replace(", beta", ",\nbeta")
        ticks.append(((top + place - 1) / 2, f"{label}{busy}"))
        place += 1
    figure = _figure_class()(figsize=(10, 1.6 + 0.24 * place), layout="constrained")
    axes = figure.add_subplot()
    places, widths, fills, texts = zip(*bars, strict=True)
    drawn = axes.barh(places, widths, height=0.85, color=fills)
    axes.bar_label(drawn, texts, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(min(0.8, min(widths) * 0.8), max(widths) * 2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(place - 1 + 0.2, -1)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("time ÷ time of copying the array (np.copyto, one thread); shorter is faster")
    handles = [importlib.import_module("matplotlib.patches").Patch(color=colours[n]) for n in names]
    figure.legend(handles, names, loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    figure.supxlabel(about_text(about), fontsize=6, color="#666666")
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix.lstrip(".").lower(), dpi=150)
    write_whole(path, picture.getvalue())
