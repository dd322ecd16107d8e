"""The script of known differences and its page list the same; what can be run is still wrong."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "docs/known_differences.py"
if not SCRIPT.exists():
    pytest.skip("the pages are not part of this tree", allow_module_level=True)


def load() -> Any:
    described = importlib.util.spec_from_file_location("known_differences", SCRIPT)
    assert described and described.loader
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


known = load()
page = SCRIPT.with_name("known-differences.md").read_text(encoding="utf-8")


def test_page_and_script_list_the_same() -> None:
    listed = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith("| ") and re.search(r"\d+\.\d", line.split("|")[1])
    ]
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
