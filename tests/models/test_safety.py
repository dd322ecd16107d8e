"""Hostile and damaged files: one line that says so, nothing run, nothing outside opened."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import model_files
import pytest
from model_files import DATA
from model_seeds import INSIDE, SEEDS, network
from refusals import check_parts

from lrnorm import FileError, KindError, models
from lrnorm.models import wolfram


def refused(path: Any, rule: str, way_out: str = "") -> None:
    """A file that is refused by an error about it, in one line."""
    with pytest.raises(FileError) as caught:
        models.find(path)
    check_parts(caught.value, FileError, str(path), rule, way_out=way_out)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


# What is not run


class Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_not_run(save: Any, tmp_path: Path, protocol: int) -> None:
    command = f"touch {tmp_path}/owned"
    data = pickle.dumps({"model": Evil(command)}, protocol=protocol)
    path = tmp_path / "net.pkl"
    path.write_bytes(data)
    assert b"system" in data
    if protocol >= 2:
        assert models.find(path) == []
    archive = tmp_path / "net.pt"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("net/data.pkl", data)
    assert models.find(archive) == []
    assert not (tmp_path / "owned").exists()


def test_no_module_named_in_a_pickle_is_imported(save: Any) -> None:
    script = (
        "import sys, lrnorm.models; lrnorm.models.find(sys.argv[1]);"
        "assert 'antigravity' not in sys.modules"
    )
    path = save("net.pkl", b"\x80\x02cantigravity\nopen\n.")
    subprocess.run([sys.executable, "-c", script, path], check=True)


def test_a_lambda_is_not_unmarshalled(tmp_path: Path) -> None:
    code = {"class_name": "__lambda__", "config": {"code": "AAAA local_response_norm"}}
    layer = {"class_name": "Lambda", "config": {"name": "hidden", "function": code}}
    config = model_files.keras_config(layer)
    [found] = models.find(model_files.keras_archive(tmp_path / "net.keras", config))
    assert found.spec is None and "code that is not run" in found.remarks[0].text


@pytest.mark.parametrize(
    "document",
    [
        '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]>'
        "<net><layers>&b;</layers></net>",
        '<?xml version="1.0"?><!DOCTYPE net SYSTEM "http://localhost/x.dtd"><net/>',
        '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]><net>&x;</net>',
    ],
)
def test_xml_entities_and_document_types_are_refused(save: Any, document: str) -> None:
    pytest.importorskip("defusedxml")
    refused(save("net.xml", document), "is not a readable OpenVINO IR: ")


# What is not opened


def package(folder: Path, path: str) -> Path:
    folder.mkdir()
    entries = {"a": {"path": path}}
    manifest = {"itemInfoEntries": entries, "rootModelIdentifier": "a"}
    (folder / "Manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("path", ["../../outside.mlmodel", "/etc/hostname", "a/../../../outside"])
def test_a_manifest_cannot_leave_its_package(tmp_path: Path, path: str) -> None:
    (tmp_path / "outside.mlmodel").write_bytes((DATA / "nn.mlmodel").read_bytes())
    refused(package(tmp_path / "m.mlpackage", path), "outside its own folder")


def test_a_link_to_the_outside_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes((DATA / "ov.bin").read_bytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "net.xml").write_bytes((DATA / "ov.xml").read_bytes())
    (folder / "net.bin").symlink_to(secret)
    pytest.importorskip("defusedxml")
    refused(folder / "net.xml", "outside its own folder")


def test_hdf5_cannot_lead_to_other_files(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["Network"] = b"1:secret"
    with h5py.File(tmp_path / "link.wlnet", "w") as file:
        file["Network"] = h5py.ExternalLink("other.h5", "/Network")
    (tmp_path / "raw").write_bytes(b"1:secret")
    with h5py.File(tmp_path / "raw.wlnet", "w") as file:
        external = [(str(tmp_path / "raw"), 0, 8)]
        file.create_dataset("Network", (8,), "u1", external=external)
    for name in ("link.wlnet", "raw.wlnet"):
        refused(tmp_path / name, "Network does not stand in the file itself")


def test_a_library_that_hangs_or_crashes_is_one_line(
    tmp_path: Path, save: Any, monkeypatch: Any
) -> None:
    pytest.importorskip("h5py")
    from lrnorm.models import hdf5

    path = save("net.h5", b"\x89HDF\r\n\x1a\n")
    monkeypatch.setattr(hdf5, "SECONDS", 0.2)
    monkeypatch.setattr(hdf5, "_CHILD", "while True: pass")
    refused(path, "HDF5 was not done with it after 0.2 s")
    monkeypatch.setattr(hdf5, "SECONDS", 60)
    monkeypatch.setattr(hdf5, "_CHILD", "import os; os.abort()")
    refused(path, "makes the library for HDF5 fail")


def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    refused(tmp_path / "pipe.onnx", "must be a file or a folder")
    refused("/dev/zero", "must be a file or a folder")


# What is not there


@pytest.mark.parametrize("entries", [{"metadata.json": "{}"}, {"model.weights.h5": ""}, {}])
def test_a_keras_archive_without_a_configuration(tmp_path: Path, entries: Any) -> None:
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    text = "is not a readable Keras model: it has no entry 'config.json'"
    refused(tmp_path / "net.keras", text)


@pytest.mark.parametrize("seed", ["torchscript", "torch_export", "keras"])
def test_an_archive_without_its_entries(tmp_path: Path, seed: str) -> None:
    name, data = SEEDS[seed]()
    (tmp_path / "whole").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "whole") as file:
        entries = {entry: file.read(entry) for entry in file.namelist()}
    for left_out in entries:
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            for entry, content in entries.items():
                if entry != left_out:
                    file.writestr(entry, content)
        try:
            models.find(tmp_path / name)
        except FileError as error:
            assert "\n" not in str(error)


# What is bounded


def deep(opening: str, closing: str, count: int = 200_000) -> str:
    return opening * count + closing * count


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("net.prototxt", "layer { " + deep("a { ", "} ")),
        ("net.pbtxt", 'node { op: "LRN" ' + deep("a { ", "} ")),
        ("net.json", '{"nodes": ' + deep("[", "]") + ', "op": 1}'),
        ("net.keras.json", '{"class_name": 1, "config": ' + deep("[", "]") + "}"),
    ],
)
def test_depth_is_bounded(save: Any, name: str, text: str) -> None:
    refused(save(name, text), "is not a readable")


def test_depth_of_binary_formats_is_bounded(save: Any) -> None:
    data = b"lrn"
    for _ in range(60):  # a pipeline inside a pipeline
        data = model_files.message((1, 1), (202, model_files.message((1, data))))
    refused(save("net.mlmodel", data), "inside each other")
    out = model_files.Torch7()
    out.value(1)
    table = b"\x03\0\0\0%c\0\0\0\x01\0\0\0"
    nested = b"".join(table % (i + 1) for i in range(200)) + bytes(out.out)
    refused(save("net.t7", nested), "inside each other")


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.keras", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("metadata.json", "{}")
        with file.open("config.json", "w") as entry:
            for _ in range(70):
                entry.write(bytes(2**20))
    refused(tmp_path / "net.keras", "more than 64 MiB")


def test_a_flatbuffer_whose_offsets_meet_is_bounded(save: Any) -> None:
    """Many operators in many subgraphs, all the same table: small file, endless work."""
    import struct

    count = 3000
    # A vector of subgraphs that are one table, whose vector of operators is one table.
    out = bytearray(struct.pack("<I4s", 16, b"TFL3") + bytes(8))
    table = len(out)
    out += struct.pack("<iHHHHHH", -8 + 12, 0, 0, 0, 0, 0, 0)
    del out[table:]
    slots = struct.pack("<HHHHH", 10, 8, 0, 0, 4) + bytes(2)
    out += slots  # slot 2 of the root: the subgraphs
    out[0:4] = struct.pack("<I", len(out))
    root = len(out)
    out += struct.pack("<iI", root - table, 4)
    vector = len(out)
    graph = vector + 4 + 4 * count
    out += struct.pack("<I", count)
    out += b"".join(struct.pack("<I", graph + 12 - (vector + 4 + 4 * i)) for i in range(count))
    out += struct.pack("<HHHHHH", 12, 8, 0, 0, 0, 4)  # slot 3 of a subgraph: the operators
    out += struct.pack("<iI", 12, 4)
    operators = len(out)
    out += struct.pack("<I", count)
    empty = operators + 4 + 4 * count
    out += b"".join(struct.pack("<I", empty + 4 - (operators + 4 + 4 * i)) for i in range(count))
    out += struct.pack("<HH", 4, 4) + struct.pack("<i", 4)
    refused(save("net.tflite", bytes(out)), "more than 300000 tables")


def test_a_function_called_by_functions_does_not_multiply(save: Any) -> None:
    """Each function calls the one before it many times: an LRN for each path would be listed."""
    message = model_files.message
    lrn = message((1, "x"), (2, "y"), (4, "LRN"))
    functions = [message((1, "f0"), (7, lrn), (10, "d"))]
    for level in range(1, 8):
        call = message((1, "x"), (2, "y"), (4, f"f{level - 1}"), (7, "d"))
        functions.append(message((1, f"f{level}"), *[(7, call)] * 40, (10, "d")))
    graph = message((1, message((1, "x"), (2, "y"), (4, "f7"), (7, "d"))))
    model = message((1, 8), (7, graph), *[(25, function) for function in functions])
    refused(save("net.onnx", model), "its functions expand to more than")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_a_caffemodel_of_240_megabytes_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    blob = os.urandom(2**20) * 38
    layers = [
        (
            100,
            model_files.message(
                (1, f"fc{i}"), (2, "InnerProduct"), (7, model_files.field(5, blob))
            ),
        )
        for i in range(6)
    ]
    with path.open("wb") as file:
        for layer in layers:
            file.write(model_files.field(*layer))
        file.write(model_files.caffemodel())
    assert path.stat().st_size > 230e6
    script = (
        "import re, sys\n"
        "from lrnorm import cli\n"
        "assert cli.main(['inspect', sys.argv[1]]) == 0\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, path], check=True, capture_output=True, text=True
    )
    *printed, kilobytes = run.stdout.splitlines()
    assert printed[:2] == [f"{path}: 1 LRN", "  norm1: type not known"]
    assert int(kilobytes) < 400 * 1024


# Damage


@pytest.mark.parametrize("seed", [*SEEDS, *INSIDE])
def test_damaged_files_are_one_line(seed: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Cut short, a byte changed, a piece doubled or lost: results, or a FileError."""
    outer, inside, pack = INSIDE.get(seed, (seed, None, bytes))
    try:
        name, data = SEEDS[outer]()
    except ImportError as error:
        pytest.skip(f"{error.name} writes this file")
    if seed == "wolfram_expression":
        pytest.importorskip("h5py")
        monkeypatch.setattr(wolfram, "value_of", network)
    path, data = tmp_path / name, inside or data
    path.write_bytes(pack(data))
    assert models.find(path)
    rng = random.Random(seed)
    for _ in range(3 if data.startswith(b"\x89HDF") else 150):  # HDF5 takes a process for each
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            at, size = rng.randrange(len(damaged) or 1), rng.randint(1, 9)
            match rng.randrange(4):
                case 0:
                    del damaged[at:]
                case 1:
                    damaged[at : at + 1] = bytes([rng.randrange(256)])
                case 2:
                    damaged[at : at + size] = damaged[at : at + size] * 2
                case _:
                    del damaged[at : at + size]
        path.write_bytes(pack(bytes(damaged)))
        try:
            models.find(path)
        except FileError as error:
            assert "\n" not in str(error)


