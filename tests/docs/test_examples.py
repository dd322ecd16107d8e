"""The tutorials' programs run as a stranger runs them, and the pages tell what they print."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

for module in ("torch", "matplotlib", "skimage", "onnx", "onnxruntime"):
    pytest.importorskip(module)

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "examples").is_dir():
    pytest.skip("the examples are not in the source distribution", allow_module_level=True)

# What each leaves in the folder it is given.
WRITES = {
    "first_layer": {
        "tutorial_first_layer.png",
        "tutorial_first_layer_filters.png",
        "tutorial_first_layer_numbers.png",
    },
    "swap_into_pytorch": {"tutorial_swap_into_pytorch.png"},
    "port_a_net": {
        "tutorial_port_a_net.png",
        "deploy.prototxt",
        "broken.onnx",
        "repaired.onnx",
    },
}
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def printed(folder: Path) -> Callable[[str], list[str]]:
    """The lines of a program, which runs once."""

    @functools.cache
    def lines(name: str) -> list[str]:
        program, out = ROOT / "examples" / f"{name}.py", folder / name
        words = [sys.executable, str(program), "--out", str(out)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return lines


def alike(line: str, other: str) -> bool:
    """The same text, and numbers the same to five digits: the last ones are the machine's."""
    numbers, others = ([float(n) for n in NUMBER.findall(one)] for one in (line, other))
    return NUMBER.split(line) == NUMBER.split(other) and numbers == pytest.approx(others, rel=1e-5)


@pytest.mark.parametrize("name", WRITES)
def test_it_writes_what_its_page_shows(
    folder: Path, printed: Callable[[str], list[str]], name: str
) -> None:
    printed(name)
    assert {path.name for path in (folder / name).iterdir()} == WRITES[name]
    page = (ROOT / "docs" / "tutorials" / f"{name}.md").read_text()
    pictures = {picture for picture in WRITES[name] if picture.endswith(".png")}
    assert set(re.findall(r"\(\.\./images/(\S+)\)", page)) == pictures
    assert all((folder / name / picture).stat().st_size > 10_000 for picture in pictures)


@pytest.mark.parametrize("name", WRITES)
def test_its_page_quotes_what_it_prints(printed: Callable[[str], list[str]], name: str) -> None:
    page = (ROOT / "docs" / "tutorials" / f"{name}.md").read_text()
    quoted = [text.split("\n") for text in re.findall(r"```text\n(.*?)\n```", page, re.DOTALL)]
    assert quoted
    for text in quoted:
        lines = printed(name)
        runs = (lines[i : i + len(text)] for i in range(len(lines) - len(text) + 1))
        assert any(all(map(alike, run, text)) for run in runs), text


@pytest.mark.parametrize("name", WRITES)
def test_its_page_shows_every_piece_of_it_in_order(name: str) -> None:
    program = (ROOT / "examples" / f"{name}.py").read_text()
    page = (ROOT / "docs" / "tutorials" / f"{name}.md").read_text()
    marked = re.findall(r"^# \[(.+)\]$", program, re.MULTILINE)
    assert marked[1::2] == [f"end {piece}" for piece in marked[::2]]
    assert re.findall(r'"# \[(.+)\]"', page) == marked


def number_in(lines: list[str], start: str) -> float:
    [line] = [line for line in lines if line.startswith(start)]
    return float(NUMBER.findall(line.removeprefix(start))[0])


def test_the_layer_is_the_formula(printed: Callable[[str], list[str]]) -> None:
    assert number_in(printed("first_layer"), "largest difference from the formula:") < 2e-6


def test_the_layer_brings_loud_and_faint_together(printed: Callable[[str], list[str]]) -> None:
    lines = printed("first_layer")
    before, after = (number_in(lines, f"{when}: the glint is") for when in ("before", "after"))
    assert before > 20
    assert after < before / 5


def test_replace_leaves_the_numbers(printed: Callable[[str], list[str]]) -> None:
    lines = printed("swap_into_pytorch")
    assert number_in(lines, "largest difference after replace:") < 1e-5
    assert "compiled, the same: True" in lines


def test_alpha_beta_and_k_are_learnt(printed: Callable[[str], list[str]]) -> None:
    [line] = [line for line in printed("swap_into_pytorch") if line.startswith("learnt:")]
    learnt = [float(number) for number in NUMBER.findall(line)]
    assert learnt == pytest.approx([3.0, 0.6, 0.5], rel=0.05)


def test_copied_numbers_are_far_off_and_rewritten_ones_are_not(
    printed: Callable[[str], list[str]],
) -> None:
    lines = printed("port_a_net")
    assert "read again, the same: True" in lines
    for mistake in ("all numbers copied", "alpha copied", "beta left out"):
        [line] = [line for line in lines if line.startswith(mistake)]
        assert float(NUMBER.findall(line)[-1]) > 50  # percent
    assert number_in(lines, "broken: off by") > 100
    assert number_in(lines, "repaired: off by") < 0.01
    assert lines.count("no differences") == 1
