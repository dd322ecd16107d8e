"""The page of docs/performance.md: what it says of a CSV, and the pictures it draws."""

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
import causes
import evidence
import figures
import instructions
import page
import report
import results
import sweeps

from lrnorm.cli import bench
from lrnorm.cli.measuring import Case, Row, Timing, Who

ROOT = Path(__file__).resolve().parents[2]
ABOUT = {**report.machine(), "last_cache": 1_000_000}
BASE = sweeps.BASE


def row_of(case=BASE, sweep="shapes", canary=2.0, absent=None, **times):
    """Milliseconds of each entrant; torch and jax allocate."""
    columns = [
        (
            Who(
                case,
                name.replace("_", " "),
                name in ("torch", "lrnorm_allocating"),
                version="1.2+cpu",
            ),
            Timing(1e6 * ms, 1e6 * ms, 7, 1),
        )
        for name, ms in times.items()
    ]
    return Row(case, columns, canary, absent or {}, sweep)


def points_of(tmp_path, *rows):
    path = tmp_path / "some.csv"
    path.write_text(report.csv_text(rows, ABOUT, 7), encoding="utf-8")
    return results.read(path)


def page_of(tmp_path, *rows):
    return page.page_text(points_of(tmp_path, *rows), "some.csv")


def of_bytes(nbytes, **rest):
    """float32 unless said, window 5."""
    return Case((1, 5, nbytes // 20, 1), **rest)


USUAL = {"copyto": 10, "lrnorm": 11, "lrnorm_allocating": 20}


def test_a_point_holds_what_was_measured(tmp_path):
    row = row_of(**USUAL, torch=60, jax=44, absent={"opencv": "not here"})
    (point,) = points_of(tmp_path, row)
    assert point.shape == BASE.shape
    assert point.nbytes == BASE.nbytes
    assert point.times["torch"].over_ours == 3  # both allocating
    assert point.closest == ("torch", 3)
    assert point.absent == {"opencv": "not here"}


def test_the_page_names_machine_rivals_and_the_closest_row(tmp_path):
    rows = [
        row_of(**USUAL, torch=60, absent={"jax": "has no time"}),
        row_of(Case((4, 96, 55, 55)), "batch", **USUAL, openvino=22),
    ]
    text = page_of(tmp_path, *rows)
    assert bench.about_text(ABOUT) in text
    assert "Rivals: torch 1.2, openvino 1.2." in text
    assert "Of 2 rows with rivals, none had one faster than lrnorm." in text
    assert "The closest is openvino, at 2 times our time (4×96×55×55 float32" in text
    assert "- jax: has no time" in text
    assert "last cache 1 MB" in text


def test_a_faster_rival_is_said_and_marked(tmp_path):
    text = page_of(tmp_path, row_of(**USUAL, torch=10), row_of(TINY, "tiny", **USUAL, jax=16.4))
    assert "jax: 1.49 (≥ 1.5)" in text
    assert "Of 2 rows with rivals, 1 had one faster than lrnorm." in text
    assert "**×0.5** †" in text
    assert "torch: 0.5 (≥ 1.5) | **no reason found yet** |" in text


def test_without_rivals_the_page_says_so(tmp_path):
    text = page_of(tmp_path, row_of(**USUAL))
    assert "No rival was installed." in text
    assert "Rivals: none." in text


TINY = Case((1, 5, 2, 1))


@pytest.mark.parametrize(
    ("case", "canary", "words"),
    [
        (TINY, 2, "ten numbers: the time is that of the call"),
        (TINY, 1, "ten numbers: the time is that of the call"),
        (BASE, 1.25, "the machine was busy (canary 1.25): measure again"),
        (BASE, 1.6, "**no reason found yet**"),
    ],
)
def test_every_miss_has_its_reason_or_says_that_there_is_none(tmp_path, case, canary, words):
    text = page_of(tmp_path, row_of(case, "tiny", canary, **USUAL, openvino=12))
    (line,) = [line for line in text.splitlines() if "(≥ 1.5)" in line]
    assert words in line
    assert (case.shape_text + (" (busy)" if canary < 1.6 else " |")) in text


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (TINY, "the time is that of the call"),
        (Case((16, 96, 4, 4)), "short rows: one row of 9 numbers takes "),
        (replace(BASE, verb="vjp"), "a gradient reads two arrays"),
        (replace(BASE, dtype="float64"), "float64 keeps D in pairs of doubles"),
        (replace(BASE, radius=3), "share a core summed in double"),
        (replace(BASE, beta=0.6), "log2 and exp2"),
        (replace(BASE, beta=2.0), "both are bandwidth-bound"),
        (replace(BASE, threads=1), "one thread does all the arithmetic"),
        (replace(BASE, dtype="bfloat16"), "half the bytes of float32"),
        (Case((1, 96, 20, 20)), "fits into a cache"),
        (replace(BASE, layout="last"), "where the threads share one core"),
    ],
)
def test_every_slow_kind_of_row_has_its_cause(tmp_path, case, words):
    text = page_of(tmp_path, row_of(case, "shapes", copyto=10, lrnorm=14))
    table = text.partition("## What limits the speed")[2].partition("\n## ")[0]
    (line,) = [line for line in table.splitlines() if "×1.4" in line]
    assert words in line
    assert line.endswith(" | 1 row, ×1.4 | – |")


