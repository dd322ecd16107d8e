"""Fixtures that the suites share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from lrnorm import LRNormError, LRNSpec, _core, cli
from lrnorm.cli import command

SPECS = {
    "default": LRNSpec.from_keywords(),
    "even": LRNSpec(0.3, 0.75, 1.1, 2, 1),
    "ahead": LRNSpec(0.4, 0.5, 0.9, 0, 3),
    "behind": LRNSpec(0.35, 0.25, 1.2, 3, 0),
    "wider than the axis": LRNSpec(0.2, 1.0, 0.8, 19, 23),
    "whole axis": LRNSpec.divisive(0.9),
    "open behind": LRNSpec(0.3, 0.6, 1.1, None, 1),
    "steep": LRNSpec(0.3, 2.5, 1.3, 1, 2),
    "amplifying": LRNSpec(0.3, -0.4, 1.3, 2, 2),
    "alone": LRNSpec(0.7, 0.75, 0.9, 0, 0),
}


@pytest.fixture(params=SPECS.values(), ids=SPECS.keys())
def spec(request: Any) -> LRNSpec:
    chosen: LRNSpec = request.param
    return chosen


@pytest.fixture(scope="session")
def specs() -> dict[str, LRNSpec]:
    """All of them, for tests that go through them in a loop."""
    return SPECS


@pytest.fixture(params=_core.isa_names())
def isa(request: Any) -> Iterator[str]:
    """Each instruction set in turn; the one in use comes back."""
    before = _core.isa_in_use()
    assert _core.choose_isa(request.param)
    yield request.param
    assert _core.choose_isa(before)


@pytest.fixture(
    params=[np.float32, np.float64, np.float16, ml_dtypes.bfloat16],
    ids=lambda kind: np.dtype(kind).name,
)
def dtype(request: Any) -> np.dtype[Any]:
    return np.dtype(request.param)


@pytest.fixture
def threads() -> Iterator[None]:
    """Whatever the test sets, the number of threads comes back."""
    before = _core.thread_count()
    yield
    _core.set_thread_count(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test runs in a folder of its own, where a name of a file is all that it needs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def x(rng: np.random.Generator) -> Any:
    """A small batch, for tests that store it in chunks."""
    return rng.normal(size=(4, 12, 10, 9)).astype("float32")


@pytest.fixture
def lrn(
    capsys: pytest.CaptureFixture[str], own_folder: Path
) -> Callable[..., tuple[int, str, str]]:
    """The command: its status, what it prints, and what it prints on stderr."""

    def run(*words: Any) -> tuple[int, str, str]:
        status = cli.main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def lrn_error(lrn: Callable[..., tuple[int, str, str]]) -> Callable[..., LRNormError]:
    """The error of a run that must fail, print it in one line on stderr, and leave the folder as it
    was. Tests compare its parts by `check_parts`."""

    def run(*words: Any) -> LRNormError:
        there = {name: os.stat(name).st_mtime_ns for name in os.listdir()}
        with pytest.raises(LRNormError) as caught:
            command._run([str(word) for word in words])
        line = " ".join(str(caught.value).split())
        assert lrn(*words) == (2, "", f"lrnorm: {line}\n")
        assert {name: os.stat(name).st_mtime_ns for name in os.listdir()} == there
        return caught.value

    return run
