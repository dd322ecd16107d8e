"""The settings of this process: threads and instruction set.

The environment is read here, once, and nowhere else:

    LRNORM_NUM_THREADS   threads a call may use (default: the processors this process may use)
    LRNORM_ISA           the instruction set to compute with (default: the best there is)
"""

from __future__ import annotations

import os
import sys
from typing import Any

import lrnorm
from lrnorm._fronts.core import core as _core
from lrnorm._fronts.core import why_not
from lrnorm._spec.errors import KindError, ParameterError
from lrnorm._spec.spec import is_integer


def set_num_threads(n: int) -> None:
    """Let each call use up to `n` threads, the calling thread among them; at most 1024.

    Results do not depend on it: the same bits come from any number of threads.

    Errors: KindError (a TypeError) for what is no integer, ParameterError (a ValueError) below 1.

    >>> import lrnorm
    >>> lrnorm.set_num_threads(2)
    """
    if not is_integer(n) or n < 1:
        raise (ParameterError if is_integer(n) else KindError)(
            "the number of threads",
            "must be a positive integer",
            value=n,
            way_out="1 computes on the calling thread alone.",
        )
    _core.set_thread_count(min(int(n), 2**31 - 1))


def show_config() -> dict[str, Any]:
    """The versions, instruction sets and threads that this installation computes with.

    "core" is "compiled", or says why NumPy computes in its place; "isa" is "numpy" then.

    >>> import lrnorm
    >>> lrnorm.show_config()["isa"] in lrnorm.show_config()["isa_available"]
    True
    """
    import numpy

    return {
        "lrnorm": lrnorm.__version__,
        "python": sys.version.split()[0],
        "numpy": numpy.__version__,
        "core": why_not() or "compiled",
        "isa": _core.isa_in_use(),
        "isa_available": _core.isa_names(),
        "threads": _core.thread_count(),
        "processors": _core.usable_processors(),
    }


def choose_isa(name: str) -> None:
    """Compute with this instruction set from now on; for tests."""
    if name not in _core.isa_names() or not _core.choose_isa(name):
        raise ParameterError(
            "LRNORM_ISA",
            f"must be one of {', '.join(_core.isa_names())} on this processor",
            value=name,
            way_out="Leave it unset for the best one.",
        )


def _read_environment() -> None:
    threads = os.environ.get("LRNORM_NUM_THREADS")
    if threads:
        if not threads.strip().isdecimal() or int(threads) < 1:
            raise ParameterError(
                "LRNORM_NUM_THREADS",
                "must be a positive integer",
                value=threads,
                way_out="Leave it unset to use every processor.",
            )
        set_num_threads(int(threads))
    isa = os.environ.get("LRNORM_ISA")
    if isa:
        choose_isa(isa)


_read_environment()