def test_rows_are_watched_beyond_a_third_more_than_a_copy_and_two_times_the_closest(tmp_path):
    rows = [
        row_of(BASE, copyto=10, lrnorm=12.9, torch=26),
        row_of(Case((4, 96, 55, 55)), copyto=10, lrnorm=13.1, openvino=26),
        row_of(Case((8, 96, 55, 55)), copyto=10, lrnorm=10, openvino=19),
    ]
    found = [f for f in results.findings(points_of(tmp_path, *rows), results.WATCHED) if not f.met]
    seen = {(f.point.shape[0], f.who) for f in found}
    assert seen == {(4, "lrnorm"), (4, "openvino"), (8, "openvino")}
    assert "What limits the speed" not in page_of(tmp_path, row_of(BASE, copyto=10, lrnorm=12.9))


def test_a_busy_row_without_a_cause_says_so(tmp_path):
    text = page_of(tmp_path, row_of(BASE, "shapes", 1.2, copyto=10, lrnorm=14))
    assert "| the machine was busy (canary 1.20): measure again | 1 row, ×1.4 | – |" in text


def test_causes_tell_the_counts_that_are_kept():
    kept = instructions.read(instructions.X86.kept)
    call = ("avx2", "forward", "float32", "first", "5", "0.75", "2x96x1024")
    assert float(kept[call]["per_element"]) == causes.PLAIN
    assert any(f"float32 {causes.PLAIN:.1f}" in cause.text for cause in causes.CAUSES)


@pytest.mark.parametrize(
    ("case", "sweep", "target"),
    [
        (of_bytes(2_000_000), "shapes", 0),
        (of_bytes(2_000_000, beta=0.5), "memory", 0),
        (of_bytes(1_999_980), "shapes", 1),
        (of_bytes(1_000_000), "shapes", 1),
        (of_bytes(999_980), "shapes", None),  # a copy in the cache is no bound
        (of_bytes(2_000_000), "channels", None),
        (of_bytes(2_000_000, beta=0.6), "shapes", None),
        (of_bytes(2_000_000, verb="vjp"), "shapes", None),
        (of_bytes(2_000_000, threads=1), "shapes", None),
        (of_bytes(2_000_000, layout="last"), "shapes", None),
        (of_bytes(2_000_000, radius=1), "shapes", None),
        (of_bytes(2_000_000, dtype="float64"), "shapes", None),
        (of_bytes(200, dtype="float16"), "dtype", 2),
        (of_bytes(200, dtype="bfloat16"), "dtype", 2),
    ],
)
def test_targets_apply_by_size_and_type(tmp_path, case, sweep, target):
    points = points_of(tmp_path, row_of(case, sweep, **USUAL))
    found = [finding.target for finding in results.findings(points)]
    assert found == ([] if target is None else [results.TARGETS[target]])


@pytest.mark.parametrize(
    ("ours", "missed"), [(10.9, []), (11.1, [1.1]), (12.9, [1.1]), (13.1, [1.1, 1.3])]
)
def test_targets_are_met_or_missed(tmp_path, ours, missed):
    sizes = (2_000_000, 1_000_000)
    times = {"copyto": 12, "copyto_on_all_threads": 10, "lrnorm": ours}  # the faster copy counts
    rows = [row_of(of_bytes(size), "shapes", **times) for size in sizes]
    found = results.findings(points_of(tmp_path, *rows))
    assert [f.target.bound for f in found] == [1.1, 1.3]
    assert [f.target.bound for f in found if not f.met] == missed


