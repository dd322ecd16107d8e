"""benchmarks/run.py: the CSV, the choice of rows, and the promises. Never a speed."""

import csv
import functools
import io
from dataclasses import replace

import promises
import pytest
import report
import run
import sweeps
from promised import Promise, copy, fresh, ours, rival

import lrnorm
from lrnorm.cli import measuring
from lrnorm.cli.measuring import Case, Row, Timing, Unable, Who

TINY = Case((1, 3, 2, 2))
ABOUT = report.machine()


@pytest.fixture
def quiet(monkeypatch):
    """A machine on which two threads are twice as fast as one, and nobody waits."""
    quick = functools.partial(measuring.interleave, settle_s=0, canary=lambda: (2, 1))
    monkeypatch.setattr(measuring, "interleave", quick)


def row_of(canary=2.0, rounds=15, **times):
    columns = [
        (
            Who(TINY, name.replace("_", " "), allocates="allocating" in name or name == "torch"),
            Timing(ns, 2 * ns, rounds, 1),
        )
        for name, ns in times.items()
    ]
    return Row(TINY, columns, canary, {"openvino": "not here"})


def read_csv(rows):
    return list(csv.DictReader(io.StringIO(report.csv_text(rows, ABOUT, 15))))


def test_csv_has_the_machine_the_case_and_both_ratios():
    row = row_of(copyto=10, lrnorm=20, lrnorm_allocating=40, torch=400, jax=100)
    lines = read_csv([row])
    assert tuple(lines[0]) == report.COLUMNS
    by_name = {line["entrant"]: line for line in lines}
    assert by_name["lrnorm"]["over_copy"] == "2"
    assert by_name["torch"]["over_ours"] == "10"  # both allocating
    assert by_name["jax"]["over_ours"] == "5"
    assert by_name["lrnorm"]["over_ours"] == by_name["copyto"]["over_ours"] == ""
    assert by_name["openvino"]["notes"] == "not here"
    assert by_name["openvino"]["min_ns"] == ""
    assert {line["isa"] for line in lines} == {lrnorm.show_config()["isa"]}
    assert all(line["date"] and line["cpu"] and line["shape"] == "1×3×2×2" for line in lines)


@pytest.mark.parametrize(("canary", "busy"), [(1.59, "True"), (1.6, "False"), (None, "")])
def test_a_busy_machine_and_few_rounds_are_said(canary, busy):
    [line, *_] = read_csv([row_of(canary, rounds=4, copyto=10, lrnorm=20)])
    assert (line["busy"], line["notes"]) == (busy, "only 4 rounds")


# The choice of rows


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shape", "3x4"], "a shape is batch x channels x height x width, such as 16x96x55x55"),
        (["--dtype", "int8"], "unknown dtype 'int8'. There are: float32, float64"),
        (["--beta", "nan"], "beta must be a finite real number, got 'nan'"),
        (["--threads", "0"], "must be a positive integer, got '0'"),
        (["--suite", "promises", "--dtype", "float32"], "leave out --dtype"),
        (["--suite", "promises", "--full"], "leave out --full, which is for --suite table"),
        (["--suite", "sweeps", "--beta", "1"], "leave out --beta"),
        (["--only", "window"], "--suite table has its own rows: leave out --only"),
        (["--suite", "sweeps", "--only", "no"], "unknown sweep 'no'. There are: shapes, channels"),
        (["--beta", "0.75,"], "beta must be a finite real number, got ''"),
    ],
)
def test_wrong_options_say_what_is_right(capsys, options, words):
    with pytest.raises(SystemExit) as stop:
        run.main(options)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_full_is_every_combination():
    rows = run.every_case(*(full for _, full in run._CHOICES.values()))
    assert len(rows) == len(set(rows)) == 4 * 4 * 2 * 3 * 2 * 2
    assert {row.shape for row in rows} == set(sweeps.SHAPES)


