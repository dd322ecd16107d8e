"""`lrnorm bench`: who is timed, when, and what the table says. Never a speed."""

import dataclasses
import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from refusals import check_parts

import lrnorm
from lrnorm import FileError, ParameterError
from lrnorm.cli import bench, measuring, rivals
from lrnorm.cli.measuring import Case, Row, Timing, Unable, Who

TINY = Case((1, 3, 2, 2))
ABOUT = bench.machine()


interleave = functools.partial(measuring.interleave, settle_s=0, canary=lambda: (2, 1))


@pytest.fixture
def quiet(monkeypatch):
    """A machine on which two threads are twice as fast as one, and nobody waits."""
    monkeypatch.setattr(measuring, "interleave", interleave)


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
    assert t.calls * 100 >= measuring.SHORTEST_SAMPLE_NS


def test_minimum_and_median_are_of_the_rounds():
    lengths = iter([1e6] * 2 + [1e6, 7e6, 1e6, 3e6, 1e6, 5e6])
    measured = interleave([lambda _: next(lengths)], 3)
    assert measured.timings == [Timing(3e6, 5e6, 3, 1)]


def test_who_uses_up_the_limit_stops_taking_part():
    measured = interleave([fake([], "slow")], 5, limit_s=0)
    assert measured.timings[0].rounds == 1


def test_a_batch_runs_the_call_that_often_and_takes_time():
    calls = []
    assert measuring.batch_of(lambda: calls.append(1))(7) > 0
    assert len(calls) == 7


def test_the_canary_measures_both_ways():
    one, two = measuring.canary()
    assert one > 0
    assert two > 0


def row_of(canary=2.0, rounds=15, **times):
    columns = [
        (
            Who(TINY, name.replace("_", " "), allocates="allocating" in name or name == "torch"),
            Timing(ns, 2 * ns, rounds, 1),
        )
        for name, ns in times.items()
    ]
    return Row(TINY, columns, canary, {"openvino": "not here"})


@pytest.mark.parametrize(("canary", "busy"), [(1.59, True), (1.6, False), (None, False)])
def test_a_busy_machine_is_labelled(canary, busy):
    row = row_of(canary, copyto=10, lrnorm=20)
    assert row.busy is busy
    assert ("BUSY" in bench.table_text([row], ABOUT, 15)) is busy


def test_fewer_rounds_than_asked_are_said():
    row = row_of(rounds=4, copyto=10, lrnorm=20)
    assert "only 4 rounds" in bench.table_text([row], ABOUT, 15)


def test_the_table_names_who_is_absent_and_why():
    text = bench.table_text([row_of(copyto=1e6, lrnorm=2e6)], ABOUT, 15)
    assert "openvino: not here" in text
    assert "| 1 ms | 2 ms (2.00×) |" in text


@pytest.mark.parametrize("dtype", measuring.DTYPES)
@pytest.mark.parametrize("layout", measuring.LAYOUTS)
@pytest.mark.parametrize("verb", ("forward", "vjp"))
def test_ours_preallocated_is_ours_allocating(dtype, layout, verb):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    case = Case((2, 7, 3, 4), dtype, layout, 0.6, verb)
    arrays = measuring.make_arrays(case)
    into, fresh, expected = measuring.our_entrants(case, arrays)
    function = {"forward": lrnorm.local_response_norm, "vjp": lrnorm.local_response_norm_vjp}[verb]
    inputs = (arrays.x,) if verb == "forward" else (arrays.x, arrays.g)
    public = function(*inputs, beta=0.6, axis=case.axes)
    assert arrays.x.shape == case.stored_shape
    assert np.array_equal(expected, public)
    assert into.batch(1) > 0
    assert fresh.batch(1) > 0
    assert not into.who.allocates
    assert fresh.who.allocates


def test_only_a_gradient_needs_a_second_array():
    arrays = measuring.make_arrays(TINY)
    assert arrays.g is arrays.x
    arrays = measuring.make_arrays(dataclasses.replace(TINY, verb="vjp"))
    assert not np.array_equal(arrays.g, arrays.x)


def a_rival(build):
    return rivals.Rival(("numpy",), "numpy", False, build)


