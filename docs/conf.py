"""How the site is made of the pages here, of those elsewhere in the repository, and of docstrings.

`make docs` builds it into build/docs. Links in pages are relative, as they are read in the
repository; `_links_of_site` makes of them what they are on the site.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import stringify_signature

import lrnorm.cli

os.environ.setdefault("KERAS_BACKEND", "torch")  # asked when autodoc imports Keras
DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

project = "lrnorm"
author = "The lrnorm developers"
version = release = version_of("lrnorm")
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "lrnorm"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
highlight_language = "none"  # formulas stand in blocks that name no language
myst_heading_anchors = 3
smartquotes = False  # "Test" is a value

autodoc_typehints = "none"  # docstrings say what is taken
autodoc_inherit_docstrings = False  # those of torch.nn.Module are PyTorch's
autodoc_member_order = "bysource"
add_module_names = False
python_maximum_signature_line_length = 90
# Whatever calls itself lrnorm's must be there; the rest is other people's.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!lrnorm\.).*")]

# Pages that stand elsewhere, and where the site has them.
INCLUDED = {
    "README.md": "index",
    "CONTRIBUTING.md": "included/contributing",
    "CHANGELOG.md": "included/changelog",
    "benchmarks/README.md": "included/benchmarks",
    "csrc/README.md": "included/core",
}
PAGE = "docs/explore/index.html"
REPOSITORY = "https://raw.githubusercontent.com/lrnorm/lrnorm/main/"  # absolute for package indexes
_LINK = re.compile(
    r"(?P<before>!?\[(?P<text>[^]]*)\]\()(?P<path>[^)#\s:]+)(?P<after>(#[^)\s]*)?\))"
)


def _links_of_site(text: str, folder: Path) -> str:
    """The links of a page in `folder`, from its place in the repository to that on the site."""
    folder = folder.resolve()

    def link(found: re.Match[str]) -> str:
        path = (folder / found["path"]).resolve()
        if not path.exists() or found["path"].startswith("/"):
            return found[0]  # broken, which the build will say, or no link at all
        if path.is_dir():  # the site has no page of it
            return found["text"]
        name = path.relative_to(ROOT).as_posix()
        if name == PAGE:  # not a document of Sphinx: `make site` puts it there
            up = (
                "../" * len(folder.relative_to(DOCS).parts)
                if DOCS in (folder, *folder.parents)
                else ""
            )
            return f'<a href="{up}explore/index.html">{found["text"]}</a>'
        place = f"{INCLUDED[name]}.md" if name in INCLUDED else os.path.relpath(path, DOCS)
        return f"{found['before']}/{place}{found['after']}"

    return _LINK.sub(link, text.replace(REPOSITORY, os.path.relpath(ROOT, folder) + "/"))


def _page_read(app: Sphinx, page: str, content: list[str]) -> None:
    content[0] = _links_of_site(content[0], (DOCS / page).parent)


def _include_read(app: Sphinx, path: Path, page: str, content: list[str]) -> None:
    content[0] = _links_of_site(content[0], (DOCS / path).parent)


def _docstring_read(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """A docstring as it is written here in reStructuredText. What stands indented by itself, a
    formula, is literal; the names of sections are rubrics, and their entries definitions already;
    in a text only backticks mean anything."""
    blocks = re.split(r"\n[ ]*\n", "\n".join(lines).strip("\n"))
    lines[:] = [*"\n\n".join(map(_block, blocks)).split("\n"), ""]


def _block(block: str) -> str:
    if block.startswith(">>>"):
        return block
    if block.startswith("    "):
        return f"::\n\n{block}"
    heading, _, rest = block.partition("\n")
    if rest.startswith("---"):
        section = rest.partition("\n")[2]
        return f".. rubric:: {heading}\n\n{_block(section)}"
    return re.sub(r"(`+)(.+?)\1|([\\*|_])", _inline, block, flags=re.DOTALL)


def _inline(found: re.Match[str]) -> str:
    """Code in backticks, as a link where it is a name that is documented; else a sign, escaped."""
    if found[3]:
        return f"\\{found[3]}"
    code = " ".join(found[2].split())
    role = ":py:obj:`{}`" if re.fullmatch(r"[A-Za-z_][\w.]*", code) else "``{}``"
    follows = found.string[found.end() : found.end() + 1]
    return role.format(code) + ("\\ " if follows.isalnum() else "")


def _signature_read(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, back: Any
) -> tuple[str | None, Any]:
    """Without the keyword that only serves errors; of a class what __init__ takes, where a __new__
    such as Keras's hides it."""
    if what == "class" and signature == "(*args, **kwargs)":
        signature = stringify_signature(inspect.signature(thing), show_annotation=False)
    return signature and re.sub(r"(, )?\*\*foreign", "", signature), back


class CommandHelp(SphinxDirective):
    """What `lrnorm WORDS --help` prints."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        os.environ["COLUMNS"] = "100"  # argparse asks for the width of the terminal
        words = [*(self.arguments or [""])[0].split(), "--help"]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            status = lrnorm.cli.main(words)
        if status != 0:
            raise self.error(f"lrnorm {' '.join(words)} gives status {status}")
        text = f"$ lrnorm {' '.join(words)}\n{printed.getvalue()}"
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> None:
    app.add_directive("command-help", CommandHelp)
    app.connect("source-read", _page_read)
    app.connect("include-read", _include_read)
    app.connect("autodoc-process-docstring", _docstring_read)
    app.connect("autodoc-process-signature", _signature_read)
