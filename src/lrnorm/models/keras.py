"""Keras: .keras (a zip with config.json), .h5 (HDF5, needs h5py), and a config alone (.json).

Keras has no LRN of its own. Layers by these names are custom classes, whose code is not in the
file: their numbers are read by the names of the parameters, and a note says so. The code of a
Lambda is never run.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any

from lrnorm._spec.errors import LRNormError
from lrnorm._spec.spec import LRNSpec
from lrnorm.models.archive import Archive, entry_names
from lrnorm.models.found import NOTE, Found, Listing, ModelFile, Remark, Shape, lrn, unreadable
from lrnorm.models.hdf5 import is_hdf5, value_of
from lrnorm.models.prototext import messages, parse
from lrnorm.models.source import MIB, DamagedError, Source
from lrnorm.models.tensorflow import by_key, words_of
from lrnorm.models.texts import json_of

CONFIG_LIMIT = 64 * MIB
DEEPEST = 60

_CUSTOM = re.compile(r"LRN|Local_?Response|CrossMap|Response_?Norm", re.I)
_CALLS = re.compile(r"local_response_norm|\blrn\b|LRN")
# The parameters of a class tell whose rules it follows. The first that fits counts.
_WORDS: tuple[tuple[str, frozenset[str], dict[str, str]], ...] = (
    ("lrnorm", frozenset(("channel_window_size",)), {}),
    ("tensorflow", frozenset(("depth_radius",)), {}),
    ("tensorflow", frozenset(("radius",)), {"radius": "depth_radius"}),
    ("keras", frozenset(("n",)), {}),
    ("torch", frozenset(("size",)), {"bias": "k"}),
    ("caffe", frozenset(("local_size",)), {"bias": "k"}),
)
_NUMBERS = {
    "lrnorm": ("channel_window_size", "alpha", "beta", "bias"),
    "tensorflow": ("depth_radius", "alpha", "beta", "bias"),
    "keras": ("n", "alpha", "beta", "k"),
    "torch": ("size", "alpha", "beta", "k"),
    "caffe": ("local_size", "alpha", "beta", "k"),
}
_SURE = frozenset(("lrnorm>LocalResponseNormalization",))


def is_keras(source: Source) -> bool:
    """True for the entries of a .keras archive."""
    names = entry_names(source)
    return "config.json" in names and ("metadata.json" in names or "model.weights.h5" in names)


def is_config(source: Source) -> bool:
    """True for JSON with the keys class_name and config."""
    head = source.head.lstrip()
    return head.startswith(b"{") and b'"class_name"' in head and b'"config"' in head


def is_keras_h5(source: Source) -> bool:
    """True for HDF5 that Wolfram has not written."""
    return is_hdf5(source) and source.ending != ".wlnet"


def read(source: Source) -> ModelFile:
    """Each LRN layer of the config.json in a .keras file."""
    return _model(source, Archive(source).read("config.json", CONFIG_LIMIT), "Keras model")


def read_config(source: Source) -> ModelFile:
    """Each LRN layer of a model's configuration, as model.to_json() writes it."""
    return _model(source, source.text(CONFIG_LIMIT), "Keras configuration")


def read_h5(source: Source) -> ModelFile:
    """The configuration is the attribute model_config of the root group."""
    config, names_in_it = value_of(source, "attribute", "model_config")
    if config is None:
        names = ", ".join(names_in_it) or "nothing"
        raise DamagedError(
            f"it is HDF5 without Keras's model_config (it holds {names}): weights alone have no LRN"
        )
    return _model(source, config, "Keras model (.h5)")


def _model(source: Source, text: Any, title: str) -> ModelFile:
    """The layers of a configuration, and a note where Lambda layers may hide an LRN."""
    config = json_of(text, "its configuration")
    listing = Listing()
    silent = 0
    for path, layer in _layers(config):
        kind = str(layer.get("class_name"))
        given = _dict(layer, "config")
        if "layers" not in given:
            listing.operators[kind.rpartition(">")[2]] += 1
        entry = _entry(path, kind, layer, given)
        if entry is not None:
            listing.lrns.append(entry)
        elif kind == "Lambda":
            silent += 1
    if silent:
        text = f"code that is not read, which may hide an LRN, in Lambda layers: {silent}"
        listing.remarks.append(Remark("lambda", text, NOTE))
    return listing.file(source, title)


