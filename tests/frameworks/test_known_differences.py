"""The script of known differences and its page list the same; what can be run is still wrong."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "docs/known_differences.py"
if not SCRIPT.exists():
    pytest.skip("the pages are not part of this tree", allow_module_level=True)


def load(path: Path) -> Any:
    described = importlib.util.spec_from_file_location(path.stem, path)
    assert described and described.loader
    module = importlib.util.module_from_spec(described)
    sys.modules[path.stem] = module
    described.loader.exec_module(module)
    return module


known = load(SCRIPT)
measured = load(SCRIPT.with_name("measured_differences.py"))
page = SCRIPT.with_name("known-differences.md").read_text(encoding="utf-8")


def listed_in(text: str) -> list[list[str]]:
    """The rows of the tables of a page that begin with a framework and its release."""
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("| ") and re.search(r"\d+\.\d", line.split("|")[1])
    ]


MEASURED, LINES = page.split("## Line by line")


def test_page_and_script_list_the_same() -> None:
    listed = listed_in(LINES)
    assert {(re.sub(r" [\d.]+$", "", row[0]), row[1], row[2]) for row in listed} == {
        (f.framework, f.name, f"`{f.line}`") for f in known.FINDINGS
    }


@pytest.mark.parametrize("finding", known.FINDINGS, ids=lambda f: f"{f.framework}: {f.name}")
def test_it_is_still_wrong(finding: Any) -> None:
    if why := known.cannot_run(finding):
        pytest.skip(why)
    theirs, ours = known.evaluate(finding.line), known.evaluate(finding.right)
    assert not isinstance(ours, Exception)
    assert known.differ(theirs, ours), f"{finding.framework} {known.release(finding.framework)}"


@pytest.mark.parametrize(
    "right", ["right('torch', ramp, size=5)", "right('onnx', infinite, size=3)"]
)
def test_what_is_right_is_told_as_mended(right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = known.Finding("none", "PyTorch", right, right)
    monkeypatch.setattr(known, "FINDINGS", [finding])
    monkeypatch.setattr(known, "cannot_run", lambda finding: None)
    monkeypatch.setattr(known, "release", lambda framework: "1.0")
    assert "what is right: mended" in known.table()


def test_what_is_missing_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing: Callable[[str], None] = lambda name: None  # noqa: E731
    monkeypatch.setattr(known.importlib.util, "find_spec", missing)
    assert len(known.table().splitlines()) == 2
    told = capsys.readouterr().err
    assert told.count("left out: ") == len(known.FINDINGS)
    assert "PyTorch is not installed" in told


def codes(remarks: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", remarks))


@pytest.mark.parametrize("row", measured.ROWS, ids=lambda row: f"{row.framework}: {row.operator}")
def test_measured_rows_are_those_of_the_page(row: Any) -> None:
    """What is measured here is on the page, for the release that the page names."""
    if why := measured.cannot_run(row):
        pytest.skip(why)
    release = f"{row.framework} {known.release(row.framework)}"
    listed = [cells for cells in listed_in(MEASURED) if cells[:2] == [release, row.operator]]
    if not listed:
        pytest.skip(f"{release} is not on the page")
    differs, _, remarks = measured.measured(row)
    assert differs == listed[0][2]
    # The last bits, and so the nearness to a limit, depend on the processor.
    assert codes(remarks) - {"low_precision"} == codes(listed[0][4]) - {"low_precision"}


def test_every_measured_row_of_the_page_has_a_line_in_the_script() -> None:
    rows = {(row.framework, row.operator) for row in measured.ROWS}
    listed = {(re.sub(r" [\d.]+$", "", cells[0]), cells[1]) for cells in listed_in(MEASURED)}
    assert listed <= rows
    assert len(listed) >= 12