def test_a_run_leaves_csv_and_markdown(quiet, capsys, tmp_path):
    options = ["--shape", "1x3x4x5,2x3x2x2", "--verb", "forward,vjp", "--threads", "1"]
    options += ["--rounds", "2", "--against", "none", "--results", str(tmp_path)]
    assert run.main(options) == 0
    said = capsys.readouterr().out
    assert said.count("beta 0.75") == 4
    table, text = sorted(tmp_path.iterdir())
    assert (table.suffix, text.suffix) == (".csv", ".md")
    assert text.read_text() == said
    lines = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [line["entrant"] for line in lines] == ["copyto", "lrnorm", "lrnorm allocating"] * 4
    assert {line["rounds"] for line in lines} == {"2"}


# Promises


def test_promises_are_met_missed_or_not_measured():
    top, bottom, missing = ours(TINY), copy(TINY), rival("openvino", TINY)
    times = {
        timed: (Who(TINY, timed.way), Timing(ns, ns, 3, 1))
        for timed, ns in ((top, 3000), (bottom, 2000))
    }
    bounds = (1.5, False), (1.4, False), (1.5, True), (1.6, True)
    rows = [Promise("g", "a", top, bottom, *bound) for bound in bounds]
    rows.append(Promise("g", "e", missing, bottom, 2, True))
    found = promises.findings_of(rows, times, {missing: "not here"}, row_of())
    assert [f.verdict for f in found] == ["met", "MISSED", "met", "MISSED", "not measured"]
    assert found[0].figure == 1.5
    assert found[4].detail == "not here"
    text = promises.findings_text(found, ABOUT, 3)
    assert "| 1×3×2×2 (g) | a | ≤ 1.5 | 1.50 | met | 2.00 |" in text
    assert "| e | ≥ 2 | – | not measured |" in text


def smaller(timed):
    shape = timed.case.shape if timed.way == "line" else (2, 70, 3, 2)
    return replace(timed, case=replace(timed.case, shape=shape))


def unable(*_):
    raise Unable("not here")


def test_every_promise_can_be_measured(quiet, monkeypatch):
    monkeypatch.setattr(promises, "rival_entrant", unable)
    small = [
        replace(promise, top=smaller(promise.top), bottom=smaller(promise.bottom))
        for promise in promises.PROMISES
    ]
    monkeypatch.setattr(promises, "PROMISES", small)
    monkeypatch.setattr(promises, "measure_busy", lambda calls: ([], row_of()))
    found = [finding for findings, _ in promises.measure_promises(1) for finding in findings]
    assert [finding.promise for finding in found] == small
    for finding in found:
        with_rival = finding.promise.top.way == "rival"
        assert (finding.figure is None) == with_rival, finding
        assert finding.detail == "not here" if with_rival else finding.figure > 0


def test_entrants_of_a_group_are_those_of_its_rows():
    case = Case((2, 7, 3, 4))
    gradient = replace(case, verb="vjp")
    rows = [
        Promise("g", "", ours(gradient), copy(case), 1),
        Promise("g", "", fresh(case), ours(case), 1),
    ]
    entrants, absent = promises.prepare(rows)
    assert [timed.way for timed in entrants] == ["copy", "ours", "ours", "fresh"]
    assert [entrant.who.allocates for entrant in entrants.values()] == [False, False, False, True]
    assert not absent


def test_calls_on_a_busy_machine_alternate_and_leave_nobody_spinning(monkeypatch):
    started = []

    class Spinner:
        def __init__(self, command):
            self.ended = False
            started.append(self)

        def kill(self):
            self.ended = True

        def wait(self):
            return 0

    monkeypatch.setattr(promises.subprocess, "Popen", Spinner)
    monkeypatch.setattr(promises.time, "sleep", lambda _: None)
    chosen = []
    monkeypatch.setattr(promises.lrnorm, "set_num_threads", chosen.append)
    found, row = promises.measure_busy(10)
    assert len(started) == lrnorm.show_config()["processors"]
    assert all(spinner.ended for spinner in started)
    assert chosen == [1, 2] * 30  # twenty calls warm up
    assert [f.promise.text.rsplit(", ", 1)[1] for f in found] == ["99th percentile", "median"]
    assert [t.rounds for _, t in row.columns] == [10, 10]
    assert row.canary is None
