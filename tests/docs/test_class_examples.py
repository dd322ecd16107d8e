"""The examples of public classes, which doctest skips as their module is lrnorm, not their file."""

from __future__ import annotations

import doctest

import pytest

import lrnorm

# Name in lrnorm or in a module of it → the class whose own examples and methods' examples run.
CLASSES = ["LocalResponseNormalizationLayer", "NetChain", "NetGraph", "NetPort", "LRNormError"]
DOCTESTS = [
    test
    for name in CLASSES
    for test in doctest.DocTestFinder(exclude_empty=True).find(
        getattr(lrnorm, name), name, module=False
    )
    if test.examples
]


@pytest.mark.parametrize("example", DOCTESTS, ids=lambda test: test.name)
def test_examples_of_public_classes(example: doctest.DocTest) -> None:
    example.globs = {"lrnorm": lrnorm}
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


def test_there_are_examples() -> None:
    assert len(DOCTESTS) > 8
