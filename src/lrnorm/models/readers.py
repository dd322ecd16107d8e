"""The table of formats. A further format is one file and one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lrnorm.models import (
    caffe,
    coreml,
    darknet,
    keras,
    matconvnet,
    mnn,
    mxnet,
    ncnn,
    nnef,
    onnx,
    openvino,
    paddle,
    pytorch,
    tensorflow,
    tflite,
    torch7,
    torchscript,
    wolfram,
)
from lrnorm.models.found import ModelFile
from lrnorm.models.source import Source


@dataclass(frozen=True)
class Reader:
    """One format: what it is called, how its content is recognised, the endings people give it, and
    the package that reading asks for, if any."""

    title: str
    recognises: Callable[[Source], bool]
    read: Callable[[Source], ModelFile]
    endings: tuple[str, ...]
    needs: str = ""


# In the order in which they are tried: marks of a format first, then what only fits its rules.
READERS: dict[str, Reader] = {
    "tflite": Reader("TensorFlow Lite model", tflite.is_tflite, tflite.read, (".tflite", ".lite")),
    "ncnn": Reader("ncnn model", ncnn.is_param, ncnn.read, (".param",)),
    "torch7": Reader("Torch7 file", torch7.is_t7, torch7.read, (".t7", ".th", ".net")),
    "wolfram": Reader("Wolfram net", wolfram.is_wlnet, wolfram.read, (".wlnet",), "h5py"),
    "keras_h5": Reader(
        "Keras model in HDF5", keras.is_keras_h5, keras.read_h5, (".h5", ".hdf5"), "h5py"
    ),
    "keras": Reader("Keras model", keras.is_keras, keras.read, (".keras",)),
    "torch_export": Reader(
        "PyTorch exported program", pytorch.is_program, pytorch.read_program, (".pt2",)
    ),
    "torchscript": Reader(
        "TorchScript archive", torchscript.is_script, torchscript.read, (".pt", ".pth", ".ptl")
    ),
    "torch": Reader(
        "PyTorch module", pytorch.is_pickle, pytorch.read_pickle, (".pt", ".pth", ".pkl", ".pickle")
    ),
    "matconvnet": Reader("MatConvNet model", matconvnet.is_mat, matconvnet.read, (".mat",)),
    "matlab73": Reader("MATLAB file", matconvnet.is_newer_mat, matconvnet.read_newer, ()),
    "openvino": Reader("OpenVINO IR", openvino.is_ir, openvino.read, (".xml",), "defusedxml"),
    "keras_config": Reader("Keras configuration", keras.is_config, keras.read_config, ()),
    "mxnet": Reader("MXNet symbol", mxnet.is_symbol, mxnet.read, (".json",)),
    "nnef": Reader("NNEF graph", nnef.is_nnef, nnef.read, (".nnef",)),
    "tensorflow_text": Reader(
        "TensorFlow graph", tensorflow.is_text, tensorflow.read_text, (".pbtxt",)
    ),
    "caffe_text": Reader("Caffe net", caffe.is_text, caffe.read_text, (".prototxt",)),
    "darknet": Reader("Darknet net", darknet.is_cfg, darknet.read, (".cfg",)),
    "tensorflow_saved": Reader(
        "TensorFlow SavedModel", tensorflow.is_saved, tensorflow.read_saved, ()
    ),
    "onnx": Reader("ONNX model", onnx.is_onnx, onnx.read, (".onnx",)),
    "coreml": Reader("Core ML model", coreml.is_model, coreml.read, (".mlmodel", ".mlpackage")),
    "caffe": Reader("Caffe model", caffe.is_binary, caffe.read_binary, (".caffemodel",)),
    "tensorflow": Reader("TensorFlow graph", tensorflow.is_graph, tensorflow.read_graph, (".pb",)),
    "paddle": Reader("Paddle program", paddle.is_program, paddle.read, (".pdmodel",)),
    "mnn": Reader("MNN model", mnn.is_mnn, mnn.read, (".mnn",)),
}
