"""The measuring itself: who is timed, when, and what the report says. Never a speed."""

import csv
import dataclasses
import functools
import io

import numpy as np
import pytest

import lrnorm
from lrnorm.bench import cases, command, main, promises, report, rivals, timing
from lrnorm.bench.cases import Case, Entrant, Unable, Who

TINY = Case((1, 3, 2, 2))
ABOUT = report.machine()


interleave = functools.partial(timing.interleave, settle_s=0, canary=lambda: (2, 1))


@pytest.fixture
def quiet(monkeypatch):
    """A machine on which two threads are twice as fast as one, and nobody waits."""
    monkeypatch.setattr(report, "interleave", interleave)


def fake(calls, name, ns=1_000_000):
    def batch(count):
        calls.append(name)
        return ns * count

    return batch


def test_every_batch_is_timed_once_a_round_and_the_order_changes():
    calls = []
    names = ["a", "b", "c", "d"]
    interleave([fake(calls, name) for name in names], 8)
    timed = calls[2 * len(names) :]  # after one call to set up and one to learn the length
    rounds = [timed[i : i + 8 : 2] for i in range(0, len(timed), 8)]
    assert len(rounds) == 8
    assert timed[0::2] == timed[1::2]  # each is warmed up just before it is timed
    assert all(sorted(r) == names for r in rounds)
    assert len({tuple(r) for r in rounds}) > 1


def test_short_calls_are_timed_in_batches_and_reported_for_one_call():
    measured = interleave([fake([], "short", ns=100)], 3)
    (t,) = measured.timings
    assert t.min_ns == t.median_ns == 100
    assert t.calls * 100 >= timing.SHORTEST_SAMPLE_NS


def test_minimum_and_median_are_of_the_rounds():
    lengths = iter([1e6] * 2 + [1e6, 7e6, 1e6, 3e6, 1e6, 5e6])
    measured = interleave([lambda _: next(lengths)], 3)
    assert measured.timings == [timing.Timing(3e6, 5e6, 3, 1)]


def test_who_uses_up_the_limit_stops_taking_part():
    measured = interleave([fake([], "slow")], 5, limit_s=0)
    assert measured.timings[0].rounds == 1


def test_a_batch_runs_the_call_that_often_and_takes_time():
    calls = []
    assert timing.batch_of(lambda: calls.append(1))(7) > 0
    assert len(calls) == 7


def test_the_canary_measures_both_ways():
    one, two = timing.canary()
    assert one > 0
    assert two > 0


def row_of(canary=2.0, rounds=15, **times):
    columns = [
        (
            Who(TINY, name.replace("_", " "), allocates="allocating" in name or name == "torch"),
            timing.Timing(ns, 2 * ns, rounds, 1),
        )
        for name, ns in times.items()
    ]
    return report.Row(TINY, columns, canary, {"openvino": "not here"})


def read_csv(rows):
    return list(csv.DictReader(io.StringIO(report.csv_text(rows, ABOUT, 15))))


def test_csv_has_the_machine_the_case_and_both_ratios():
    row = row_of(copyto=10, lrnorm=20, lrnorm_allocating=40, torch=400, jax=100)
    lines = read_csv([row])
    assert tuple(lines[0]) == report.COLUMNS
    by_name = {line["entrant"]: line for line in lines}
    assert by_name["lrnorm"]["over_copyto"] == "2"
    assert by_name["torch"]["over_ours"] == "10"  # both allocating
    assert by_name["jax"]["over_ours"] == "5"
    assert by_name["lrnorm"]["over_ours"] == by_name["copyto"]["over_ours"] == ""
    assert by_name["openvino"]["notes"] == "not here"
    assert by_name["openvino"]["min_ns"] == ""
    assert {line["isa"] for line in lines} == {lrnorm.show_config()["isa"]}
    assert all(line["date"] and line["cpu"] and line["shape"] == "1×3×2×2" for line in lines)


@pytest.mark.parametrize(("canary", "busy"), [(1.59, True), (1.6, False), (None, False)])
def test_a_busy_machine_is_labelled(canary, busy):
    row = row_of(canary, copyto=10, lrnorm=20)
    assert row.busy is busy
    assert ("BUSY" in report.table_text([row], ABOUT, 15)) is busy
    expected = "" if canary is None else str(busy)
    assert {line["busy"] for line in read_csv([row])} == {expected}


def test_fewer_rounds_than_asked_are_said():
    row = row_of(rounds=4, copyto=10, lrnorm=20)
    assert "only 4 rounds" in report.table_text([row], ABOUT, 15)
    assert read_csv([row])[0]["notes"] == "only 4 rounds"


