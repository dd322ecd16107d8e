"""The page "Coming from Wolfram": every right side runs, no line of the reference is missing."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

for module in ("torch", "onnx", "onnxruntime", "matplotlib"):
    pytest.importorskip(module)

import lrnorm  # noqa: E402

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coming_from_wolfram.md"
if not PAGE.exists():
    pytest.skip("the pages are not in the source distribution", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")

# What the reference page of LocalResponseNormalizationLayer states, line by line: a call, an
# option, a port or an example, as the left column of the page writes it.
REFERENCE = [
    "LocalResponseNormalizationLayer[]",
    '"Alpha" -> 1.0',
    '"Beta" -> 0.5',
    '"Bias" -> 1.0',
    '"ChannelWindowSize" -> 2',
    "LocalResponseNormalizationLayer[…][input]",
    "LocalResponseNormalizationLayer[…][{input1,input2,…}]",
    "NumericArray",
    "NetChain[{…, LocalResponseNormalizationLayer[…], …}]",
    "NetGraph[<|",
    '"Input"',
    '"Output"',
    "rank-3 array",
    '"Input" -> {n1,n2,n3}',
    "Sum[T[xjk]^2, {x, Max[1, i-c], Min[N, i+c]}]",
    "Options[LocalResponseNormalizationLayer]",
    "Options[LocalResponseNormalizationLayer[…]]",
    "Information[LocalResponseNormalizationLayer[…]]",
    "Information[LocalResponseNormalizationLayer[…], prop]",
    'lrn = LocalResponseNormalizationLayer["Input" -> {5, 2, 1}]',
    "lrn[RandomReal[1, {5, 2, 1}]]//MatrixForm",
    'lrn = LocalResponseNormalizationLayer["Input" -> {5, 1, 1}]',
    "data = {{{-2}}, {{-1}}, {{0}}, {{1}}, {{2}}}",
    "lrn[data]",
    "lrn[{data, -data}]",
]
OPTIONS = ("BatchSize", "NetEvaluationMode", "RandomSeeding", "TargetDevice", "WorkingPrecision")
VERBS = (
    *("NetTake", "NetDrop", "NetAppend", "NetPrepend", "NetInsert", "NetDelete", "NetJoin"),
    *("NetFlatten", "NetRename", "NetReplacePart", "NetExtract", "NetPort", "NetPortGradient"),
    *("NetTrain", "NetInitialize", "NetInsertSharedArrays"),
)


def rows() -> list[list[str]]:
    """The cells of every row, as they are read."""
    found = []
    for line in TEXT.splitlines():
        if line.startswith("|") and not line.startswith(("|---", "| Wolfram")):
            cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
            found.append([cell.strip().replace("\\|", "|") for cell in cells])
    return found


ROWS = rows()


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the names of the page stand for."""
    found: dict[str, object] = {}
    for example in doctest.DocTestParser().get_examples(TEXT):
        exec(example.source, found)
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.getbasetemp())


def code(cell: str) -> str:
    [text] = re.fullmatch(r"`([^`]+)`", cell).groups()  # type: ignore[union-attr]
    return text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_every_right_side_runs(row: list[str], names: dict[str, object]) -> None:
    value = eval(code(row[1]), names)
    if len(row) > 2:
        assert repr(value) == code(row[2])


def test_no_line_of_the_reference_page_is_missing() -> None:
    lefts = [row[0] for row in ROWS]
    missing = [line for line in REFERENCE if not any(line in left for left in lefts)]
    assert missing == []


def test_no_property_option_or_verb_is_missing() -> None:
    lefts = " ".join(row[0] for row in ROWS)
    properties = lrnorm.information(lrnorm.LocalResponseNormalizationLayer(), "Properties")
    assert [name for name in properties if f'{name}"' not in lefts] == []
    assert [name for name in (*OPTIONS, *VERBS) if name not in lefts] == []
    ours = set(lrnorm.options(lrnorm.LocalResponseNormalizationLayer()))
    rights = " ".join(row[1] for row in ROWS)
    assert [name for name in ours if f"{name}=" not in rights] == []


def test_both_differences_are_stated() -> None:
    assert "refused 2·ChannelWindowSize + 1 > channels" in TEXT
    assert "Real32, whatever precision" in TEXT


def test_the_count_sees_what_is_missing() -> None:
    assert len(ROWS) > 100
    assert not any("NetNothing" in row[0] for row in ROWS)
