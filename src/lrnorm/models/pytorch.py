"""PyTorch: exported programs (.pt2) and whole modules (.pt, .pth), both read as data.

A module's numbers stand in its attributes: size, alpha, beta, k. A state_dict has none. An exported
program has the operators written out. Nothing is imported and nothing is run.
Source: torch/nn/modules/normalization.py; torch/_export/serde/schema.py.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from dataclasses import replace
from typing import Any

from lrnorm.models.archive import Archive, entry_names, is_zip
from lrnorm.models.chain import Value, chains
from lrnorm.models.found import Found, Listing, ModelFile, Remark, Shape, lrn, one_line, unreadable
from lrnorm.models.pickles import Thing, load, modules
from lrnorm.models.source import DamagedError, Source

_LAYERS = {
    "torch.nn.modules.normalization.LocalResponseNorm",
    "torch.nn.modules.normalization.CrossMapLRN2d",
    "lrnorm.torch.LocalResponseNorm",
    "lrnorm.torch._modules.LocalResponseNorm",
    "lrnorm.torch.modules.LocalResponseNorm",
}
_OTHERS = re.compile(r"LRN|local_?response|CrossMap", re.I)
_PROTOCOL = re.compile(rb"\x80[\x02-\x05]")
_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of torch.save before version 1.6
_TYPES = {6: "float16", 7: "float32", 8: "float64", 13: "bfloat16"}


def is_program(source: Source) -> bool:
    """True for an archive with the graph of an exported program."""
    return any(_is_graph(name) for name in entry_names(source))


def _is_graph(name: str) -> bool:
    """True for models/NAME.json, and for the serialized_exported_program.json of older versions."""
    is_model = "/models/" in name or name.startswith("models/")
    return (is_model and name.endswith(".json")) or name.endswith(
        "serialized_exported_program.json"
    )


def is_pickle(source: Source) -> bool:
    """True for a zip with data.pkl, as torch.save writes it, or for a bare pickle."""
    if is_zip(source):
        return any(name.endswith("data.pkl") for name in entry_names(source))
    return _PROTOCOL.match(source.head) is not None


# Whole modules


def read_pickle(source: Source) -> ModelFile:
    """Every LRN module of a pickled model, by its path in _modules."""
    root = _root(source)
    listing = Listing()
    holders = 0
    for path, module in modules(root):
        kind = module.kind.rpartition(".")[2]
        children = module.fields.get("_modules")
        inner = children.items if isinstance(children, Thing) else children
        holders += 1
        if not inner:
            listing.operators[kind] += 1
        if module.kind in _LAYERS:
            listing.lrns.append(_layer(path or kind, module))
        elif _OTHERS.search(kind) and not inner:
            numbers = {k: v for k, v in module.fields.items() if type(v) in (int, float)}
            text = f"{module.kind} is a class of its own, whose code is not in the file"
            entry = unreadable(path or kind, text, code="custom_class", words=numbers)
            listing.lrns.append(entry)
    title = "PyTorch module (pickle)" if holders else "pickle without modules, such as a state_dict"
    return listing.file(source, title)


def _root(source: Source) -> Any:
    """The object of the file. Before version 1.6 torch.save wrote it as the fourth pickle of
    several."""
    if is_zip(source):
        archive = Archive(source)
        names = archive.named("data.pkl")
        if not names:
            raise DamagedError("it holds no data.pkl")
        return load(io.BytesIO(archive.read(names[0])))
    file = io.BytesIO(source.data)
    root = load(file)
    if root == _MAGIC:  # then the protocol, the system, and the object itself
        load(file)
        load(file)
        root = load(file)
    return root


def _layer(path: str, module: Thing) -> Found:
    """The module by its attributes size, alpha, beta and k."""
    fields = module.fields
    words = {w: fields[w] for w in ("size", "alpha", "beta", "k") if w in fields}
    if not all(type(value) in (int, float) for value in words.values()):
        return unreadable(path, "its numbers are tensors, whose values are not read")
    remarks: tuple[Remark, ...] = ()
    if module.kind.endswith("CrossMapLRN2d"):
        text = "torch.nn.CrossMapLRN2d computes other values than these numbers say"
        remarks = (Remark("wrong_in_pytorch", text),)
    return lrn(path, "torch", words, 1, remarks=remarks)


# Exported programs


def read_program(source: Source) -> ModelFile:
    """Every LRN of the graphs of an exported program, recognised by its operators."""
    archive = Archive(source)
    listing = Listing()
    for name in [name for name in archive.entries if _is_graph(name)]:
        try:
            program = json.loads(archive.read(name))
            graph = program["graph_module"]["graph"]
            nodes = {_output(node): node for node in graph["nodes"]}
            values = graph.get("tensor_values", {})
            operations = {
                output: (_operator(node), [_argument(a["arg"]) for a in node["inputs"]])
                for output, node in nodes.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            text = f"{name[:80]!r} is no exported graph: {type(error).__name__} {one_line(error)}"
            raise DamagedError(text[:300]) from None
        listing.operators.update(kind for kind, _ in operations.values())
        taken: Counter[str] = Counter()
        for chain in chains(operations):
            path = _module(nodes[chain.output]) or chain.output
            taken[path] += 1
            if taken[path] > 1:
                path = f"{path}:{chain.output}"
            shape, dtype = _kind(values, chain.input)
            listing.lrns.append(replace(chain.found, name=path, shape=shape, dtype=dtype))
    searched = "the operators that PyTorch writes for local_response_norm, and lrnorm's own"
    return listing.file(source, "PyTorch exported program", searched=searched)


def _output(node: dict[str, Any]) -> str:
    """The name of the first tensor that a node gives."""
    outputs = node["outputs"]
    tensor = outputs[0].get("as_tensor") if outputs else None
    return str(tensor["name"]) if isinstance(tensor, dict) else f"node {id(node)}"


def _operator(node: dict[str, Any]) -> str:
    """torch.ops.aten.mul.Tensor → mul, torch.ops.lrnorm.forward.default → lrnorm.forward"""
    parts = str(node["target"]).split(".")
    if parts[:2] != ["torch", "ops"] or len(parts) < 4:
        return parts[-1]
    return parts[3] if parts[2] == "aten" else f"{parts[2]}.{parts[3]}"


def _argument(argument: Any) -> Any:
    """An Argument: a tensor by name, or a number or list; None for any other kind."""
    if not isinstance(argument, dict) or len(argument) != 1:
        return None
    kind, value = next(iter(argument.items()))
    if kind == "as_tensor":
        return Value(str(value["name"]))
    return value if kind in ("as_int", "as_ints", "as_float", "as_floats", "as_bool") else None


def _module(node: dict[str, Any]) -> str:
    """The path of the module that the node comes from, if that is an LRN of PyTorch."""
    metadata = node.get("metadata")
    stack = str(metadata.get("nn_module_stack", "")) if isinstance(metadata, dict) else ""
    *_, path, kind = ["", "", *stack.split(";")[-1].split(",")]
    return path if _OTHERS.search(kind.rpartition(".")[2]) else ""


def _kind(values: Any, name: str) -> tuple[Shape, str | None]:
    """Shape and dtype of a TensorMeta: sizes, and the number of a ScalarType."""
    value = values.get(name) if isinstance(values, dict) else None
    if not isinstance(value, dict) or not isinstance(value.get("sizes"), list):
        return None, None
    sizes = [s.get("as_int") if isinstance(s, dict) else None for s in value["sizes"]]
    shape = tuple(size if type(size) is int else None for size in sizes)
    kind = value.get("dtype")
    return shape, _TYPES.get(kind) if type(kind) is int else None
