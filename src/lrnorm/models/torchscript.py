"""TorchScript: an archive of source text, which is read and never compiled.

A scripted model calls torch.nn.functional.local_response_norm with its numbers; a traced one has
the operators written out, some of their numbers in constants.pkl.
"""

from __future__ import annotations

import io
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from lrnorm.models.archive import Archive, entry_names
from lrnorm.models.chain import Value, chains
from lrnorm.models.found import Found, Listing, ModelFile, lrn
from lrnorm.models.pickles import Reference, Thing, load
from lrnorm.models.source import MIB, DamagedError, Source

MOST_CODE = 64 * MIB
MOST_MODULES = 200_000
DEEPEST = 60
LONGEST = 20_000  # characters of one statement

_CLASS = re.compile(r"^class (\w+)\(\w*\):", re.M)
_CHILD = re.compile(
    r"""^  (?:(\w+)|__annotations__\["([^"\n]+)"\]) : (__torch__[\w.]+)$"""
    r"""|^  __annotations__\["([^"\n]+)"\] = (__torch__[\w.]+)$""",
    re.M,
)
_STATEMENT = re.compile(r"^ +(?:(\w+)(?: : [\w\[\]., ]+)? = |return )(.+)$", re.M)
_ALIAS = re.compile(r"__torch__\.torch\.nn\.functional(?:\.___torch_mangle_\d+)?\.(\w+)")
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>-?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|inf|nan)(?![\w.]))
    |(?P<name>[A-Za-z_][\w.]*)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<mark>[()\[\],=.]))""",
    re.X,
)
_ELEMENTS = {
    "DoubleStorage": ("<d", 8),
    "FloatStorage": ("<f", 4),
    "LongStorage": ("<q", 8),
    "IntStorage": ("<i", 4),
}
_PLUMBING = frozenset(("getattr", "int", "float", "size", "annotate", "format"))
_SEARCHED = "calls of local_response_norm, and the operators that PyTorch writes for it"
_LAYER = "torch.nn.modules.normalization"


def is_script(source: Source) -> bool:
    """True if the archive holds code, as torch.jit.save writes it."""
    return any("/code/" in name for name in entry_names(source))


@dataclass
class _Class:
    """A class of the archive: its attributes that are modules, and its LRNs."""

    children: dict[str, str] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    operators: Counter[str] = field(default_factory=Counter)


def read(source: Source) -> ModelFile:
    """The LRNs of every class that the module and its submodules are instances of."""
    archive = Archive(source)
    files = [name for name in archive.named(".py") if "/code/" in name]
    if not files:
        raise DamagedError("it holds no code")
    top = files[0].split("/code/")[0]
    constants = _constants(archive, top)
    classes: dict[str, _Class] = {}
    left = MOST_CODE
    for name in files:
        text = archive.read(name).decode("utf-8", "replace")
        left -= len(text)
        if left < 0:
            raise DamagedError(f"its code has more than {MOST_CODE // MIB} MiB")
        module = name.split("/code/")[1].removesuffix(".py").replace("/", ".")
        starts = [*_CLASS.finditer(text)]
        ends = [start.start() for start in starts[1:]] + [len(text)]
        for start, end in zip(starts, ends, strict=False):
            body = text[start.end() : end]
            classes[f"{module}.{start[1]}"] = _class(body, constants)
    root = load(io.BytesIO(archive.read(f"{top}/data.pkl")))
    listing = Listing()
    for path, kind in _instances(root, classes):
        listing.operators += classes[kind].operators
        for entry in classes[kind].found:
            simple = _LAYER in kind and len(classes[kind].found) == 1
            name = path if simple else f"{path}.{entry.name}" if path else entry.name
            listing.lrns.append(replace(entry, name=name))
    return listing.file(source, "TorchScript archive", searched=_SEARCHED)


def _instances(root: Any, classes: dict[str, _Class]) -> Iterator[tuple[str, str]]:
    """(path, class) of the module and its submodules."""
    stack = [("", root.kind if isinstance(root, Thing) else "", 0)]
    count = 0
    while stack:
        path, kind, depth = stack.pop()
        if kind not in classes:
            continue
        count += 1
        if count > MOST_MODULES or depth > DEEPEST:
            raise DamagedError("it has too many modules, or too many inside each other")
        yield path, kind
        inner = classes[kind].children.items()
        step = f"{path}." if path else ""
        stack += reversed([(step + name, child, depth + 1) for name, child in inner])


def _class(body: str, constants: list[Any]) -> _Class:
    """A class of the source text: its submodules, and the LRNs and operators of its methods."""
    entry = _Class()
    for match in _CHILD.finditer(body):
        entry.children[match[1] or match[2] or match[4]] = match[3] or match[5]
    for method in re.split(r"^  def ", body, flags=re.M)[1:]:
        graph, calls = _graph(method, constants)
        kinds = (kind for kind, _ in graph.values())
        entry.operators.update(k for k in kinds if k and "." not in k and k not in _PLUMBING)
        entry.found += [_renamed(chain.found) for chain in chains(graph)]
        entry.found += calls
    return entry


def _graph(
    method: str, constants: list[Any]
) -> tuple[dict[str, tuple[str, list[Any]]], list[Found]]:
    """The operators of a method, and its calls of F.local_response_norm."""
    graph: dict[str, tuple[str, list[Any]]] = {}
    calls: list[Found] = []
    functions: dict[str, str] = {}
    for number, match in enumerate(_STATEMENT.finditer(method)):
        target, text = match[1] or f"return {number}", match[2]
        if (alias := _ALIAS.fullmatch(text.strip())) is not None:
            functions[target] = alias[1]
            continue
        if "(" not in text or len(text) > LONGEST:
            continue
        parser = _Parser(text, graph, constants, functions)
        value = parser.expression(target)
        if isinstance(value, Value) and value.name != target and value.name in graph:
            graph[target] = graph[value.name]
    for name, (kind, arguments) in graph.items():
        if kind == "local_response_norm":
            words = dict(zip(("size", "alpha", "beta", "k"), arguments[1:5], strict=False))
            calls.append(_renamed(lrn(name, "torch", words, 1)))
    return graph, calls


def _renamed(entry: Found) -> Found:
    """A returned value has no name in the source text, so it gets that of the function."""
    is_result = entry.name.startswith("return ")
    return replace(entry, name="local_response_norm") if is_result else entry


class _Parser:
    """Calls inside calls, each put into the graph under a name of its own. What is no call, number
    or list is None: the recogniser of chains then finds nothing."""

    def __init__(
        self,
        text: str,
        graph: dict[str, tuple[str, list[Any]]],
        constants: list[Any],
        functions: dict[str, str],
    ) -> None:
        self.tokens = list(_TOKEN.finditer(text))
        self.at = 0
        self.graph, self.constants, self.functions = graph, constants, functions

    def _mark(self) -> str:
        return self.tokens[self.at]["mark"] or "" if self.at < len(self.tokens) else ""

    def expression(self, target: str = "", depth: int = 0) -> Any:
        """The value of the expression that begins at the next token; calls become operators of the
        graph."""
        if self.at >= len(self.tokens) or depth > DEEPEST:
            self.at = len(self.tokens)
            return None
        token = self.tokens[self.at]
        self.at += 1
        if token["number"] is not None:
            text = token["number"]
            return int(text) if text.lstrip("-").isdigit() and len(text) < 30 else float(text)
        if token["mark"] == "[":
            return self._until("]", depth)
        if token["mark"] == "(":
            inner = self._until(")", depth)
            if self._mark() != ".":
                return inner[0] if len(inner) == 1 else None
            self.at += 3  # a method of a module: (name).forward(…)
            return self._call(target, "", depth)
        name = token["name"]
        if name is None:
            return None
        if self._mark() == "(":
            self.at += 1
            kind = self.functions.get(name) or name.removeprefix("torch.").removeprefix("ops.")
            return self._call(target, kind, depth)
        if name.startswith("CONSTANTS.c") and name[11:].isdigit() and len(name) < 20:
            index = int(name[11:])
            return self.constants[index] if index < len(self.constants) else None
        return Value(name)

    def _call(self, target: str, kind: str, depth: int) -> Value:
        """Put a call, whose opening bracket was read, into the graph under `target` or a name of
        its own."""
        arguments = self._until(")", depth)
        label = target or f"call {len(self.graph)}"
        self.graph[label] = (kind, arguments)
        return Value(label)

    def _until(self, closing: str, depth: int) -> list[Any]:
        """The items up to a closing bracket; of keyword arguments the values."""
        items = []
        while self.at < len(self.tokens) and self._mark() != closing:
            if self._mark() == ",":
                self.at += 1
                continue
            following = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None
            if following is not None and following["mark"] == "=":  # a keyword
                self.at += 2
            items.append(self.expression("", depth + 1))
        self.at += 1
        return items


def _constants(archive: Archive, top: str) -> list[Any]:
    """The numbers of constants.pkl; a tensor of one element is its number."""
    name = f"{top}/constants.pkl"
    if name not in archive.entries:
        return []
    values = load(io.BytesIO(archive.read(name)))
    values = values.args if isinstance(values, Thing) else values
    return [_number(archive, top, v) for v in values] if isinstance(values, (tuple, list)) else []


def _number(archive: Archive, top: str, value: Any) -> Any:
    """A constant as a number: a tensor without axes is the element of its storage at its offset."""
    if not isinstance(value, Thing):
        return value if isinstance(value, (int, float)) else None
    if not value.kind.endswith("_rebuild_tensor_v2") or len(value.args) < 3:
        return None
    storage, offset, shape = value.args[:3]
    key = storage.key if isinstance(storage, Reference) else ()
    if shape != () or not isinstance(key, tuple) or len(key) < 3 or type(offset) is not int:
        return None
    kind = getattr(key[1], "name", "").rpartition(".")[2]
    form, size = _ELEMENTS.get(kind, ("", 0))
    name = f"{top}/constants/{key[2]}"
    if not form or name not in archive.entries or not 0 <= offset < 1000:
        return None
    data = archive.read(name)[offset * size : (offset + 1) * size]
    return struct.unpack(form, data)[0] if len(data) == size else None
