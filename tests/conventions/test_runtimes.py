"""The table of runtimes: what each makes of an LRN."""

from __future__ import annotations

from typing import Any

import pytest

from lrnorm import LRNSpec, conventions

PLAIN = LRNSpec(2e-5, 0.75, 1.0, 2, 2)
EVEN = LRNSpec(2e-5, 0.75, 1.0, 1, 2)


def codes(name: str, spec: LRNSpec = PLAIN, **known: Any) -> list[str]:
    return [fate.code for fate in conventions.runtimes[name].fates(spec, **known)]


@pytest.mark.parametrize("name", conventions.runtimes)
def test_every_row_has_a_source_and_a_known_convention(name: str) -> None:
    row = conventions.runtimes[name]
    assert row.title and row.source
    assert row.convention is None or row.convention in conventions.names()
    assert bool(row.instead) == (row.convention is None)
    assert row.form in ("operator", "conv", "pool", "slices")


@pytest.mark.parametrize("name", [n for n, r in conventions.runtimes.items() if not r.convention])
def test_a_missing_operator_says_what_to_do(name: str) -> None:
    [fate] = conventions.runtimes[name].fates(PLAIN)
    assert fate.code == "missing"
    assert fate.text.endswith(".") and "has no LRN operator. " in fate.text


@pytest.mark.parametrize(
    ("name", "spec", "known", "expected"),
    [
        ("tensorrt", PLAIN, {}, []),
        ("tensorrt", LRNSpec(1e-5, 0.75, 1.0, 8, 8), {}, ["refused"]),
        ("cudnn", LRNSpec(1e-5, 0.75, 1.0, 8, 8), {}, ["refused"]),
        ("cudnn", EVEN, {}, []),
        ("onnxruntime", PLAIN, {"shape": (1, 8, 4, 4), "dtype": "float32"}, ["slow", "range"]),
        ("onnxruntime", EVEN, {}, ["refused", "slow", "range"]),
        ("onnxruntime", PLAIN, {"shape": (1, 8, 4)}, ["rank", "slow", "range"]),
        ("onnxruntime", PLAIN, {"dtype": "float64"}, ["type", "slow", "range"]),
        ("onnxruntime_webnn", EVEN, {}, ["wrong"]),
        ("openvino", PLAIN, {"axis": 1}, ["range"]),
        ("openvino", EVEN, {"axis": 1}, ["refused", "wrong", "range"]),
        ("openvino", LRNSpec(2e-5, 0.75, 2.7, 2, 2), {"axis": 1}, ["wrong", "range"]),
        ("openvino", LRNSpec(1.0, 0.5, 1.0, 5, 5), {"axis": -1}, ["wrong", "range"]),
        ("openvino", LRNSpec(1.0, 0.5, 1.0, 4, 4), {"axis": -1}, ["range"]),
        ("tensorflow", EVEN, {}, ["refused", "range"]),
        ("tensorflow", PLAIN, {"dtype": "float16"}, ["type", "range"]),
        ("tflite", PLAIN, {"dtype": "int8"}, ["type"]),
        ("pytorch", PLAIN, {"dtype": "bfloat16"}, ["type", "slow", "range"]),
    ],
)
def test_what_happens(name: str, spec: LRNSpec, known: Any, expected: list[str]) -> None:
    assert codes(name, spec, **known) == expected


def test_the_table_is_read_only() -> None:
    with pytest.raises(TypeError):
        conventions.runtimes["mine"] = conventions.runtimes["webnn"]  # type: ignore[index]


def test_the_command_says_it(tmp_path: Any, capsys: Any) -> None:
    import json

    from lrnorm import cli

    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "norm1" type: "LRN" lrn_param { local_size: 17 } }')
    assert cli.main(["inspect", str(path), "--for", "tensorrt", "--strict"]) == 1
    out = capsys.readouterr().out
    assert "in TensorRT ILRNLayer:" not in out and "in TensorRT:\n  norm1:\n    refused: " in out
    assert cli.main(["inspect", str(path), "--for", "onnxruntime-webgpu", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["for"] == "onnxruntime-webgpu"
    assert [fate["code"] for fate in data["fates"]["norm1"]] == ["missing"]
    path.write_text('layer { name: "norm1" type: "LRN" lrn_param { local_size: 5 } }')
    assert cli.main(["inspect", str(path), "--for", "tensorrt", "--strict"]) == 0
    assert "norm1: runs as the numbers say" in capsys.readouterr().out
    assert cli.main(["inspect", str(path), "--for", "openvino", "--strict"]) == 0
    out = capsys.readouterr().out
    assert "norm1: runs as the numbers say\n    range: over 16 channels and more, " in out