def rival_of(monkeypatch, build):
    monkeypatch.setitem(rivals.RIVALS, "torch", a_rival(build))
    arrays = measuring.make_arrays(TINY)
    *_, expected = measuring.our_entrants(TINY, arrays)
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
@pytest.mark.parametrize("layout", measuring.LAYOUTS)
@pytest.mark.parametrize("verb", ("forward", "vjp"))
def test_installed_rivals_agree(name, layout, verb):
    if rivals.RIVALS[name].missing() or name in ("torch.compile", "tensorflow"):
        pytest.skip("not installed, or too slow to start for a test")
    case = Case((2, 7, 3, 4), layout=layout, verb=verb)
    arrays = measuring.make_arrays(case)
    *_, expected = measuring.our_entrants(case, arrays)
    try:
        entrant = rivals.rival_entrant(name, case, arrays, expected)
    except Unable as error:
        assert str(error) == "has no gradient of LRN"
    else:
        assert entrant.who.disagreement <= rivals.AGREES["float32"]


@pytest.mark.parametrize("verb", ["jvp", "vjp and parameters"])
def test_rivals_have_two_verbs(verb):
    case = Case((2, 7, 3, 4), verb=verb)
    arrays = measuring.make_arrays(case)
    into, fresh, expected = measuring.our_entrants(case, arrays)
    assert into.batch(1) > 0 and fresh.batch(1) > 0
    assert expected.shape == case.shape
    rival = next((name for name, rival in rivals.RIVALS.items() if not rival.missing()), None)
    if rival is not None:
        with pytest.raises(Unable, match=f"is not set up for {verb}"):
            rivals.rival_entrant(rival, case, arrays, expected)


def test_values_of_an_input():
    normal = measuring.make_arrays(TINY).x
    relu = measuring.make_arrays(replace(TINY, values="ReLU")).x
    assert np.array_equal(relu, np.maximum(normal, 0)) and not np.array_equal(relu, normal)
    assert np.array_equal(measuring.make_arrays(replace(TINY, values="1e20")).x, normal * 1e20)


@pytest.mark.parametrize(
    ("options", "kind", "subject", "rule", "more"),
    [
        (
            *(["--against", "torch,caffe"], ParameterError, ""),
            *("unknown rival 'caffe'. There are: torch, torch.compile,", {}),
        ),
        (["--shape", "3x4"], ParameterError, "", "unrecognized arguments: --shape 3x4", {}),
        (
            *(["--plot", "bench.exe"], FileError, "the ending of a drawing"),
            *("must be one of png, pdf, svg, jpg", {"value": "bench.exe"}),
        ),
        (["--plot", "no/bench.png"], FileError, "no/bench.png", "there is no folder", {}),
    ],
)
def test_wrong_options_are_refused_in_one_line_before_the_run(
    lrn_error, options, kind, subject, rule, more
):
    pytest.importorskip("matplotlib")
    check_parts(lrn_error("bench", *options), kind, subject, rule, **more)


def test_a_run_prints_a_table_and_draws(quiet, monkeypatch, lrn, lrn_error):
    pytest.importorskip("matplotlib")
    small = [replace(case, shape=(1, 3, 4, 5)) for case in bench.CASES[:2]]
    monkeypatch.setattr(bench, "CASES", small)
    monkeypatch.setattr(measuring, "ROUNDS", 2)
    before = lrnorm.show_config()["threads"]
    words = ["bench", "--against", "none", "--plot", "bench.png"]
    status, out, err = lrn(*words)
    assert status == 0 and "Fastest of 2 interleaved rounds." in out
    assert out.count("1×3×4×5") == 2
    assert "[2/2]" in err
    assert Path("bench.png").read_bytes().startswith(b"\x89PNG")
    assert lrnorm.show_config()["threads"] == before
    check_parts(lrn_error(*words), FileError, "bench.png", "exists", way_out="--force")
    assert lrn(*words, "--force")[0] == 0


def test_help_names_the_rivals(lrn):
    status, out, _ = lrn("bench", "--help")
    assert status == 0 and "onnxruntime" in out


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0.5, "0.5 ns"), (999, "999 ns"), (1500, "1.5 µs"), (2.34e6, "2.34 ms"), (1.39e9, "1.39 s")],
)
def test_times_are_said_in_the_unit_that_suits(ns, text):
    assert bench.time_text(ns) == text


def test_cases_are_values():
    assert dataclasses.replace(TINY, layout="last").stored_shape == (1, 2, 2, 3)
    assert str(TINY) == "1×3×2×2 float32 channels first, beta 0.75, window 5, forward, 2 threads"
