"""The results: one LRN of a model file, a remark about it, and the file as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lrnorm._spec.errors import ConventionError, LRNormError
from lrnorm._spec.spec import LRNSpec
from lrnorm.conventions import read
from lrnorm.models.source import Source

Axis = int | tuple[int, ...] | None
Shape = tuple[int | str | None, ...] | None

WARNING, NOTE = "warning", "note"


@dataclass(frozen=True)
class Remark:
    """A sentence about an LRN. `code` stays the same between versions; `kind` is "warning" or
    "note"."""

    code: str
    text: str
    kind: str = WARNING


def plain(value: Any) -> Any:
    """Lists in place of tuples, at every depth."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class Found:
    """One LRN of a model file.

    `words` are the parameters as `convention` names them, with the defaults of the format for what
    the file leaves out: `lrnorm.conventions.read(found.convention, **found.words) == found.spec`.
    `axis` fits the file's own memory layout: `lrnorm.local_response_norm(x, spec=found.spec,
    axis=found.axis)` computes what the file says. `spec` is None where the file does not tell the
    numbers or where they make no sense; a remark then gives the reason. `nodes` is the number of
    operators that the LRN takes in the file.
    """

    name: str
    convention: str | None
    words: dict[str, Any]
    spec: LRNSpec | None
    axis: Axis = None
    shape: Shape = None
    dtype: str | None = None
    remarks: tuple[Remark, ...] = ()
    nodes: int = 1

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists, numbers and texts, for JSON."""
        data: dict[str, Any] = plain(asdict(self))
        return data


OPERATORS = "LRN operators; one written out in other operators is not recognised in this format"
WRITTEN_OUT = "LRN operators, and LRNs written out in other operators"


@dataclass(frozen=True)
class ModelFile:
    """A model file: its format, its LRNs, and how often it holds each type of operator. `searched`
    says what was looked for."""

    path: str
    format: str
    lrns: tuple[Found, ...]
    operators: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    searched: str = OPERATORS

    @property
    def contents(self) -> str:
        """The format and the operators of the file, in one phrase.

        >>> ModelFile("x", "ONNX model", (), {"Relu": 2, "Conv": 5}).contents
        'ONNX model of 7 operators (5 Conv, 2 Relu)'
        """
        ranked = sorted(self.operators.items(), key=lambda item: (-item[1], item[0]))
        if not ranked:
            return self.format
        shown = ", ".join(f"{count} {name}" for name, count in ranked[:6])
        more = f" and {len(ranked) - 6} more types" if len(ranked) > 6 else ""
        total = sum(self.operators.values())
        return f"{self.format} of {total} operator{'s' * (total != 1)} ({shown}{more})"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists, numbers and texts, for JSON."""
        return {
            "path": self.path,
            "format": self.format,
            "lrns": [lrn.as_dict() for lrn in self.lrns],
            "operators": dict(self.operators),
            "searched": self.searched,
            "remarks": [asdict(remark) for remark in self.remarks],
        }


class Listing:
    """What a reader finds in a file: its LRNs in order, how often it has each operator, and what is
    to be remarked of the file itself."""

    def __init__(self) -> None:
        self.lrns: list[Found] = []
        self.operators: Counter[str] = Counter()
        self.remarks: list[Remark] = []

    def file(self, source: Source, title: str, searched: str = OPERATORS) -> ModelFile:
        """The whole of it as a ModelFile, whose format is `title`."""
        lrns, remarks = tuple(self.lrns), tuple(self.remarks)
        return ModelFile(str(source.path), title, lrns, self.operators, remarks, searched)


def lrn(
    name: str,
    convention: str,
    words: dict[str, Any],
    axis: Axis,
    *,
    shape: Shape = None,
    dtype: str | None = None,
    remarks: tuple[Remark, ...] = (),
) -> Found:
    """An LRN in the words of a convention. Words that the convention refuses leave `spec` None and
    become a remark."""
    spec = None
    try:
        spec = read(convention, **words)
    except ConventionError as error:
        remarks = (*remarks, Remark("refused", one_line(error)))
    except LRNormError as error:
        remarks = (*remarks, Remark("bad_parameter", one_line(error)))
    return Found(name, convention, words, spec, axis, shape, dtype, remarks)


def unreadable(name: str, text: str, *, code: str = "not_readable", **known: Any) -> Found:
    """An LRN whose numbers the file does not tell."""
    way = "lrnorm.identify measures what the layer computes"
    remark = Remark(code, f"{text}; {way}")
    return Found(name, None, known.pop("words", {}), None, remarks=(remark,), **known)


def one_line(error: object) -> str:
    """The text of an error, without its line breaks."""
    return " ".join(str(error).split())
