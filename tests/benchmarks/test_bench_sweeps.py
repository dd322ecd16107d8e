"""The sweeps: which rows they have, who takes part, and what is left out."""

import dataclasses
import functools

import pytest
import report
import run
import sweeps

from lrnorm.cli import bench, measuring
from lrnorm.cli.measuring import Case, Unable

TINY = Case((1, 3, 2, 2))


interleave = functools.partial(measuring.interleave, settle_s=0, canary=lambda: (2, 1))


@pytest.fixture
def quiet(monkeypatch):
    """A machine on which two threads are twice as fast as one, and nobody waits."""
    monkeypatch.setattr(measuring, "interleave", interleave)


def unable(*_):
    raise Unable("not here")


@pytest.mark.parametrize(
    ("names", "varied"),
    [
        (("channels", "pixels", "batch"), {"shape"}),
        (("shapes",), {"shape", "beta"}),
        (("window",), {"radius"}),
        (("beta", "dtype", "layout", "threads", "verb"), None),
        (("tiny",), set()),
    ],
)
def test_a_sweep_varies_what_it_is_called_after(names, varied):
    for name in names:
        points = [dataclasses.asdict(case) for case in sweeps.SWEEPS[name]]
        assert {key for key in points[0] if len({point[key] for point in points}) > 1} == (
            {name} if varied is None else varied
        )


def test_a_case_of_many_sweeps_is_measured_once():
    rows = sweeps.chosen(sweeps.NAMES)
    belongs = "shapes channels pixels batch beta dtype layout threads verb"
    assert rows[sweeps.BASE] == belongs
    assert sweeps.chosen(["threads"])[sweeps.BASE] == belongs
    assert len(sweeps.chosen(["threads"])) == 2


def test_memory_cases_fill_the_last_cache_twice_and_no_more_than_needed():
    for case in sweeps.memory_cases(5_000_000):
        assert 10_000_000 <= case.nbytes < 10_000_000 + case.nbytes / case.shape[0]
        assert case.nbytes == measuring.make_arrays(case).x.nbytes


def test_sweeps_measure_the_chosen_rows_beside_the_rivals(quiet, monkeypatch):
    monkeypatch.setattr(sweeps, "SWEEPS", {"tiny": [TINY], "beta": [TINY, Case((1, 3, 1, 1))]})
    monkeypatch.setattr(sweeps, "memory_cases", lambda cache: [Case((1, 4, 2, 2))])
    monkeypatch.setattr(sweeps, "last_cache", lambda: 1)
    monkeypatch.setattr(bench, "rival_entrant", unable)
    rows = list(sweeps.measure_sweeps(["tiny", "memory"], ["torch"], 2))
    assert [(row.sweep, row.absent) for row in rows] == [
        ("tiny beta", {"torch": "not here"}),
        ("memory", {}),
    ]
    lines = report.csv_text(rows, report.machine(), 2).splitlines()[1:]
    assert [",memory,1×4" in line for line in lines] == [False] * 5 + [True] * 4


def test_rows_that_do_not_fit_into_memory_are_left_out(quiet, monkeypatch, capsys):
    monkeypatch.setattr(sweeps, "free_memory", lambda: 8 * sweeps.SWEEPS["tiny"][0].nbytes)
    assert list(sweeps.measure_sweeps(["tiny"], [], 1)) == []
    assert "not enough free memory" in capsys.readouterr().err


def test_an_entrant_of_a_sweep_has_seconds(monkeypatch):
    limits = []

    def noted(batches, rounds, *, limit_s):
        limits.append(limit_s)
        return interleave(batches, rounds)

    monkeypatch.setattr(measuring, "interleave", noted)
    list(sweeps.measure_sweeps(["tiny"], [], 1))
    bench.measure_case(TINY, [], 1)
    assert limits == [sweeps.LIMIT_S, measuring.LIMIT_S]


def test_sweeps_are_a_suite(quiet, capsys, tmp_path):
    options = ["--suite", "sweeps", "--only", "tiny", "--rounds", "2", "--against", "none"]
    assert run.main([*options, "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "Fastest of 2 interleaved rounds." in said
    assert said.count("1×5×2×1") == 1
