"""The conventions of all frameworks as published, restated beside the code's own table."""

from __future__ import annotations

from typing import Any

import pytest

from lrnorm import ConventionError

# Words for window, alpha, beta, bias · the window · what an even
# width does · whether alpha is divided · the defaults.
TABLE: dict[str, tuple[str, str, str, str, str]] = {
    "alexnet_paper": ("n alpha beta k", "width", "S+", "1", "5 1e-4 .75 2"),
    "arm_compute": ("norm_size alpha beta kappa", "width", "-", "n", "5 1e-4 .5 1"),
    "burn": ("size alpha beta k", "width", "R", "n", "! 1e-4 .75 1"),
    "caffe": ("local_size alpha beta k", "width", "-", "n", "5 1 .75 1"),
    "caffe2": ("size alpha beta bias", "width", "-", "n", "! 0 0 1"),
    "caffe_within": ("local_size alpha beta k", "box", "-", "n", "5 1 .75 1"),
    "chainer": ("n alpha beta k", "width", "S+", "1", "5 1e-4 .75 2"),
    "cntk": ("depth_radius alpha beta bias", "radius", "", "n", "! ! ! !"),
    "coreml": ("size alpha beta k", "width", "L", "n", "! 1e-4 .75 1"),
    "cudnn": ("lrnN lrnAlpha lrnBeta lrnK", "width", "R", "n", "5 1e-4 .75 2"),
    "cudnn_divisive": ("lrnN lrnAlpha lrnBeta lrnK", "box", "R", "n", "5 1e-4 .75 2"),
    "darknet": ("size alpha beta kappa", "width", "R", "1", "5 1e-4 .75 1"),
    "directml": ("LocalSize Alpha Beta Bias", "width", "-", "n", "! 1e-4 .75 1"),
    "keras": ("n alpha beta k", "width", "-", "1", "5 1e-4 .75 2"),
    "lasagne": ("n alpha beta k", "width", "-", "1", "5 1e-4 .75 2"),
    "lrnorm": ("channel_window_size alpha beta bias", "radius", "", "n", "2 1 .5 1"),
    "matconvnet": ("N ALPHA BETA KAPPA", "width", "R", "1", "! ! ! !"),
    "matlab": ("WindowChannelSize Alpha Beta K", "width", "R", "n", "5 1e-4 .75 2"),
    "mindspore": ("depth_radius alpha beta bias", "radius", "", "1", "5 1 .5 1"),
    "miopen": ("lrnN lrnAlpha lrnBeta lrnK", "width", "-", "n", "! ! ! !"),
    "mnn": ("local_size alpha beta bias", "width", "L", "n", "! 0 0 1"),
    "mnn_within": ("local_size alpha beta bias", "box", "L", "n", "! 0 0 1"),
    "mxnet": ("nsize alpha beta knorm", "width", "-", "n", "! 1e-4 .75 2"),
    "ncnn": ("local_size alpha beta bias", "width", "S+", "n", "5 1 .75 1"),
    "ncnn_within": ("local_size alpha beta bias", "box", "L", "n", "5 1 .75 1"),
    "nnapi": ("radius alpha beta bias", "radius", "", "1", "! ! ! !"),
    "nnef": ("size alpha beta bias", "width", "R", "n", "! 1 .5 1"),
    "onednn": ("local_size alpha beta k", "width", "S-", "n", "! ! ! !"),
    "onednn_within": ("local_size alpha beta k", "box", "S-", "n", "! ! ! !"),
    "onnx": ("size alpha beta bias", "width", "R", "n", "! 1e-4 .75 1"),
    "onnxruntime": ("size alpha beta bias", "width", "-", "n", "! 1e-4 .75 1"),
    "opencv": ("local_size alpha beta bias", "width", "-", "n", "5 1 .75 1"),
    "openvino": ("size alpha beta bias", "width", "S-", "n", "5 1 .5 1"),
    "paddle": ("size alpha beta k", "width", "L", "n", "! 1e-4 .75 1"),
    "paddle_lrn": ("n alpha beta k", "width", "-", "1", "5 1e-4 .75 2"),
    "qnn": ("radius alpha beta bias", "radius", "", "1", "! ! ! !"),
    "tensorflow": ("depth_radius alpha beta bias", "radius", "", "1", "5 1 .5 1"),
    "tensorrt": ("windowSize alpha beta k", "width", "-", "n", "! ! ! !"),
    "tfjs": ("depthRadius alpha beta bias", "radius", "", "1", "5 1 .5 1"),
    "tflite": ("radius alpha beta bias", "radius", "", "1", "5 1 .5 1"),
    "torch": ("size alpha beta k", "width", "L", "n", "! 1e-4 .75 1"),
    "torch7": ("size alpha beta k", "width", "-", "n", "! 1e-4 .75 1"),
    "tvm": ("nsize alpha beta knorm", "width", "-", "n", "! 1e-4 .75 2"),
    "wolfram": ("channel_window_size alpha beta bias", "radius", "", "n", "2 1 .5 1"),
}
EVEN_FOUR = {"R": (1, 2), "L": (2, 1), "S-": (1, 1), "S+": (2, 2)}
BOXES = sorted(name for name, row in TABLE.items() if row[1] == "box")
LINES = sorted(set(TABLE) - set(BOXES))
LIMITED = ("cudnn", "matlab", "onnxruntime", "tensorrt")


def words(name: str, *values: Any) -> dict[str, Any]:
    return dict(zip(TABLE[name][0].split(), values, strict=True))


def refused(call: Any, *arguments: Any, **keywords: Any) -> ConventionError:
    with pytest.raises(ConventionError) as caught:
        call(*arguments, **keywords)
    assert isinstance(caught.value, ValueError)
    assert caught.value.reason in str(caught.value)
    return caught.value
