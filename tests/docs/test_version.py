"""The version stands in lrnorm.__version__; what must repeat it agrees."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lrnorm

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "conda").is_dir():
    pytest.skip("these files are not in the source distribution", allow_module_level=True)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("conda/recipe.yaml", r'^  version: "(.+)"$'),
        ("CHANGELOG.md", r"^## (\d\S*) \(\d{4}-\d\d-\d\d\)$"),  # the newest release with a date
    ],
)
def test_what_repeats_the_version_agrees(name: str, pattern: str) -> None:
    found = re.search(pattern, (ROOT / name).read_text(), re.MULTILINE)
    assert found is not None and found[1] == lrnorm.__version__


def test_the_citation_has_no_version_of_its_own() -> None:
    assert "\nversion:" not in (ROOT / "CITATION.cff").read_text()


def test_changes_that_are_not_released_stand_first() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
