"""A real trained net, exported at several operator sets: its two LRNs are found and fused."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "examples").is_dir():
    pytest.skip("the examples are not in the source distribution", allow_module_level=True)
sys.path.append(str(ROOT / "examples"))

import googlenet  # noqa: E402
from onnx_models import kinds, run  # noqa: E402

SPEC = LRNSpec(2e-5, 0.75, 1.0, 2, 2)


@pytest.fixture(scope="module")
def net():
    try:
        loaded = googlenet.load(googlenet.folder())
    except FileNotFoundError as error:
        pytest.skip(str(error))
    model = loaded if isinstance(loaded, torch.nn.Module) else loaded[0]
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, lrnorm.torch.LocalResponseNorm):
                setattr(parent, name, torch.nn.LocalResponseNorm(5))
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("opset", [9, 13, 18])
def test_both_lrns_are_fused(net, opset):
    x = torch.rand((1, 3, 224, 224), generator=torch.Generator().manual_seed(0)) * 255 - 110
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (x,),
            stream,
            dynamo=False,
            opset_version=opset,
            input_names=["x"],
            dynamic_axes={"x": {0: "batch"}},
        )
    model = onnx.load_from_string(stream.getvalue())
    assert [chain.spec for chain in lrnorm.onnx.chains(model).values()] == [SPEC, SPEC]
    fused = lrnorm.onnx.fuse(model)
    assert kinds(fused).count("LRN") == 2
    y = run(model, x.numpy())
    for other in (fused, lrnorm.onnx.decompose(fused, runtime="onnxruntime")):
        np.testing.assert_allclose(run(other, x.numpy()), y, rtol=1e-5, atol=1e-5 * abs(y).max())
