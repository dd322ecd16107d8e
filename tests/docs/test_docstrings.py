"""The doctest of every public name runs. pytest collects doctests by module, and classes that name
`lrnorm` as theirs are in none of its modules."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import pytest

import lrnorm

# Errors need no example each; the base class has one.
WITHOUT = {name for name in lrnorm.__all__ if name.endswith("Error") and name != "LRNormError"}
NAMES = sorted(lrnorm.__all__)


def examples(name: str) -> list[doctest.DocTest]:
    value: Any = getattr(lrnorm, name)
    defined_in = importlib.import_module(lrnorm._DEFINED_IN[name])
    finder = doctest.DocTestFinder(exclude_empty=True)
    value_globals = {**vars(defined_in), "lrnorm": lrnorm}
    return [
        test
        for test in finder.find(value, name, module=False, globs=value_globals)
        if test.examples
    ]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT])
def test_the_examples_of_a_public_name(name: str) -> None:
    tests = examples(name)
    assert tests, f"{name} has no doctest"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in tests:
        runner.run(test)
    assert runner.summarize().failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_a_docstring(name: str) -> None:
    assert (getattr(lrnorm, name).__doc__ or "").strip()


@pytest.mark.parametrize("name", NAMES)
def test_a_class_names_lrnorm_as_its_module(name: str) -> None:
    value = getattr(lrnorm, name)
    if isinstance(value, type):
        assert value.__module__ == "lrnorm"


def test_a_wrong_example_is_seen() -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=lambda text: None)
    assert runner.summarize(verbose=False).failed == 1