def _layers(config: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every layer with its path, those of nets inside included."""
    if depth > DEEPEST:
        raise DamagedError(f"it has more than {DEEPEST} nets inside each other")
    if not isinstance(config, dict):
        raise DamagedError("its configuration is no layer")
    given = config.get("config")
    layers = given.get("layers") if isinstance(given, dict) else given  # a list in Keras 1 and 2.0
    inner = given.get("layer") if isinstance(given, dict) else None
    if not isinstance(layers, list):
        layers = [inner] if isinstance(inner, dict) else []  # TimeDistributed and the like
    for layer in layers:
        if not isinstance(layer, dict):
            raise DamagedError("a layer is no dict")
        name = _dict(layer, "config").get("name") or layer.get("name") or layer.get("class_name")
        path = f"{prefix}{name}"
        yield path, layer
        yield from _layers(layer, f"{path}/", depth + 1)


def _entry(path: str, kind: str, layer: dict[str, Any], given: dict[str, Any]) -> Found | None:
    """The LRN that a layer is, by the name of its class; None for any other layer."""
    shape = _shape(layer.get("build_config"))
    known = {"shape": shape, "dtype": _dtype(given.get("dtype"))}
    if kind == "TFOpLambda" and "local_response_normalization" in str(given.get("function")):
        words = _arguments(layer.get("inbound_nodes"))
        return _read(path, words | {"depth_radius": words.get("depth_radius", 5)}, (), known)
    if kind == "TensorFlowOpLayer":
        return _node(path, given.get("node_def"), known)
    if kind == "Lambda":
        if not _mentions(given):
            return None
        text = "a Lambda that calls a local response normalization, in code that is not run"
        extra = given.get("arguments")
        words = extra if isinstance(extra, dict) else {}
        return unreadable(path, text, code="lambda", words=words, **known)
    name = str(layer.get("registered_name") or kind)
    if not _CUSTOM.search(kind) or "layers" in given:
        return None
    remarks: tuple[Remark, ...] = ()
    if name not in _SURE:
        text = (
            f"{kind} is a class of its own: the numbers are read by the names of its parameters; "
            "lrnorm.identify measures what it computes"
        )
        remarks = (Remark("custom_class", text, NOTE),)
    return _read(path, given, remarks, known)


def _read(
    path: str, given: dict[str, Any], remarks: tuple[Remark, ...], known: dict[str, Any]
) -> Found:
    """The LRN of a custom class, read by the convention whose parameter names it has."""
    spec = given.get("spec")
    for convention, needed, renamed in _WORDS:
        if needed <= given.keys() and not isinstance(spec, dict):
            said = {renamed.get(word, word): value for word, value in given.items()}
            words = {w: _plain(said[w]) for w in _NUMBERS[convention] if w in said}
            axis = _axis(given)
            return lrn(path, convention, words, axis, remarks=remarks, **known)
    if isinstance(spec, dict) and (own := _own(path, spec, given, remarks, known)) is not None:
        return own
    text = "its parameters have names that no convention uses"
    numbers = {k: v for k, v in given.items() if type(v) in (int, float)}
    return unreadable(path, text, code="custom_class", words=numbers, **known)


def _own(
    path: str,
    spec: dict[str, Any],
    given: dict[str, Any],
    remarks: tuple[Remark, ...],
    known: dict[str, Any],
) -> Found | None:
    """lrnorm's own layer with a spec in place of keywords."""
    numbers = _dict(spec, "config") or spec
    try:
        words = {n: _plain(numbers[n]) for n in ("scale", "beta", "bias", "before", "after")}
        return Found(path, None, {}, LRNSpec(**words), _axis(given), remarks=remarks, **known)
    except (KeyError, TypeError, LRNormError):
        return None


def _dict(owner: dict[str, Any], key: str) -> dict[str, Any]:
    value = owner.get(key)
    return value if isinstance(value, dict) else {}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _axis(given: dict[str, Any]) -> Any:
    """The channel axis: `axis`, or that of data_format (dim_ordering in Keras 1), channels last by
    default."""
    axis = given.get("axis")
    if type(axis) is int or (isinstance(axis, list) and all(type(a) is int for a in axis)):
        return _plain(axis)
    order = str(given.get("data_format") or given.get("dim_ordering") or "")
    return 1 if order in ("channels_first", "th") else -1


def _arguments(nodes: Any) -> dict[str, Any]:
    """The keywords of a call, in the last dict of Keras 2's inbound nodes."""
    found: dict[str, Any] = {}
    stack = [nodes]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack += value[:100]
        elif isinstance(value, dict):
            found |= {k: v for k, v in value.items() if type(v) in (int, float)}
    return found


def _node(path: str, text: Any, known: dict[str, Any]) -> Found | None:
    """A node of TensorFlow in protobuf's text form, as Keras 2.2 kept it."""
    if not isinstance(text, str) or not re.search(r'\bop:\s*"LRN"', text):
        return None
    attributes = by_key(messages(parse(text), "attr"))
    return lrn(path, "tensorflow", words_of(attributes), -1, **known)


def _mentions(given: dict[str, Any]) -> bool:
    """True if the name of a Lambda, or a name inside its bytecode, speaks of an LRN."""
    if re.search(r"lrn|local_?response", str(given.get("name", "")), re.I):
        return True
    texts = [json.dumps(given.get(key, ""))[: 4 * MIB] for key in ("function", "module")]
    for text in [t for joined in texts for t in re.findall(r'"([^"]*)"', joined)]:
        code = text.replace("\\n", "")
        if _CALLS.search(text):
            return True
        try:
            content = base64.b64decode(code, validate=True)
        except (binascii.Error, ValueError):
            continue
        if b"local_response_norm" in content or b"lrn" in content:
            return True
    return False


def _shape(build: Any) -> Shape:
    """The input_shape of a build_config, None where it is not a list of sizes."""
    sizes = build.get("input_shape") if isinstance(build, dict) else None
    if not isinstance(sizes, list) or not all(s is None or type(s) is int for s in sizes):
        return None
    return tuple(sizes)


def _dtype(value: Any) -> str | None:
    """A dtype by name, or the name of the policy that Keras 3 saves in its place."""
    if isinstance(value, dict):  # a policy of Keras 3
        policy = value.get("config")
        value = policy.get("name") if isinstance(policy, dict) else None
    return value if value in ("float16", "bfloat16", "float32", "float64") else None