def test_the_table_of_targets_counts_rows_and_misses(tmp_path):
    rows = [
        row_of(**USUAL, openvino=33),
        row_of(TINY, "tiny", **USUAL, openvino=44, torch=22),
    ]
    text = page_of(tmp_path, *rows)
    assert "| the closest rival by ours, every row | ≥ 1.5 | 2 | 1.1 | 1 |" in text


def test_rows_of_a_sweep_come_in_order_of_what_varies(tmp_path):
    batches = [16, 4, 64]
    rows = [row_of(Case((n, 96, 55, 55)), "batch", **USUAL) for n in batches]
    text = page_of(tmp_path, *rows)
    assert text.index("| 4×96") < text.index("| 16×96") < text.index("| 64×96")


def test_whole_nets_have_a_table_and_no_target(tmp_path):
    net = row_of(
        Case((8, 3, 224, 224)), "GoogLeNet", lrnorm_allocating=100, torch=120, without_LRN=99
    )
    points = points_of(tmp_path, net)
    assert results.findings(points) == []
    text = page_of(tmp_path, row_of(**USUAL), net)
    assert "| GoogLeNet 8×3×224×224 | 120 ms | 100 ms | 99 ms | ×1.2 |" in text
    assert "No rival was installed." in text


def test_every_benchmark_finds_what_it_imports():
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
    done = subprocess.run(  # one process for all: each framework is imported once
        [sys.executable, "-c", f"import {', '.join(names)}"],
        cwd=ROOT / "benchmarks",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_sweep_has_a_heading():
    assert set(page.SWEEPS) == set(sweeps.NAMES)


def test_the_command_leaves_a_page_and_three_pictures(tmp_path, monkeypatch, capsys):
    rows = [row_of(case, "window", **USUAL, jax=30) for case in sweeps.SWEEPS["window"]]
    rows += [row_of(case, "pixels", **USUAL, jax=30) for case in sweeps.SWEEPS["pixels"]]
    points_of(tmp_path, *rows)
    into = tmp_path / "docs"
    into.mkdir()
    monkeypatch.setattr(sys, "argv", ["page.py", str(tmp_path / "some.csv"), "--into", str(into)])
    page.main()
    text = (into / "performance.md").read_text(encoding="utf-8")
    pictures = sorted((into / "images").iterdir())
    assert len(pictures) == 3
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert all(f"(images/{picture.name})" in text for picture in pictures)
    assert str(tmp_path) not in text


def test_a_part_has_the_pictures_it_has_rows_for(tmp_path):
    points = points_of(tmp_path, row_of(sweeps.SWEEPS["window"][0], "window", **USUAL))
    figures.save(points, {}, tmp_path)
    text = page.page_text(points, "part.csv")
    assert [path.name for path in tmp_path.glob("*.png")] == ["performance_window.png"]
    assert [name for name in figures.PICTURES if name in text] == ["performance_window.png"]


def test_a_file_without_rows_is_refused(tmp_path, monkeypatch):
    points_of(tmp_path)
    monkeypatch.setattr(sys, "argv", ["page.py", str(tmp_path / "some.csv")])
    with pytest.raises(SystemExit, match=r"some\.csv has no rows: measure with"):
        page.main()


def test_the_closest_row_is_marked_in_the_picture(tmp_path):
    rows = [
        row_of(BASE, "shapes", **USUAL, openvino=55),
        row_of(Case((4, 96, 55, 55)), "batch", 1.0, **USUAL, openvino=33),
        row_of(Case((8, 3, 224, 224)), "AlexNet", lrnorm_allocating=100, torch=100),
    ]
    picture = figures.PICTURES["performance_behind.png"]
    points = filter(picture.chosen, points_of(tmp_path, *rows))
    figure = picture.draw(list(points), {})
    (axes,) = figure.axes
    (mark,) = [line for line in axes.lines if line.get_marker() == "D"]
    assert list(mark.get_xdata()) == [3]
    assert mark.get_markerfacecolor() == "white"
    assert "3× at 4×96×55×55" in [text.get_text() for text in axes.texts]
    assert "hollow: the machine was busy" in axes.get_xlabel()


def test_curves_are_times_by_a_copy_in_order(tmp_path):
    rows = [
        row_of(sweeps.SWEEPS["window"][1], "window", copyto=10, lrnorm=20),
        row_of(sweeps.SWEEPS["window"][0], "window", 1.0, copyto=10, lrnorm=15),
    ]
    drawn = figures.curves(points_of(tmp_path, *rows), lambda p: float(p.row["window"]))
    assert drawn == {"lrnorm": [(3, 1.5, True), (5, 2, False)]}


def test_labels_are_moved_apart_and_no_further():
    assert figures.spread([1, 5, 3], 1) == [1, 5, 3]
    assert figures.spread([2, 2, 2], 1) == [1, 2, 3]
    moved = figures.spread([0.0, 0.5, 10.0], 1)
    assert moved == [-0.25, 0.75, 10.0]
    crowded = sorted(figures.spread([0, 0.1, 1.2, 1.3], 1))
    assert all(b - a >= 1 - 1e-9 for a, b in itertools.pairwise(crowded))


def counted(compiler="g++ 12", **per_element):
    return {
        (name,): {"per_element": str(value), "compiler": compiler}
        for name, value in per_element.items()
    }


def test_changes_of_more_than_three_percent_are_loud():
    old = counted(same=10, more=10, fewer=10, gone=10)
    text = instructions.report(old, counted(same=10.29, more=10.31, fewer=9.69, new=1))
    assert "2 of 4 calls changed by more than 3%:" in text
    assert "!!! more: 10.000 → 10.310 (+3.1%)" in text
    assert "!!! fewer: 10.000 → 9.690 (-3.1%)" in text
    assert "of g++" not in text


def test_other_compilers_are_said():
    text = instructions.report(counted("g++ 12", a=1), counted("clang 19", a=1))
    assert "The numbers kept are of g++ 12; these are of clang 19." in text
    assert "0 of 1 calls changed by more than 3%." in text


@pytest.mark.parametrize("machine", [instructions.X86, instructions.ARM], ids=["x86", "arm"])
def test_the_counts_kept_are_read_as_they_were_written(tmp_path, machine):
    kept = instructions.read(machine.kept)
    assert {call[0] for call in kept} == set(machine.sets)
    copied = tmp_path / "copied.csv"
    copied.write_text(instructions.csv_text(kept), encoding="utf-8")
    assert instructions.read(copied) == kept
    assert machine.kept.read_text(encoding="utf-8") == instructions.csv_text(kept)
    assert instructions.read(tmp_path / "none.csv") == {}


def test_a_count_is_the_total_of_a_file(tmp_path):
    dump = tmp_path / "out.1"
    dump.write_text("events: Ir\nfn=(1) f\n3 4\n\ntotals: 1234\n", encoding="utf-8")
    assert instructions.total(dump) == 1234
    dump.write_text("events: Ir\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"callgrind's file out\.1 has no total"):
        instructions.total(dump)


@pytest.mark.parametrize("tool", ["valgrind", "cmake"])
def test_without_its_tools_nothing_is_counted(monkeypatch, capsys, tool):
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None if name == tool else name)
    monkeypatch.setattr(sys, "argv", ["instructions.py"])
    monkeypatch.setattr(instructions, "build", None)
    instructions.main()
    said = capsys.readouterr().out
    assert f"needs {tool}, which is not installed: nothing is counted." in said


def test_a_part_does_not_overwrite_the_whole(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evidence.py", "--only", "tiny"])
    with pytest.raises(SystemExit):
        evidence.main()
    assert "this is a part: name a file with --csv" in capsys.readouterr().err


def test_unknown_parts_are_refused(monkeypatch, tmp_path):
    options = ["--only", "tiny,tinny", "--csv", str(tmp_path / "part.csv")]
    monkeypatch.setattr(sys, "argv", ["evidence.py", *options])
    with pytest.raises(SystemExit, match=r"unknown: 'tinny'\. There are: shapes, .*, nets\."):
        evidence.main()


def test_a_part_is_measured_into_its_file(monkeypatch, tmp_path, capsys):
    path = tmp_path / "part.csv"
    measured = row_of(TINY, "tiny", **USUAL)
    monkeypatch.setattr(evidence.sweeps, "measure_sweeps", lambda *_: iter([measured]))
    options = ["--only", "tiny", "--against", "jax", "--csv", str(path)]
    monkeypatch.setattr(sys, "argv", ["evidence.py", *options])
    evidence.main()
    (point,) = results.read(path)
    assert point.sweeps == ["tiny"]
    assert "1 rows in" in capsys.readouterr().out


def test_the_page_takes_the_newest_table_of_other_scripts(tmp_path: Path) -> None:
    for name in ("promises-2026-01-02.md", "promises-2026-03-04.md", "whole_axis.md"):
        (tmp_path / name).write_text(f"| {name} |\n")
    text = page.tables_text(tmp_path)
    assert "## Promises" in text and "## Whole-axis windows" in text
    assert "| promises-2026-03-04.md |" in text and "2026-01-02" not in text