def test_the_table_names_who_is_absent_and_why():
    text = report.table_text([row_of(copyto=1e6, lrnorm=2e6)], ABOUT, 15)
    assert "openvino: not here" in text
    assert "| 1 ms | 2 ms (2.00×) |" in text


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("layout", cases.LAYOUTS)
@pytest.mark.parametrize("verb", cases.VERBS)
def test_ours_preallocated_is_ours_allocating(dtype, layout, verb):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    case = Case((2, 7, 3, 4), dtype, layout, 0.6, verb)
    arrays = cases.make_arrays(case)
    into, fresh, expected = cases.our_entrants(case, arrays)
    function = {"forward": lrnorm.local_response_norm, "vjp": lrnorm.local_response_norm_vjp}[verb]
    inputs = (arrays.x,) if verb == "forward" else (arrays.x, arrays.g)
    public = function(*inputs, beta=0.6, axis=case.axis)
    assert arrays.x.shape == case.stored_shape
    assert np.array_equal(expected, public)
    assert into.batch(1) > 0
    assert fresh.batch(1) > 0
    assert not into.who.allocates
    assert fresh.who.allocates


def test_only_a_gradient_needs_a_second_array():
    arrays = cases.make_arrays(TINY)
    assert arrays.g is arrays.x
    arrays = cases.make_arrays(dataclasses.replace(TINY, verb="vjp"))
    assert not np.array_equal(arrays.g, arrays.x)


def a_rival(build):
    return rivals.Rival(("numpy",), "numpy", False, build)


def rival_of(monkeypatch, build):
    monkeypatch.setitem(rivals.RIVALS, "torch", a_rival(build))
    arrays = cases.make_arrays(TINY)
    *_, expected = cases.our_entrants(TINY, arrays)
    return rivals.rival_entrant("torch", TINY, arrays, expected)


def ready(result):
    return rivals.Ready(lambda: result, np.asarray, "1")


def test_a_rival_that_agrees_has_nothing_noted(monkeypatch):
    entrant = rival_of(
        monkeypatch, lambda case, arrays: ready(lrnorm.local_response_norm(arrays.x, beta=0.75))
    )
    assert entrant.who.disagreement == 0
    assert entrant.who.notes == ()


def test_a_rival_that_disagrees_is_timed_and_says_so(monkeypatch):
    entrant = rival_of(monkeypatch, lambda case, arrays: ready(arrays.x))
    assert entrant.who.disagreement > 0.01
    assert "disagrees with ours" in entrant.who.notes[0]


def test_nan_is_a_disagreement(monkeypatch):
    entrant = rival_of(monkeypatch, lambda case, arrays: ready(arrays.x * np.nan))
    assert "disagrees with ours" in entrant.who.notes[0]


def test_what_a_rival_cannot_do_is_a_reason(monkeypatch):
    def build(case, arrays):
        raise RuntimeError("in user code:\n\n  somewhere\n  no kernel for this\n")

    with pytest.raises(Unable, match=r"^no kernel for this$"):
        rival_of(monkeypatch, build)
    with pytest.raises(Unable, match="returned shape"):
        rival_of(monkeypatch, lambda case, arrays: ready(arrays.x[0]))


def test_a_missing_rival_says_how_to_install_it():
    rival = rivals.Rival(("surely_not_installed",), "some-package", False, None)
    assert rival.missing() == "surely_not_installed not installed: pip install some-package"
    assert a_rival(None).missing() is None


@pytest.mark.parametrize("name", rivals.RIVALS)
@pytest.mark.parametrize("layout", cases.LAYOUTS)
@pytest.mark.parametrize("verb", cases.VERBS)
def test_installed_rivals_agree(name, layout, verb):
    if rivals.RIVALS[name].missing() or name in ("torch.compile", "tensorflow"):
        pytest.skip("not installed, or too slow to start for a test")
    case = Case((2, 7, 3, 4), layout=layout, verb=verb)
    arrays = cases.make_arrays(case)
    *_, expected = cases.our_entrants(case, arrays)
    try:
        entrant = rivals.rival_entrant(name, case, arrays, expected)
    except Unable as error:
        assert str(error) == "has no gradient of LRN"
    else:
        assert entrant.who.disagreement <= rivals.AGREES["float32"]


def test_unknown_rival_lists_those_there_are(capsys):
    assert main(["--against", "torch,caffe"]) == 2
    error = capsys.readouterr().err
    assert "unknown rival 'caffe'. There are: torch, torch.compile, openvino," in error


def test_errors_look_like_those_of_the_other_commands(capsys):
    """One line, and no usage before it."""
    assert main(["--shape", "3"]) == 2
    assert capsys.readouterr() == (
        "",
        "lrnorm: argument --shape: a shape is batch x channels x height x width, such as "
        "16x96x55x55, got '3'. See lrnorm bench --help.\n",
    )
    assert main(["--plot", "bench.exe"]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("lrnorm: --plot must end in") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shape", "3x4"], "a shape is batch x channels x height x width, such as 16x96x55x55"),
        (["--dtype", "int8"], "unknown dtype 'int8'. There are: float32, float64"),
        (["--beta", "nan"], "beta must be a finite real number, got 'nan'"),
        (["--threads", "0"], "must be a positive integer, got '0'"),
        (["--suite", "promises", "--dtype", "float32"], "leave out --dtype"),
        (["--suite", "promises", "--full"], "leave out --full, which is for --suite table"),
        (["--suite", "promises", "--against", "jax"], "is for --suite table or sweeps"),
        (["--suite", "sweeps", "--beta", "1"], "leave out --beta"),
        (["--only", "window"], "--suite table has its own rows: leave out --only"),
        (["--suite", "sweeps", "--only", "no"], "unknown sweep 'no'. There are: shapes, channels"),
        (["--beta", "0.75,"], "beta must be a finite real number, got ''"),
    ],
)
def test_wrong_options_say_what_is_right(capsys, options, words):
    assert main(options) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("lrnorm: ") and error.count("\n") == 1


