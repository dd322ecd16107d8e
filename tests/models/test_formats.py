"""Each format: what is read from a file that a framework wrote, or that follows its schema."""

from __future__ import annotations

import base64
import shutil
import zlib
from pathlib import Path
from typing import Any

import model_files
import numpy as np
import pytest
from model_files import DATA
from refusals import refused

from lrnorm import FileError, LRNSpec, conventions, models

ALEXNET = LRNSpec(2e-5, 0.75, 1.0, 2, 2)
NEAR_ONE = LRNSpec(0.18, 0.6, 2.0, 2, 2)  # size 5, alpha .9, beta .6, k 2


def codes(lrn: models.Found) -> list[str]:
    return [remark.code for remark in lrn.remarks]


# Caffe


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("caffe_alexnet_deploy.prototxt", ["norm1", "norm2"]),
        ("caffe_alexnet_deploy_v1.prototxt", ["norm1", "norm2"]),
        ("caffe_googlenet_deploy.prototxt", ["pool1/norm1", "conv2/norm2"]),
    ],
)
def test_caffe_nets_as_people_have_them(shared: Path, file: str, names: list[str]) -> None:
    found = models.find(shared / file)
    assert [lrn.name for lrn in found] == names
    for lrn in found:
        assert (lrn.convention, lrn.spec, lrn.axis, lrn.remarks) == ("caffe", ALEXNET, 1, ())
        assert lrn.words == {"local_size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}


@pytest.mark.parametrize("file", ["caffe_cifar10_full", "caffe_cifar10_full_train_test"])
def test_within_channel_is_a_box_over_height_and_width(shared: Path, file: str) -> None:
    found = models.find(shared / f"{file}.prototxt")
    assert [lrn.name for lrn in found] == ["norm1", "norm2"]
    for lrn in found:
        assert (lrn.convention, lrn.axis) == ("caffe_within", (2, 3))
        assert lrn.words == {"local_size": 3, "alpha": 5e-5, "beta": 0.75, "k": 1.0}
        assert lrn.spec == LRNSpec(5e-5 / 9, 0.75, 1.0, (1, 1), (1, 1))


@pytest.mark.parametrize("generation", [2014, 2013, 2012])
def test_caffemodel(save: Any, one: Any, generation: int) -> None:
    lrn = one(save("net.caffemodel", model_files.caffemodel(generation=generation)))
    assert (lrn.name, lrn.convention, lrn.spec) == ("norm1", "caffe", NEAR_ONE)
    assert lrn.words == {"local_size": 5, "alpha": 0.9, "beta": 0.6, "k": 2.0}


def test_caffemodel_is_recognised_whatever_its_name(save: Any, one: Any) -> None:
    assert one(save("weights.bin", model_files.caffemodel())).convention == "caffe"


def test_a_net_of_protobuf_itself(shared: Path, save: Any) -> None:
    """The text of a real net, parsed and written by protobuf, gives the same LRNs."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory, text_format

    kinds = {"string": 9, "uint32": 13, "float": 2, "message": 11}
    file = descriptor_pb2.FileDescriptorProto(name="net.proto", package="t", syntax="proto2")

    def declare(name: str, /, **fields: tuple[int, str]) -> None:
        declared = file.message_type.add(name=name)
        for key, (number, kind) in fields.items():
            entry = declared.field.add(name=key, number=number, label=1, type=kinds.get(kind, 11))
            if kind not in kinds:
                entry.type_name = f".t.{kind}"
                entry.label = 3 if key == "layer" else 1

    numbers = {"alpha": (2, "float"), "beta": (3, "float"), "k": (5, "float")}
    declare("Lrn", local_size=(1, "uint32"), **numbers)
    declare("Layer", name=(1, "string"), type=(2, "string"), lrn_param=(118, "Lrn"))
    declare("Net", name=(1, "string"), layer=(100, "Layer"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    net = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Net"))()
    text = (shared / "caffe_googlenet_deploy.prototxt").read_text()
    text_format.Parse(text, net, allow_unknown_field=True)
    found = models.find(save("net.caffemodel", net.SerializeToString()))
    assert found == models.find(shared / "caffe_googlenet_deploy.prototxt")


def test_layers_that_depend_on_the_phase_are_all_listed(save: Any) -> None:
    text = """
    layer { name: "norm1" type: "LRN" include { phase: TRAIN } lrn_param { alpha: 1e-4 } }
    layer { name: "norm1" type: "LRN" include { phase: TEST stage: "deploy" } }
    layer { name: "norm2" type: "LRN" exclude { phase: TRAIN } }
    """
    train, test, third = models.find(save("net.prototxt", text))
    assert [lrn.words["alpha"] for lrn in (train, test, third)] == [1e-4, 1.0, 1.0]
    assert "in the net only for phase TRAIN" in train.remarks[0].text
    assert "in the net only for phase TEST and stage deploy" in test.remarks[0].text
    assert "not in the net for phase TRAIN" in third.remarks[0].text
    assert {remark.kind for lrn in (train, test, third) for remark in lrn.remarks} == {"note"}


def test_prototxt_of_2012(save: Any, one: Any) -> None:
    text = 'layers { layer { name: "n" type: "lrn" local_size: 3 alpha: .9 k: 2 } bottom: "a" }'
    lrn = one(save("net.prototxt", text))
    assert lrn.words == {"local_size": 3, "alpha": 0.9, "beta": 0.75, "k": 2.0}


@pytest.mark.parametrize(
    "text",
    [
        'layer{name:"n"type:"LRN"lrn_param{alpha:.9}}',
        "layer <name: 'n' type: \"LRN\" lrn_param < alpha: 0.9f > >",
        'layer { # norm }\n name: "n", type: "L" "RN"; lrn_param { alpha: 9e-1 } }',
        'layer { name: "n" type: "LRN" unknown: [1, 2, "x"] lrn_param { alpha: 0.9 } new {} }',
    ],
)
def test_spellings_of_the_text_form(save: Any, one: Any, text: str) -> None:
    assert one(save("net.prototxt", text)).words["alpha"] == 0.9


def test_what_caffe_refuses_has_no_spec(save: Any, one: Any) -> None:
    text = 'layer { name: "n" type: "LRN" lrn_param { local_size: 4 } }'
    lrn = one(save("net.prototxt", text))
    assert lrn.spec is None and codes(lrn) == ["refused"]
    assert "local_size is a width and must be odd" in lrn.remarks[0].text


# TensorFlow


@pytest.mark.parametrize("name", ["graph.pb", "graph.pbtxt", "saved", "saved/saved_model.pb"])
def test_tensorflow(name: str) -> None:
    first, second = models.find(DATA / name)
    assert first.name.endswith("norm1") and second.name.endswith("norm2")
    assert first.words == {"depth_radius": 2, "alpha": 0.9, "beta": 0.6, "bias": 1.25}
    assert second.words == {"depth_radius": 5, "alpha": 1.0, "beta": 0.5, "bias": 1.0}
    assert (first.spec, first.axis) == (LRNSpec(0.9, 0.6, 1.25, 2, 2), -1)
    assert (first.convention, first.dtype) == ("tensorflow", "float32")
    assert first.shape in (None, (2, 5, 4, 7))


def test_nodes_in_functions_have_the_function_in_their_name() -> None:
    assert models.find(DATA / "saved")[0].name.endswith("/norm1")


def test_tensorflow_lite() -> None:
    first, second = models.find(DATA / "m.tflite")
    assert first.words == {"radius": 2, "alpha": 0.9, "beta": 0.6, "bias": 1.25}
    assert second.words == {"radius": 5, "alpha": 1.0, "beta": 0.5, "bias": 1.0}
    assert first.spec == LRNSpec(0.9, 0.6, 1.25, 2, 2)
    assert (first.name, first.shape, first.dtype) == ("norm1", (2, 5, 4, 7), "float32")


# Torch7


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize(
    ("kind", "convention", "keys"),
    [
        ("nn.SpatialCrossMapLRN", "torch7", ("size", "alpha", "beta", "k")),
        ("inn.SpatialCrossResponseNormalization", "torch7", ("size", "alpha", "beta", "k")),
        ("cudnn.SpatialCrossMapLRN", "cudnn", ("lrnN", "lrnAlpha", "lrnBeta", "lrnK")),
    ],
)
def test_torch7(save: Any, one: Any, ascii: bool, kind: str, convention: str, keys: Any) -> None:
    data = model_files.torch7(ascii=ascii, kind=kind, size=5, alpha=0.9, beta=0.6, k=2)
    lrn = one(save("net.t7", data))
    assert (lrn.name, lrn.convention, lrn.spec, lrn.axis) == ("2.2", convention, NEAR_ONE, -3)
    assert lrn.words == dict(zip(keys, (5, 0.9, 0.6, 2.0), strict=True))


def test_torch7_defaults_and_unknown_classes(save: Any, one: Any) -> None:
    assert one(save("a.t7", model_files.torch7(size=5))).spec == ALEXNET
    other = one(save("b.t7", model_files.torch7(kind="ccn2.SpatialCrossResponseNormalization")))
    assert other.spec is None and "lrnorm.identify" in other.remarks[0].text


# OpenVINO


def test_openvino() -> None:
    pytest.importorskip("defusedxml")
    first, second = models.find(DATA / "ov.xml")
    assert (first.spec, first.axis) == (NEAR_ONE, 1)
    assert first.words == {"size": 5, "alpha": 0.9, "beta": 0.6, "bias": 2.0, "axes": [1]}
    assert (first.shape, first.dtype) == ((2, 7, 5, 4), "float32")
    assert (second.axis, second.words["axes"]) == ((2, 3), [2, 3])
    assert second.spec == LRNSpec(0.1, 0.75, 1.0, (1, 1), (1, 1))


def test_openvino_without_its_bin(tmp_path: Path) -> None:
    pytest.importorskip("defusedxml")
    shutil.copy(DATA / "ov.xml", tmp_path / "net.xml")
    found = models.find(tmp_path / "net.xml")
    assert all("axes_not_known" in codes(lrn) and lrn.axis == 1 for lrn in found)


@pytest.mark.parametrize(
    ("data", "words", "axis"),
    [
        (
            '<data alpha="9.9999997e-05" beta="0.75" k="2" local-size="5" region="across"/>',
            {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 2.0, "axes": [1]},
            1,
        ),
        (
            '<norm_data alpha="5e-05" beta="0.75" local-size="3" region="same"/>',
            {"size": 3, "alpha": 5e-5, "beta": 0.75, "bias": 1.0, "axes": [2, 3]},
            (2, 3),
        ),
    ],
)
def test_openvino_of_old(save: Any, one: Any, data: str, words: Any, axis: Any) -> None:
    pytest.importorskip("defusedxml")
    lrn = one(save("net.xml", model_files.old_openvino(data)))
    assert (lrn.words, lrn.axis, lrn.convention) == (words, axis, "openvino")
    assert (lrn.shape, lrn.dtype) == ((1, 96, 55, 55), "float16")


# Core ML


def test_core_ml_network() -> None:
    first, second = models.find(DATA / "nn.mlmodel")
    assert (first.name, first.spec, first.axis) == ("norm1", NEAR_ONE, -3)
    assert second.words == {"size": 3, "alpha": 1e-4, "beta": 0.75, "k": 1.0}


def test_core_ml_program_in_float16_gives_the_decimals_that_were_meant() -> None:
    first, second = models.find(DATA / "p16.mlpackage")
    assert first.words == {"size": 5, "alpha": 0.9, "beta": 0.6, "k": 2.0}
    assert second.words == {"size": 4, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
    assert (first.shape, first.dtype) == ((2, 7, 5, 4), "float16")
    assert second.spec == LRNSpec(2.5e-5, 0.75, 1.0, 2, 1) and "even_window" in codes(second)


def test_core_ml_leaves_zeros_out(save: Any, one: Any) -> None:
    layer = model_files.message((1, "n"), (180, model_files.message((3, 5))))
    network = model_files.message((1, layer))
    lrn = one(save("m.mlmodel", model_files.message((1, 1), (500, network))))
    assert lrn.words == {"size": 5, "alpha": 0.0, "beta": 0.0, "k": 0.0}


# ncnn, MXNet, Darknet, NNEF


def test_ncnn(shared: Path) -> None:
    for lrn in models.find(shared / "ncnn_alexnet.param"):
        assert (lrn.spec, lrn.axis, lrn.convention) == (ALEXNET, 0, "ncnn")
        assert lrn.words == {"local_size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}


def test_ncnn_keys(save: Any, one: Any) -> None:
    lrn = one(save("n.param", "7767517\n1 2\nLRN n 1 1 a b 0=0 1=3 2=9.0e-01 3=0.6 4=2.0\n"))
    assert lrn.words == {"local_size": 3, "alpha": 0.9, "beta": 0.6, "bias": 2.0}
    within = one(save("b.param", "7767517\n1 2\nLRN n 1 1 a b 0=1 1=3 2=0.9\n"))
    assert (within.convention, within.axis) == ("ncnn_within", (1, 2))
    assert within.spec == LRNSpec(0.1, 0.75, 1.0, (1, 1), (1, 1))


@pytest.mark.parametrize("key", ["attrs", "attr", "param"])
def test_mxnet(save: Any, one: Any, key: str) -> None:
    lrn = one(save("net-symbol.json", model_files.mxnet(key, nsize="5", alpha="0.9", knorm="2")))
    assert (lrn.name, lrn.axis) == ("norm1", 1)
    assert lrn.words == {"nsize": 5, "alpha": 0.9, "beta": 0.75, "knorm": 2.0}


def test_darknet(save: Any) -> None:
    layers = "[convolutional]\nsize=3\n[lrn]\nsize=5\nkappa=2\n[normalization]\n"
    text = f"[net]\nwidth=8\n\n# first\n{layers}"
    first, second = models.find(save("net.cfg", text))
    assert (first.name, first.axis) == ("lrn:1", 0)
    assert first.words == {"size": 5, "alpha": 1e-4, "beta": 0.75, "kappa": 2.0}
    assert second.words == {"size": 5, "alpha": 1e-4, "beta": 0.75, "kappa": 1.0}
    assert codes(second) == ["alpha_undivided"]


def test_nnef(save: Any, one: Any) -> None:
    text = (
        "version 1.0;\ngraph net(x) -> (y)\n{\n  y = local_response_normalization(x, "
        "size = [1, 5, 1, 1], alpha = 0.9, beta = 0.6, bias = 2.0);\n}\n"
    )
    lrn = one(save("graph.nnef", text))
    assert (lrn.name, lrn.spec, lrn.axis) == ("y", NEAR_ONE, 1)
    assert one(save("graph.nnef", text).parent).spec == NEAR_ONE


# MatConvNet


@pytest.mark.parametrize("compressed", [False, True])
def test_matconvnet(tmp_path: Path, compressed: bool) -> None:
    io = pytest.importorskip("scipy.io")
    layers = np.empty((1, 3), object)
    weights = np.random.default_rng(0).normal(size=(11, 11, 3, 96)).astype("float32")
    layers[0, 0] = {"type": "conv", "name": "conv1", "weights": weights}
    layers[0, 1] = {"type": "normalize", "name": "norm1", "param": [5.0, 2.0, 0.9 / 5, 0.6]}
    layers[0, 2] = {"type": "lrn", "name": "norm2", "param": np.array([4.0, 1.0, 0.5, 0.75])}
    io.savemat(tmp_path / "net.mat", {"layers": layers, "meta": 1}, do_compression=compressed)
    first, second = models.find(tmp_path / "net.mat")
    assert (first.name, first.spec, first.axis) == ("norm1", NEAR_ONE, 2)
    assert second.words == {"N": 4, "KAPPA": 1.0, "ALPHA": 0.5, "BETA": 0.75}
    assert second.spec == LRNSpec(0.5, 0.75, 1.0, 1, 2)


def test_matconvnet_dagnn(tmp_path: Path, one: Any) -> None:
    io = pytest.importorskip("scipy.io")
    net = {"layers": {"name": "n", "type": "dagnn.LRN", "block": {"numInputDer": 1.0}}}
    io.savemat(tmp_path / "net.mat", {"net": net})
    assert one(tmp_path / "net.mat").spec == ALEXNET


def test_matlab_7_3_says_how_to_save_it(save: Any) -> None:
    path = save("net.mat", b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))
    with refused(FileError, str(path), "option -v7"):
        models.find(path)


# Keras


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": "n", **config}}


def test_a_real_configuration_of_keras(tmp_path: Path) -> None:
    config = (DATA / "keras_config.json").read_text()
    model = models.read(model_files.keras_archive(tmp_path / "net.keras", config))
    known, hidden = model.lrns
    assert (known.name, known.spec, known.axis) == ("lrn1", LRNSpec(1e-4, 0.75, 2.0, 2, 2), -1)
    assert "custom_class" in codes(known)
    assert (hidden.name, hidden.spec, codes(hidden)) == ("lam", None, ["lambda"])
    assert "lrnorm.identify" in hidden.remarks[0].text
    assert [remark.code for remark in model.remarks] == ["lambda"]  # the other Lambda


@pytest.mark.parametrize(
    ("config", "convention", "spec"),
    [
        ({"alpha": 0.9, "k": 2, "beta": 0.6, "n": 5}, "keras", LRNSpec(0.9, 0.6, 2.0, 2, 2)),
        ({"depth_radius": 2, "bias": 2.0, "alpha": 0.9}, "tensorflow", LRNSpec(0.9, 0.5, 2, 2, 2)),
        ({"radius": 2, "alpha": 0.9}, "tensorflow", LRNSpec(0.9, 0.5, 1.0, 2, 2)),
        ({"size": 5, "alpha": 0.9, "beta": 0.6, "k": 2.0}, "torch", NEAR_ONE),
        ({"size": 5, "alpha": 0.9, "beta": 0.6, "bias": 2.0}, "torch", NEAR_ONE),
        ({"local_size": 5, "alpha": 0.9, "beta": 0.6, "k": 2.0}, "caffe", NEAR_ONE),
    ],
)
def test_custom_classes(tmp_path: Path, one: Any, config: Any, convention: str, spec: Any) -> None:
    built = model_files.keras_config(layer("LRN2D", **config))
    lrn = one(model_files.keras_archive(tmp_path / "net.keras", built))
    assert (lrn.convention, lrn.spec) == (convention, spec)
    assert codes(lrn)[0] == "custom_class"


def test_a_custom_class_without_known_numbers_is_listed(tmp_path: Path, one: Any) -> None:
    built = model_files.keras_config(layer("MyLRN", depth=3))
    lrn = one(model_files.keras_archive(tmp_path / "net.keras", built))
    assert (lrn.spec, lrn.words) == (None, {"depth": 3})


def test_nets_inside_nets_and_operators_of_keras_2(tmp_path: Path) -> None:
    call = {
        "class_name": "TFOpLambda",
        "config": {"name": "tf.nn.lrn", "function": "nn.local_response_normalization"},
        "inbound_nodes": [["x", 0, 0, {"depth_radius": 2, "alpha": 0.9}]],
    }
    node = layer(
        "TensorFlowOpLayer", node_def='name: "n" op: "LRN" attr { key: "alpha" value { f: 0.9 } }'
    )
    inner = {"class_name": "Functional", "config": {"name": "inner", "layers": [call, node]}}
    path = model_files.keras_archive(tmp_path / "n.keras", model_files.keras_config(inner))
    first, second = models.find(path)
    assert (first.name, first.spec) == ("inner/tf.nn.lrn", LRNSpec(0.9, 0.5, 1.0, 2, 2))
    assert (second.name, second.spec) == ("inner/n", LRNSpec(0.9, 0.5, 1.0, 5, 5))


def test_h5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["model_config"] = (DATA / "keras_config.json").read_text().encode()
    assert [lrn.name for lrn in models.find(tmp_path / "net.h5")] == ["lrn1", "lam"]
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["conv1"] = np.ones(3)
    path = tmp_path / "weights.h5"
    with refused(FileError, str(path), "without Keras's model_config (it holds conv1)"):
        models.find(path)


# MNN, Paddle, Wolfram


def test_mnn(save: Any, one: Any) -> None:
    pytest.importorskip("flatbuffers")
    lrn = one(save("net.mnn", model_files.mnn(localSize=5, alpha=0.9, beta=0.6, bias=2.0)))
    assert (lrn.name, lrn.spec, lrn.axis) == ("norm1", NEAR_ONE, 1)
    lrn = one(save("even.mnn", model_files.mnn(localSize=4, alpha=1.0, beta=0.75)))
    assert lrn.spec == LRNSpec(0.25, 0.75, 1.0, 2, 1)
    within = one(save("box.mnn", model_files.mnn(regionType=1, localSize=3, alpha=0.9, beta=0.6)))
    assert (within.axis, within.spec) == ((2, 3), LRNSpec(0.1, 0.6, 1.0, (1, 1), (1, 1)))


def test_paddle(save: Any, one: Any) -> None:
    lrn = one(save("net.pdmodel", model_files.paddle(n=5, alpha=0.18, beta=0.6)))
    assert (lrn.name, lrn.spec, lrn.axis) == ("y", NEAR_ONE, 1)
    assert lrn.words == {"n": 5, "alpha": 0.18, "beta": 0.6, "k": 2.0}
    assert (lrn.shape, lrn.dtype) == ((None, 7, 5, 4), "float32")
    assert one(save("last.pdmodel", model_files.paddle(data_format="NHWC"))).axis == -1


def wlnet(path: Path, network: bytes) -> Path:
    with pytest.importorskip("h5py").File(path, "w") as file:
        file["Network"] = network
        file["Version"] = b"13.0"
    return path


def test_wolfram(tmp_path: Path) -> None:
    packed = base64.b64encode(zlib.compress(model_files.wolfram_expression()))
    first, second = models.find(wlnet(tmp_path / "net.wlnet", b"1:" + packed))
    assert (first.name, first.spec, first.convention) == ("norm", NEAR_ONE, "wolfram")
    assert (second.name, second.spec) == ("map/Net", LRNSpec(0.2, 0.5, 1.0, 2, 2))
    assert first.axis == second.axis == 0


def test_a_net_of_wolfram_11_0_is_text(tmp_path: Path) -> None:
    path = wlnet(tmp_path / "net.wlnet", b'<|"Type" -> "Chain"|>')
    with refused(FileError, str(path), "not compressed, as in files of Wolfram 11"):
        models.find(path)


# All of them


def test_words_mean_the_spec(save: Any) -> None:
    """The convention reads the words of every result as the same spec."""
    files = [DATA / name for name in ("graph.pb", "m.tflite", "nn.mlmodel", "p16.mlpackage")]
    files.append(save("net.caffemodel", model_files.caffemodel()))
    files.append(save("net.t7", model_files.torch7(size=5)))
    files.append(save("net.pdmodel", model_files.paddle()))
    for path in files:
        for lrn in models.find(path):
            assert lrn.convention is not None
            assert conventions.read(lrn.convention, **lrn.words) == lrn.spec, path


def test_a_result_as_plain_data() -> None:
    import json

    data = models.read(DATA / "p16.mlpackage").as_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["lrns"][0]["spec"] == {
        "scale": 0.18,
        "beta": 0.6,
        "bias": 2.0,
        "before": 2,
        "after": 2,
    }
    assert data["operators"] == {"cast": 2, "local_response_norm": 2}


def test_a_model_without_an_lrn(save: Any) -> None:
    path = save("net.prototxt", 'layer { name: "a" type: "ReLU" }\nlayer { type: "ReLU" }')
    assert models.find(path) == []
    assert models.read(path).contents == "Caffe net (.prototxt) of 2 operators (2 ReLU)"


def test_the_formats_that_are_listed() -> None:
    listed = models.formats()
    assert listed["caffe_text"]["endings"] == [".prototxt"]
    assert {row["needs"] for row in listed.values()} == {"", "defusedxml", "h5py"}
