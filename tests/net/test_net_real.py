"""Real nets: the architectures that the onnx package ships, with random weights, and GoogLeNet."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec, NetPort, information
from lrnorm._spec import reference
from lrnorm.net import elementwise

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx.reference.op_run import OpRun  # noqa: E402
from onnx_models import LIGHT, light  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MODELS = ["light_bvlc_alexnet", "light_zfnet512", "light_inception_v1"]


class LRN(OpRun):
    """onnx's own is wrong unless there are as many examples as channels."""

    def _run(self, x, alpha=None, beta=None, bias=None, size=None):
        spec = LRNSpec(alpha / size, beta, bias, (size - 1) // 2, size // 2)
        return (reference.forward(x, spec, 1),)


class MaxPool(OpRun):
    """onnx's own takes ten seconds for one net."""

    def _run(self, x, kernel_shape=None, pads=None, strides=None, **_):
        top, left, bottom, right = pads
        edges = ((0, 0), (0, 0), (top, bottom), (left, right))
        x = np.pad(x, edges, constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel_shape, (2, 3))
        return (windows[:, :, :: strides[0], :: strides[1]].max(axis=(4, 5)),)


def picture(dtype=np.float32):
    return np.random.default_rng(3).standard_normal((3, 224, 224)).astype(dtype)


def exact(name):
    """What the model gives in float64 throughout."""
    model = light(name, np.float64)
    [port] = lrnorm.onnx.load(LIGHT / f"{name}.onnx").inputs
    [y] = ReferenceEvaluator(model, new_ops=[LRN, MaxPool]).run(None, {port: picture(float)[None]})
    assert y.dtype == np.float64
    return y[0]


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("name", MODELS)
def test_architectures_with_random_weights(name):
    model = light(name, np.float32)
    net, x = lrnorm.onnx.load(model), picture()
    y, expected = net(x), exact(name)
    assert y.shape == (1000,)
    assert relative(y, expected) < 1e-5
    session = onnxruntime.InferenceSession(model.SerializeToString())
    [theirs] = session.run(None, {next(iter(net.inputs)): x[None]})
    assert relative(y, theirs[0]) < 1e-5
    # And it would be seen if an LRN did nothing, or another.
    norms = [key for key, layer in net.layers.items() if hasattr(layer, "spec")]
    assert len(norms) == 2
    for key in norms:
        for other in (elementwise(np.array), net[key].replace(channel_window_size=1)):
            assert relative(net.replace(key, other)(x), expected) > 1e-2


# GoogLeNet, with trained weights, which are no part of lrnorm: examples/googlenet.py says where
# they are looked for. The figures known of them are those of tests/test_googlenet.py.

GUESSES = {"chelsea": "Egyptian cat", "coffee": "espresso", "rocket": "missile"}
NEAR = 1e-3


@pytest.fixture(scope="module")
def trained():
    """The example, the net of torch layers, the module it is compared with, and pictures."""
    pytest.importorskip("torch")
    data = pytest.importorskip("skimage.data")
    if not (ROOT / "examples").is_dir():
        pytest.skip("the examples are not in the source distribution")
    sys.path.append(str(ROOT / "examples"))
    import googlenet
    import googlenet_net

    try:
        net = googlenet_net.trained()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    x = np.concatenate([googlenet.prepared(getattr(data, name)()) for name in GUESSES])
    return googlenet, net, googlenet.load(googlenet.folder()), x


@pytest.fixture(scope="module")
def expected(trained):
    torch, (googlenet, _, module, x) = pytest.importorskip("torch"), trained
    probabilities = googlenet.probabilities(module, torch.tensor(x)).numpy()
    names = googlenet.labels(googlenet.folder())
    assert [names[i] for i in probabilities.argmax(axis=1)] == list(GUESSES.values())
    return probabilities


def test_googlenet_as_a_net_of_nets(trained, expected):
    _, net, _, x = trained
    assert net.ports == {"Input": (3, 224, 224), "Output": (1000,)}
    lines = [" ".join(line.split()) for line in str(net).splitlines()]
    assert "inception_5b / concat Concat 1024 × 7 × 7" in lines
    assert information(net, "ArraysTotalElementCount") == 6_998_552
    assert np.abs(net(x) - expected).max() < NEAR
    assert np.abs(net(x[0]) - expected[0]).max() < NEAR
    assert net(x[0], port=NetPort("inception_3a", "concat")).shape == (256, 28, 28)
    counts = information(net, "LayerTypeCounts")  # lazy layers are what they become by now
    assert (counts["Conv2d"], counts["Concat"]) == (57, 9)
    assert counts["LocalResponseNormalizationLayer"] == 2


def exported(module):
    torch = pytest.importorskip("torch")
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated, and quick
        torch.onnx.export(
            torch.nn.Sequential(module, torch.nn.Softmax(dim=1)).eval(),
            (torch.zeros(2, 3, 224, 224),),
            stream,
            dynamo=False,
            input_names=["picture"],
            output_names=["probabilities"],
            dynamic_axes={"picture": {0: "n"}, "probabilities": {0: "n"}},
        )
    return onnx.load_from_string(stream.getvalue())


def test_googlenet_by_way_of_onnx(trained, expected):
    _, _, module, x = trained
    model = lrnorm.onnx.fuse(exported(module))
    assert len(lrnorm.onnx.specs(model)) == 2
    net = lrnorm.onnx.load(model)
    assert net.ports == {"picture": (3, 224, 224), "probabilities": (1000,)}
    assert len(net) == 5
    assert np.abs(net(x) - expected).max() < NEAR
    assert np.abs(net(x[1]) - expected[1]).max() < NEAR
    cat = net.replace({name: elementwise(np.array) for name in lrnorm.onnx.specs(model)})(x[0])
    assert np.abs(cat - expected[0]).max() > 0.5  # it takes the cat for a stethoscope


def test_googlenet_as_a_node_graph(trained, expected):
    _, net, _, x = trained
    model = information(net, "NodeGraph")
    assert np.abs(lrnorm.onnx.load(model)(x[2]) - expected[2]).max() < NEAR
    assert len(model.graph.node) == len(information(net, "LayersList"))
