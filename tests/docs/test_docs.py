"""Pages read as plain Markdown: what their relative links and pictures name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "docs").is_dir():
    pytest.skip("the pages are not in the source distribution", allow_module_level=True)
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / folder / "README.md" for folder in ("csrc", "benchmarks")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def named_by(text: str) -> list[str]:
    """The files that the links, pictures and directives of a page name."""
    directives = re.findall(r"^```\{(?:include|literalinclude)\} (\S+)", text, re.MULTILINE)
    prose = re.sub(r"`[^`\n]+`", "", FENCED.sub("", text))
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose)]
    return [*directives, *(link for link in links if link and "://" not in link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    missing = [name for name in named_by(page.read_text()) if not (page.parent / name).exists()]
    assert missing == []


def test_links_pictures_and_directives_are_seen() -> None:
    text = "[a](b.md#c) ![d](e.png) `[f](g)` [h](https://i.org)\n```python\n[j](k)\n```\n"
    assert named_by(text) == ["b.md", "e.png"]
    assert named_by("```{literalinclude} ../l.py\n```") == ["../l.py"]


def test_links_are_found_in_the_pages() -> None:
    assert sum(len(named_by(page.read_text())) for page in PAGES) > 30


def test_every_page_is_on_the_site() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    listed = {line for line in index.splitlines() if re.fullmatch(r"[\w/-]+", line)}
    pages = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in PAGES[5:]}
    assert listed == pages - {"index"}
