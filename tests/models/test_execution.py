"""The file's own LRN, run by its framework on data near 1, beside ours with the spec that was read:
reading is proved by execution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tolerances import assert_close

import lrnorm
from lrnorm import LRNSpec, models


def sample(*shape: int) -> Any:
    return (np.random.default_rng(3).normal(size=shape) * 1.5).astype(np.float32)


def ours(found: models.Found, x: Any) -> Any:
    return lrnorm.local_response_norm(x, spec=found.spec, axis=found.axis)


WORDS = [(5, 0.9, 0.6, 2.0), (3, 1.3, 0.75, 1.0), (4, 0.7, 1.0, 0.5), (9, 1.1, 0.5, 1.25)]


@pytest.mark.parametrize("words", WORDS, ids=str)
@pytest.mark.parametrize("way", ["pickle", "legacy", "script", "trace", "export"])
@pytest.mark.filterwarnings("ignore")  # of tracing, pickling and old formats
def test_pytorch(tmp_path: Path, words: Any, way: str) -> None:
    torch = pytest.importorskip("torch")
    size, alpha, beta, k = words
    module = torch.nn.Sequential(torch.nn.LocalResponseNorm(size, alpha, beta, k)).eval()
    x = torch.from_numpy(sample(2, 7, 5, 4))
    path = tmp_path / ("net.pt2" if way == "export" else "net.pt")
    if way == "pickle":
        torch.save(module, path)
    elif way == "legacy":
        torch.save(module, path, _use_new_zipfile_serialization=False)
    elif way == "export":
        torch.export.save(torch.export.export(module, (x,)), path)
    else:
        made = torch.jit.script(module) if way == "script" else torch.jit.trace(module, x)
        made.save(str(path))
    [found] = models.find(path)
    assert (found.name, found.convention, found.axis) == ("0", "torch", 1)
    assert found.words == {"size": size, "alpha": alpha, "beta": beta, "k": k}
    assert_close(ours(found, x.numpy()), module(x).numpy(), "framework")


@pytest.mark.filterwarnings("ignore")  # of tracing, pickling and old formats
def test_our_operator_in_an_exported_program(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    import lrnorm.torch

    module = lrnorm.torch.LocalResponseNorm(4, 0.9, 0.6, 2.0)
    x = torch.from_numpy(sample(2, 7, 5, 4))
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(module, (x,)), path)
    [found] = models.find(path)
    assert found.spec == LRNSpec(0.225, 0.6, 2.0, 2, 1)
    assert_close(ours(found, x.numpy()), module(x).numpy(), "framework")


@pytest.mark.filterwarnings("ignore")  # of tracing, pickling and old formats
def test_other_modules_of_pytorch(tmp_path: Path) -> None:
    """A class of someone's own is found and not read; CrossMapLRN2d comes with a warning."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.CrossMapLRN2d(5), torch.nn.ReLU())
    net.inner = torch.nn.Sequential(MyLRN())
    torch.save(net, tmp_path / "net.pt")
    first, second = models.find(tmp_path / "net.pt")
    assert [r.code for r in first.remarks] == ["wrong_in_pytorch"]
    assert (second.name, second.spec, second.words) == ("inner.0", None, {"local_size": 5})
    torch.save(net.state_dict(), tmp_path / "state.pt")
    assert models.find(tmp_path / "state.pt") == []


try:
    import torch as _torch

    class MyLRN(_torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.local_size = 5

except ImportError:
    pass


@pytest.mark.parametrize("size", [3, 5, 9])
def test_onnx_runtime(tmp_path: Path, size: int) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    ports = [onnx.helper.make_tensor_value_info(n, 1, (2, 7, 5, 4)) for n in "xy"]
    node = onnx.helper.make_node(
        "LRN", ["x"], ["y"], name="n", size=size, alpha=0.9, beta=0.6, bias=2.0
    )
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:])
    opsets = [onnx.helper.make_opsetid("", 13)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    [found] = models.find(tmp_path / "net.onnx")
    assert found.words == {"size": size, "alpha": 0.9, "beta": 0.6, "bias": 2.0}
    assert (found.shape, found.dtype) == ((2, 7, 5, 4), "float32")
    session = runtime.InferenceSession(
        str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"]
    )
    x = sample(2, 7, 5, 4)
    [right] = session.run(None, {"x": x})
    assert_close(ours(found, x), right, "framework")
