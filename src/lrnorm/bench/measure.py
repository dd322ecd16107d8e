"""One case measured: the copy, ours, and every rival that can do it, timed together."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import lrnorm
from lrnorm.bench import cases, report
from lrnorm.bench.cases import Case, Unable
from lrnorm.bench.rivals import rival_entrant
from lrnorm.bench.timing import LIMIT_S


def measure_case(
    case: Case, rivals: Sequence[str], rounds: int, *, limit_s: float = LIMIT_S, sweep: str = ""
) -> report.Row | None:
    """The case's row; None, and a line that says why, where not even ours can be set up."""
    lrnorm.set_num_threads(case.threads)
    try:
        arrays = cases.make_arrays(case)
    except Unable as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    into, fresh, expected = cases.our_entrants(case, arrays)
    entrants = [cases.copy_entrant(case, arrays), into, fresh]
    absent = {}
    for name in rivals:
        try:
            entrants.append(rival_entrant(name, case, arrays, expected))
        except Unable as error:
            absent[name] = str(error)
    return report.measure_row(case, entrants, rounds, absent, limit_s=limit_s, sweep=sweep)