def test_a_picture_that_could_not_be_drawn_is_refused_before_the_run(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    assert main(["--plot", str(tmp_path / "bench.exe")]) == 2
    assert "--plot must end in one of" in capsys.readouterr().err
    assert main(["--plot", str(tmp_path / "no" / "bench.png")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_run_prints_a_table_and_leaves_csv_markdown_and_picture(quiet, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    before = lrnorm.show_config()["threads"]
    picture = tmp_path / "bench.png"
    options = ["--shape", "1x3x4x5,2x3x2x2", "--verb", "forward,vjp", "--threads", "1"]
    options += ["--rounds", "2", "--against", "none", "--plot", str(picture)]
    assert main([*options, "--results", str(tmp_path / "results")]) == 0
    said = capsys.readouterr()
    assert said.out.count("beta 0.75") == 4
    assert "[4/4]" in said.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    table, text = sorted((tmp_path / "results").iterdir())
    assert (table.suffix, text.suffix) == (".csv", ".md")
    assert text.read_text() == said.out
    lines = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [line["entrant"] for line in lines] == ["copyto", "lrnorm", "lrnorm allocating"] * 4
    assert {line["rounds"] for line in lines} == {"2"}
    assert lrnorm.show_config()["threads"] == before


def test_help_names_the_rivals(capsys):
    assert main(["--help"]) == 0
    assert "onnxruntime" in capsys.readouterr().out


def test_full_is_every_combination():
    rows = cases.every_case(*command._EVERYTHING.values())
    assert len(rows) == len(set(rows)) == 4 * 4 * 2 * 3 * 2 * 2


def group_of(**times):
    entrants = {name: Entrant(Who(TINY, name), fake([], name, ns)) for name, ns in times.items()}
    return promises.Group(entrants, {"rival": "not here"})


def findings(quiet, *bounds):
    group = group_of(top=3_000_000, bottom=2_000_000)
    row = report.measure_row(TINY, list(group.entrants.values()), 3, group.absent)
    return promises.findings_of(bounds, group, row)


def test_promises_are_met_missed_or_not_measured(quiet):
    found = findings(
        quiet,
        promises.Promise("a", "top", "bottom", 1.5),
        promises.Promise("b", "top", "bottom", 1.4),
        promises.Promise("c", "top", "bottom", 1.5, at_least=True),
        promises.Promise("d", "top", "bottom", 1.6, at_least=True),
        promises.Promise("e", "rival", "bottom", 2, at_least=True),
    )
    assert [f.verdict for f in found] == ["met", "MISSED", "met", "MISSED", "not measured"]
    assert found[0].figure == 1.5
    assert found[4].detail == "not here"
    text = promises.findings_text(found, ABOUT, 3)
    assert "| a | ≤ 1.5 | 1.50 | met | 2.00 |" in text
    assert "| e | ≥ 2 | – | not measured |" in text


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0.5, "0.5 ns"), (999, "999 ns"), (1500, "1.5 µs"), (2.34e6, "2.34 ms"), (1.39e9, "1.39 s")],
)
def test_times_are_said_in_the_unit_that_suits(ns, text):
    assert report.time_text(ns) == text


def unable(*_):
    raise Unable("not here")


def test_every_promise_names_someone_who_takes_part(monkeypatch):
    monkeypatch.setattr(promises, "Case", lambda shape, **rest: Case((2, 70, 3, 2), **rest))
    monkeypatch.setattr(promises, "rival_entrant", unable)
    for _, prepare, bounds in promises.GROUPS:
        group = prepare()
        for promise in bounds:
            assert promise.top in {*group.entrants, *group.absent}
            assert promise.bottom in group.entrants


def test_the_tiny_call_is_timed_as_a_line_of_code():
    group = promises._tiny()
    assert all(entrant.batch(1) > 0 for entrant in group.entrants.values())
    assert {e.who.case.shape for e in group.entrants.values()} == {(5, 2, 1)}


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
    found, row = promises._busy(10)
    assert len(started) == lrnorm.show_config()["processors"]
    assert all(spinner.ended for spinner in started)
    assert chosen == [1, 2] * 30  # twenty calls warm up
    assert [f.promise.text.rsplit(", ", 1)[1] for f in found] == ["99th percentile", "median"]
    assert [t.rounds for _, t in row.columns] == [10, 10]
    assert row.canary is None


def test_cases_are_values():
    assert dataclasses.replace(TINY, layout="last").stored_shape == (1, 2, 2, 3)
    assert str(TINY) == "1×3×2×2 float32 channels first, beta 0.75, window 5, forward, 2 threads"
