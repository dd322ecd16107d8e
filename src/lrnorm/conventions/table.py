"""How each framework writes the five numbers: one row each, read by `lrnorm.conventions`.

Each row was read from the framework's own source or documentation, which its `source` names.
"""

from __future__ import annotations

from lrnorm.conventions.box_table import BOX_ROWS
from lrnorm.conventions.measures import (
    RADIUS_POSITIVE,
    SMALLEST,
    WIDTH_L,
    WIDTH_ODD,
    WIDTH_ODD_KNOWN,
    WIDTH_R,
    WIDTH_WIDENED,
    Limit,
    Row,
    Switch,
    one_of,
    spell_c,
    spell_wolfram,
)
from lrnorm.conventions.radius_table import RADIUS_ROWS

_SIZE_BIAS = ("size", "alpha", "beta", "bias")
_SIZE_K = ("size", "alpha", "beta", "k")
_LOCAL_SIZE_K = ("local_size", "alpha", "beta", "k")
_LOCAL_SIZE_BIAS = ("local_size", "alpha", "beta", "bias")
_DEPTH_RADIUS = ("depth_radius", "alpha", "beta", "bias")
_USUAL = (None, 1e-4, 0.75, 1.0)
_ALL_REQUIRED = (None, None, None, None)

_ROWS: dict[str, Row] = {
    "alexnet_paper": Row(
        title="AlexNet's paper",
        words=("n", "alpha", "beta", "k"),
        defaults=(5, 1e-4, 0.75, 2.0),
        measure=WIDTH_WIDENED,
        divides=False,
        layout="",
        axis="the kernel maps at one position",
        call="n = $n, k = $k, α = $alpha, β = $beta",
        source="Krizhevsky, Sutskever & Hinton (2012), ImageNet Classification with Deep "
        "Convolutional Neural Networks, section 3.3",
    ),
    "arm_compute": Row(
        title="Arm Compute Library",
        words=("norm_size", "alpha", "beta", "kappa"),
        defaults=(5, 1e-4, 0.5, 1.0),
        measure=WIDTH_ODD,
        divides_if="is_scaled",
        switches={"is_scaled": Switch(True, one_of(True, False))},
        axis="C, by the data layout: NCHW or NHWC",
        call="arm_compute::NormalizationLayerInfo(arm_compute::NormType::CROSS_MAP, $norm_size, "
        "$alpha, $beta, $kappa, $is_scaled)",
        source="arm_compute/core/Types.h, NormalizationLayerInfo",
        remark="alpha is divided unless is_scaled=False",
        spell=spell_c,
    ),
    "burn": Row(
        title="burn, tinygrad",
        words=_SIZE_K,
        defaults=_USUAL,
        measure=WIDTH_R,
        axis="1 of (N, C, …)",
        call="LocalResponseNormConfig::new($size).with_alpha($alpha).with_beta($beta)"
        ".with_k($k).init()",
        source="burn-nn, modules/norm/local_response.rs",
        spell=spell_c,
    ),
    "caffe2": Row(
        title="Caffe2",
        words=_SIZE_BIAS,
        defaults=(None, 0.0, 0.0, 1.0),
        measure=WIDTH_ODD,
        switches={"order": Switch("NCHW", one_of("NCHW", "NHWC"), written=False)},
        axis='1 of (N, C, H, W), the last with order="NHWC"',
        call='brew.lrn(model, "x", "y", size=$size, alpha=$alpha, beta=$beta, bias=$bias, '
        "order=$order)",
        source="caffe2/operators/local_response_normalization_op.h",
    ),
    "chainer": Row(
        title="Chainer, on the CPU",
        words=("n", "alpha", "beta", "k"),
        defaults=(5, 1e-4, 0.75, 2.0),
        measure=WIDTH_WIDENED,
        divides=False,
        call="F.local_response_normalization(x, n=$n, k=$k, alpha=$alpha, beta=$beta)",
        source="chainer/functions/normalization/local_response_normalization.py",
    ),
    "coreml": Row(
        title="Core ML, Metal Performance Shaders",
        words=_SIZE_K,
        defaults=_USUAL,
        measure=WIDTH_L,
        axis="-3",
        call="mb.local_response_norm(x=x, size=$size, alpha=$alpha, beta=$beta, k=$k)",
        source="coremltools, MIL ops reference, local_response_norm; Apple's "
        "MPSCNNCrossChannelNormalization",
    ),
    "darknet": Row(
        title="darknet",
        words=("size", "alpha", "beta", "kappa"),
        defaults=(5, 1e-4, 0.75, 1.0),
        measure=WIDTH_R,
        divides=False,
        layout="CHW",
        call="[normalization]\nsize=$size\nalpha=$alpha\nbeta=$beta\nkappa=$kappa",
        source="darknet, src/normalization_layer.c and src/parser.c",
    ),
    "directml": Row(
        title="DirectML",
        words=("LocalSize", "Alpha", "Beta", "Bias"),
        defaults=_USUAL,
        measure=WIDTH_ODD_KNOWN,
        call="DML_LOCAL_RESPONSE_NORMALIZATION_OPERATOR_DESC{&x, &y, /* CrossChannel */ TRUE, "
        "$LocalSize, $Alpha, $Beta, $Bias}",
        source="DirectML reference, DML_LOCAL_RESPONSE_NORMALIZATION_OPERATOR_DESC",
        spell=spell_c,
    ),
    "keras": Row(
        title="Keras 0.x, LRN2D",
        words=("n", "alpha", "beta", "k"),
        defaults=(5, 1e-4, 0.75, 2.0),
        measure=WIDTH_ODD,
        divides=False,
        call="LRN2D(alpha=$alpha, k=$k, beta=$beta, n=$n)",
        source="Keras 0.3, keras/layers/normalization.py, LRN2D",
        remark="gone from later releases of Keras",
    ),
    "lasagne": Row(
        title="Lasagne, pylearn2",
        words=("n", "alpha", "beta", "k"),
        defaults=(5, 1e-4, 0.75, 2.0),
        measure=WIDTH_ODD,
        divides=False,
        call="lasagne.layers.LocalResponseNormalization2DLayer(incoming, alpha=$alpha, k=$k, "
        "beta=$beta, n=$n)",
        source="lasagne/layers/normalization.py, after pylearn2's CrossChannelNormalization",
    ),
    "matconvnet": Row(
        title="MatConvNet",
        words=("N", "ALPHA", "BETA", "KAPPA"),
        defaults=_ALL_REQUIRED,
        measure=WIDTH_R,
        divides=False,
        layout="HWCN",
        call="vl_nnnormalize(x, [$N $KAPPA $ALPHA $BETA])",
        packed=("param", ("N", "KAPPA", "ALPHA", "BETA")),
        source="MatConvNet, matlab/vl_nnnormalize.m",
    ),
    "matlab": Row(
        title="MATLAB, Deep Learning Toolbox",
        words=("WindowChannelSize", "Alpha", "Beta", "K"),
        defaults=(5, 1e-4, 0.75, 2.0),
        measure=WIDTH_R,
        largest=16,
        limits={"Beta": Limit(low=0.01), "K": Limit(low=1e-5)},
        layout="HWCN",
        axis="C of the data format, for images the third of (H, W, C, N)",
        call='crossChannelNormalizationLayer($WindowChannelSize, "Alpha", $Alpha, "Beta", $Beta, '
        '"K", $K)',
        source="MATLAB documentation, crossChannelNormalizationLayer",
    ),
    "mxnet": Row(
        title="MXNet",
        words=("nsize", "alpha", "beta", "knorm"),
        defaults=(None, 1e-4, 0.75, 2.0),
        measure=WIDTH_ODD,
        call="mx.nd.LRN(x, nsize=$nsize, alpha=$alpha, beta=$beta, knorm=$knorm)",
        source="MXNet, src/operator/nn/lrn.cc",
        remark="release 1.9.1 on the CPU takes even ones too, and computes what oneDNN does",
    ),
    "onnx": Row(
        title="ONNX LRN-1, LRN-13",
        words=_SIZE_BIAS,
        defaults=_USUAL,
        measure=WIDTH_R,
        axis="1 of (N, C, D1, D2, …)",
        call='onnx.helper.make_node("LRN", ["x"], ["y"], size=$size, alpha=$alpha, beta=$beta, '
        "bias=$bias)",
        source="ONNX Operators.md, LRN",
    ),
    "onnxruntime": Row(
        title="ONNX Runtime, on the CPU",
        words=_SIZE_BIAS,
        defaults=_USUAL,
        measure=WIDTH_ODD,
        limits={"alpha": Limit(low=SMALLEST), "beta": Limit(low=SMALLEST)},
        call='onnx.helper.make_node("LRN", ["x"], ["y"], size=$size, alpha=$alpha, beta=$beta, '
        "bias=$bias)",
        source="onnxruntime/core/providers/cpu/nn/lrn.h and lrn.cc",
        remark="takes rank 4, float32, and float16 by way of float32",
    ),
    "paddle": Row(
        title="PaddlePaddle 2.x",
        words=_SIZE_K,
        defaults=_USUAL,
        measure=WIDTH_L,
        switches={
            "data_format": Switch(
                "NCHW", one_of("NCL", "NLC", "NCHW", "NHWC", "NCDHW", "NDHWC"), written=False
            )
        },
        axis='1 of (N, C, …), the last with data_format="NHWC" and its like',
        call="paddle.nn.functional.local_response_norm(x, $size, alpha=$alpha, beta=$beta, k=$k, "
        "data_format=$data_format)",
        source="paddle/nn/functional/norm.py, local_response_norm",
    ),
    "paddle_lrn": Row(
        title="PaddlePaddle 1.x, the operator lrn",
        words=("n", "alpha", "beta", "k"),
        defaults=(5, 1e-4, 0.75, 2.0),
        measure=WIDTH_ODD,
        divides=False,
        switches={"data_format": Switch("NCHW", one_of("NCHW", "NHWC"), written=False)},
        axis='1 of (N, C, H, W), the last with data_format="NHWC"',
        call="fluid.layers.lrn(x, n=$n, k=$k, alpha=$alpha, beta=$beta, data_format=$data_format)",
        source="paddle/fluid/operators/lrn_op.cc, LRNOpMaker",
        remark="fluid.layers.lrn gives k = 1 where it is left out, the operator itself 2",
    ),
    "tensorrt": Row(
        title="TensorRT ILRNLayer",
        words=("windowSize", "alpha", "beta", "k"),
        defaults=_ALL_REQUIRED,
        measure=WIDTH_ODD,
        largest=15,
        limits={
            "alpha": Limit(-1e20, 1e20),
            "beta": Limit(0.01, 1e5),
            "k": Limit(1e-5, 1e10),
        },
        call="network.add_lrn(x, window=$windowSize, alpha=$alpha, beta=$beta, k=$k)",
        source="TensorRT C++ API, nvinfer1::ILRNLayer",
        remark="on the DLA windowSize is 3, 5, 7 or 9",
    ),
    "torch": Row(
        title="PyTorch",
        words=_SIZE_K,
        defaults=_USUAL,
        measure=WIDTH_L,
        axis="1 of (N, C, …)",
        call="torch.nn.LocalResponseNorm(size=$size, alpha=$alpha, beta=$beta, k=$k)",
        source="torch/nn/functional.py, local_response_norm",
    ),
    "torch7": Row(
        title="Torch7",
        words=_SIZE_K,
        defaults=_USUAL,
        measure=WIDTH_ODD,
        axis="the third from the last of (C, H, W) and (N, C, H, W)",
        call="nn.SpatialCrossMapLRN($size, $alpha, $beta, $k)",
        source="torch/nn, SpatialCrossMapLRN.lua",
    ),
    "tvm": Row(
        title="TVM",
        words=("nsize", "alpha", "beta", "knorm"),
        defaults=(None, 1e-4, 0.75, 2.0),
        measure=WIDTH_ODD,
        call="topi.nn.lrn(x, size=$nsize, axis=1, alpha=$alpha, beta=$beta, bias=$knorm)",
        source="TVM, include/tvm/topi/nn/local_response_norm.h, and its MXNet importer",
        remark="in topi.nn.lrn nsize is called size, and knorm bias; it takes rank 4",
    ),
    "wolfram": Row(
        title="Wolfram Language",
        words=("channel_window_size", "alpha", "beta", "bias"),
        defaults=(2, 1.0, 0.5, 1.0),
        measure=RADIUS_POSITIVE,
        layout="CHW",
        call='LocalResponseNormalizationLayer["Alpha" -> $alpha, "Beta" -> $beta, '
        '"Bias" -> $bias, "ChannelWindowSize" -> $channel_window_size]',
        source="Wolfram Language documentation, LocalResponseNormalizationLayer",
        remark="Documentation and definitions of 2017 (version 11.1) refused "
        "2·ChannelWindowSize + 1 > channels; the page of 2026 states no limit.",
        spell=spell_wolfram,
    ),
}

ROWS: dict[str, Row] = dict(sorted((_ROWS | BOX_ROWS | RADIUS_ROWS).items()))
