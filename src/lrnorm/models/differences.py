"""Pairs the LRNs of two models and describes how each pair differs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from typing import Any

from lrnorm._spec.spec import LRNSpec
from lrnorm.models.found import Found, Remark, plain
from lrnorm.models.mistakes import mistakes, same

NUMBERS = ("scale", "beta", "bias", "before", "after")
MOST_ALIGNED = 2000  # beyond it LRNs are paired in their order alone


@dataclass(frozen=True)
class Difference:
    """An LRN that is not what was expected: number → (expected, found), and the known mistakes that
    explain it. A side without the LRN, or without its numbers, is None."""

    name: str
    expected: LRNSpec | None
    found: LRNSpec | None
    differs: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    mistakes: list[Remark] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists, numbers and texts, for JSON."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    def __str__(self) -> str:
        numbers = [
            f"{name} {number_text(expected)} expected, {number_text(found)} found"
            for name, (expected, found) in self.differs.items()
        ]
        known = self.expected is not None and self.found is not None
        lines = [f"{self.name or 'LRN'}: {'; '.join(numbers) or ('' if known else 'missing')}"]
        lines += [f"  because: {mistake.text}" for mistake in self.mistakes]
        if not self.mistakes:
            lines.append("  no known mistake explains it")
        return "\n".join(lines)


def number_text(number: Any) -> str:
    """A number as reports show it: nine digits at most."""
    return f"{number:.9g}" if isinstance(number, float) else str(number)


def against(expected: Found, found: Sequence[Found]) -> list[Difference]:
    """The differences from one LRN that every LRN of a model should equal."""
    if not found:
        return [Difference("", expected.spec, None, {}, [_missing("the model")])]
    return [d for entry in found for d in _difference(entry.name, expected, entry)]


def between(first: Sequence[Found], second: Sequence[Found]) -> list[Difference]:
    """The differences between the LRNs of two models. Those of one name belong together, then those
    whose names end alike; the others in their order, those with the same numbers first."""
    pairs, lefts, rights = _by_name(first, second, lambda name: name)
    more, lefts, rights = _by_name(lefts, rights, _last_part)
    pairs += more
    pairs += _in_order(lefts, rights)
    return [d for pair in pairs for d in _of_pair(*pair)]


Pairs = list[tuple[Found | None, Found | None]]


def _by_name(
    first: Sequence[Found], second: Sequence[Found], key: Any
) -> tuple[Pairs, list[Found], list[Found]]:
    """The pairs of one name, and who is left on each side. Several of one name pair in order."""
    waiting: dict[str, list[Found]] = defaultdict(list)
    for entry in reversed(second):
        waiting[key(entry.name)].append(entry)
    pairs: Pairs = []
    lefts = []
    for entry in first:
        same = waiting.get(key(entry.name))
        if same:
            pairs.append((entry, same.pop()))
        else:
            lefts.append(entry)
    taken = {id(right) for _, right in pairs}
    return pairs, lefts, [entry for entry in second if id(entry) not in taken]


def _last_part(name: str) -> str:
    """norm1 of net/norm1:0, of net.norm1 and of norm1_cast_fp16, as coremltools calls it."""
    last = name.split(":")[0].replace(".", "/").rsplit("/", 1)[-1].lower()
    return re.sub(r"_cast_fp(16|32)$", "", last)


def _in_order(lefts: list[Found], rights: list[Found]) -> Pairs:
    """Pairs of LRNs without a common name, aligned so that as many as possible are equal."""
    if max(len(lefts), len(rights)) > MOST_ALIGNED:
        count = max(len(lefts), len(rights))
        padded = [side + [None] * (count - len(side)) for side in (lefts, rights)]
        return list(zip(*padded, strict=True))
    alike = SequenceMatcher(
        a=[_rounded(e.spec) for e in lefts], b=[_rounded(e.spec) for e in rights], autojunk=False
    )
    pairs: Pairs = []
    for _, a, b, c, d in alike.get_opcodes():
        left: list[Found | None] = [*lefts[a:b], *[None] * (d - c - (b - a))]
        right: list[Found | None] = [*rights[c:d], *[None] * (b - a - (d - c))]
        pairs += zip(left, right, strict=True)
    return pairs


def _rounded(spec: LRNSpec | None) -> tuple[Any, ...]:
    """The five numbers to five digits, by which LRNs of two files are aligned."""
    if spec is None:
        return ()
    return (f"{spec.scale:.5g}", f"{spec.beta:.5g}", f"{spec.bias:.5g}", spec.before, spec.after)


def _of_pair(first: Found | None, second: Found | None) -> Iterator[Difference]:
    if first and second:
        yield from _difference(first.name, first, second)
    elif first:
        yield Difference(first.name, first.spec, None, {}, [_missing("the other model")])
    elif second:
        yield Difference(second.name, None, second.spec, {}, [_missing("the first model")])


def _missing(where: str) -> Remark:
    return Remark("lrn_missing", f"there is no such LRN in {where}")


def _difference(name: str, expected: Found, found: Found) -> Iterator[Difference]:
    """What differs between two LRNs of a pair; nothing where they are equal but for rounding."""
    if expected.spec is None or found.spec is None:
        side = "the first model" if expected.spec is None else "the other model"
        text = f"the numbers of this LRN in {side} cannot be read, so they are not compared"
        yield Difference(name, expected.spec, found.spec, {}, [Remark("not_readable", text)])
    elif not found.spec.isclose(expected.spec):
        differs = {
            number: (getattr(expected.spec, number), getattr(found.spec, number))
            for number in NUMBERS
            if not same(getattr(expected.spec, number), getattr(found.spec, number))
        }
        explained = list(mistakes(expected, found))
        yield Difference(name, expected.spec, found.spec, differs, explained)
