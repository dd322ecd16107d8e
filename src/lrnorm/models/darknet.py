"""Darknet: .cfg, sections that repeat; [normalization] or [lrn].

    size 5, alpha 1e-4, beta 0.75, kappa 1 where they are left out

Source: darknet, src/parser.c (parse_normalization) and src/normalization_layer.c.
"""

from __future__ import annotations

import re
from typing import Any

from lrnorm.models.found import Listing, ModelFile, lrn
from lrnorm.models.source import DamagedError, Source
from lrnorm.models.texts import number_of, whole

_SECTION = re.compile(r"^\s*\[([^\]\n]+)\]", re.M)
_WORDS = {"size": 5, "alpha": 1e-4, "beta": 0.75, "kappa": 1.0}


def is_cfg(source: Source) -> bool:
    """True where the first section is [net] or [network]."""
    text = source.head.decode("utf-8", "replace")
    first = _SECTION.search(text)
    return first is not None and first[1].strip() in ("net", "network") and "=" in text


def read(source: Source) -> ModelFile:
    """Each section [normalization] or [lrn] in a .cfg."""
    listing = Listing()
    sections = _sections(source.text())
    if not sections or sections[0][0] not in ("net", "network"):
        first = f"[{sections[0][0][:40]}]" if sections else "missing"
        raise DamagedError(f"its first section must be [net], and is {first}")
    for index, (kind, given) in enumerate(sections):
        if kind in ("net", "network"):
            continue
        listing.operators[kind] += 1
        if kind in ("normalization", "lrn"):
            # Darknet numbers the layers from 0, without the section [net].
            listing.lrns.append(lrn(f"{kind}:{index - 1}", "darknet", _words(given), 0))
    return listing.file(source, "Darknet net (.cfg)")


def _sections(text: str) -> list[tuple[str, dict[str, str]]]:
    """(name, keys and values) of each section, in order; # and ; begin comments."""
    sections: list[tuple[str, dict[str, str]]] = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if (header := _SECTION.match(line)) is not None:
            sections.append((header[1].strip(), {}))
        elif sections and "=" in line:
            key, _, value = line.partition("=")
            sections[-1][1][key.strip()] = value.strip()
        else:
            raise DamagedError(f"the line {line[:60]!r} is no key=value in a section")
    return sections


def _words(given: dict[str, str]) -> dict[str, Any]:
    """The four numbers of a section, with the defaults of parse_normalization."""
    words = {word: number_of(given.get(word, value), word) for word, value in _WORDS.items()}
    return words | {"size": whole(words["size"])}