# Other bad input


def test_a_file_that_is_not_there() -> None:
    refused("nowhere.onnx", "does not exist", "Check its name and folder.")


@pytest.mark.parametrize(
    ("content", "rule", "way_out"),
    [
        (b"", "is empty", "Save or download it again."),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a pointer of Git LFS",
            "git lfs pull",
        ),
        (b"\n <!DOCTYPE html><p>Not found", "is a web page", "Download the model itself."),
        (b"\2" + bytes(7) + b"{}", "is .safetensors: it holds weights alone", ""),
        (b"\x12\1" + bytes(60), "holds weights alone", "Give MXNet's symbol file"),
        (b"GGUF\3", "holds weights alone, which say nothing about LRN layers", ""),
        (b"\x89PNG\r\n\x1a\n", "is a picture", "lrnorm apply normalizes it."),
        (b"hello", "is a file of no format that is read", ""),
        (bytes(1000), "is a file of no format that is read", ""),
    ],
)
def test_foreign_files(save: Any, content: bytes, rule: str, way_out: str) -> None:
    refused(save("thing", content), rule, way_out)


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("net.onnx", b"", "is empty"),
        ("setup.cfg", b"[metadata]\n", "its first section must be [net], and is [metadata]"),
        ("notes.cfg", b"# nothing\n", "its first section must be [net], and is missing"),
        ("net.tflite", b"\x1c\0\0\0TFL3" + bytes(30), "it holds no subgraph"),
    ],
)
def test_files_whose_name_says_more_than_they_hold(
    save: Any, name: str, content: bytes, rule: str
) -> None:
    refused(save(name, content), rule)


def test_folders_and_addresses(tmp_path: Path) -> None:
    way_out = "of folders, a SavedModel, an .mlpackage and an NNEF graph are read"
    refused(tmp_path, "is a folder of no format that is read", way_out)
    address = "https://example.org/net.onnx"
    refused(address, "must be a file on this machine", "Download it first.")


@pytest.mark.parametrize("thing", [5, b"bytes", None])
def test_what_is_no_path(thing: Any) -> None:
    with pytest.raises(KindError) as caught:
        models.find(thing)
    check_parts(caught.value, KindError, "the model", "must be a path", got=type(thing).__name__)


@pytest.mark.parametrize("axes", [[], None, [None], "x"])
def test_our_operator_with_damaged_axes_is_no_lrn(axes: Any) -> None:
    from lrnorm.models.chain import Value, chains

    arguments = [Value("x"), 0.2, 0.75, 1.0, [2], [2], axes]
    found = [chain.found for chain in chains({"y": ("lrnorm.forward", arguments)})]
    assert all(entry.spec is not None for entry in found)
