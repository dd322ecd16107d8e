"""How each framework writes the five numbers: one row each, read by `lrnorm.conventions`.

Each row was read from the framework's own source or documentation, which its `source` names.
"""

from __future__ import annotations

from typing import Any

from lrnorm.conventions.measures import (
    RADIUS,
    RADIUS_OR_PAIR,
    RADIUS_POSITIVE,
    SIZES,
    SMALLEST,
    WIDTH_L,
    WIDTH_NARROWED,
    WIDTH_ODD,
    WIDTH_ODD_KNOWN,
    WIDTH_R,
    WIDTH_WIDENED,
    Limit,
    Row,
    Switch,
    always,
    axes,
    one_of,
    spell_c,
    spell_wolfram,
)

_CUDNN: dict[str, Any] = {
    "largest": 16,
    "limits": {"lrnBeta": Limit(low=0.01), "lrnK": Limit(low=1e-5)},
    "words": ("lrnN", "lrnAlpha", "lrnBeta", "lrnK"),
    "defaults": (5, 1e-4, 0.75, 2.0),
    "measure": WIDTH_R,
    "source": "cuDNN API, cudnnSetLRNDescriptor and cudnn.h",
    "spell": spell_c,
}
_SIZE_BIAS = ("size", "alpha", "beta", "bias")
_SIZE_K = ("size", "alpha", "beta", "k")
_LOCAL_SIZE_K = ("local_size", "alpha", "beta", "k")
_LOCAL_SIZE_BIAS = ("local_size", "alpha", "beta", "bias")
_DEPTH_RADIUS = ("depth_radius", "alpha", "beta", "bias")
_USUAL = (None, 1e-4, 0.75, 1.0)
_ALL_REQUIRED = (None, None, None, None)

ROWS: dict[str, Row] = {
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
    "caffe": Row(
        title="Caffe, across channels",
        words=_LOCAL_SIZE_K,
        defaults=(5, 1.0, 0.75, 1.0),
        measure=WIDTH_ODD,
        call='layer { name: "norm" type: "LRN" bottom: "x" top: "norm" lrn_param '
        "{ local_size: $local_size alpha: $alpha beta: $beta k: $k } }",
        source="caffe.proto, LRNParameter; src/caffe/layers/lrn_layer.cpp",
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
    "caffe_within": Row(
        title="Caffe, within channels",
        words=_LOCAL_SIZE_K,
        defaults=(5, 1.0, 0.75, 1.0),
        measure=WIDTH_ODD,
        box="a square of side local_size, alpha divided by its area",
        several=always,
        fixed_bias=1.0,
        axis="height and width of (N, C, H, W)",
        call='layer { name: "norm" type: "LRN" bottom: "x" top: "norm" lrn_param '
        "{ local_size: $local_size alpha: $alpha beta: $beta norm_region: WITHIN_CHANNEL } }",
        source="caffe.proto, LRNParameter; src/caffe/layers/lrn_layer.cpp",
        remark="k is ignored, as if it were 1",
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
    "cntk": Row(
        title="CNTK",
        words=_DEPTH_RADIUS,
        defaults=_ALL_REQUIRED,
        measure=RADIUS,
        layout="CHW",
        axis="C of (C, H, W)",
        call="C.local_response_normalization(x, depth_radius=$depth_radius, bias=$bias, "
        "alpha=$alpha, beta=$beta)",
        source="CNTKv2LibraryDll, Function.cpp, LocalResponseNormalization",
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
    "cudnn": Row(
        title="cuDNN, across channels",
        call="cudnnSetLRNDescriptor(descriptor, /* lrnN */ $lrnN, /* lrnAlpha */ $lrnAlpha, "
        "/* lrnBeta */ $lrnBeta, /* lrnK */ $lrnK)",
        **_CUDNN,
    ),
    "cudnn_divisive": Row(
        title="cuDNN, divisive, without means",
        box="a box of side lrnN, alpha divided by its volume",
        several=always,
        axis="the spatial axes of (N, C, H, W) or (N, C, D, H, W)",
        call="cudnnSetLRNDescriptor(descriptor, /* lrnN */ $lrnN, /* lrnAlpha */ $lrnAlpha, "
        "/* lrnBeta */ $lrnBeta, /* lrnK */ $lrnK)",
        remark="for cudnnDivisiveNormalizationForward with no means",
        **_CUDNN,
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
    "lasagne": Row(
        title="Lasagne, pylearn2, Keras 0.x LRN2D",
        words=("n", "alpha", "beta", "k"),
        defaults=(5, 1e-4, 0.75, 2.0),
        measure=WIDTH_ODD,
        divides=False,
        call="lasagne.layers.LocalResponseNormalization2DLayer(incoming, alpha=$alpha, k=$k, "
        "beta=$beta, n=$n)",
        source="lasagne/layers/normalization.py, after pylearn2's CrossChannelNormalization",
    ),
    "lrnorm": Row(
        title="lrnorm",
        words=("channel_window_size", "alpha", "beta", "bias"),
        defaults=(2, 1.0, 0.5, 1.0),
        measure=RADIUS_OR_PAIR,
        axis="given by axis; left out, the third from the last, at rank 3 and 4",
        call="lrnorm.local_response_norm(x, alpha=$alpha, beta=$beta, bias=$bias, "
        "channel_window_size=$channel_window_size)",
        source="lrnorm.local_response_norm",
        way_out="lrnorm.local_response_norm(x, spec={spec}) says it",
    ),
    "matconvnet": Row(
        title="MatConvNet",
        words=("N", "ALPHA", "BETA", "KAPPA"),
        defaults=_ALL_REQUIRED,
        measure=WIDTH_R,
        divides=False,
        layout="HWCN",
        call="vl_nnnormalize(x, [$N $KAPPA $ALPHA $BETA])",
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
    "mindspore": Row(
        title="MindSpore",
        words=_DEPTH_RADIUS,
        defaults=(5, 1.0, 0.5, 1.0),
        measure=RADIUS,
        divides=False,
        call="mindspore.ops.LRN(depth_radius=$depth_radius, bias=$bias, alpha=$alpha, "
        "beta=$beta)(x)",
        source="mindspore.ops.LRN",
    ),
    "mnn": Row(
        title="MNN, across channels",
        words=_LOCAL_SIZE_BIAS,
        defaults=(None, 0.0, 0.0, 1.0),
        measure=WIDTH_L,
        call='"main_type": "LRN", "main": {"regionType": 0, "localSize": $local_size, '
        '"alpha": $alpha, "beta": $beta, "bias": $bias}',
        source="MNN, schema/default/CaffeOp.fbs, LRN; source/geometry/GeometryLRN.cpp",
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
    "ncnn": Row(
        title="ncnn, across channels",
        words=_LOCAL_SIZE_BIAS,
        defaults=(5, 1.0, 0.75, 1.0),
        measure=WIDTH_WIDENED,
        layout="CHW",
        call="LRN norm 1 1 x y 0=0 1=$local_size 2=$alpha 3=$beta 4=$bias",
        source="ncnn, src/layer/lrn.cpp",
    ),
    "nnef": Row(
        title="NNEF",
        words=_SIZE_BIAS,
        defaults=(None, 1.0, 0.5, 1.0),
        measure=SIZES,
        box="a box of the widths in size, alpha divided by their product",
        several=lambda given: (
            isinstance(given.get("size"), (list, tuple))
            and sum(width > 1 for width in given["size"]) > 1
        ),
        axis="the one whose width in size is not 1",
        call="y = local_response_normalization(x, size = $size, alpha = $alpha, beta = $beta, "
        "bias = $bias);",
        source="NNEF specification, local_response_normalization",
    ),
    "onednn": Row(
        title="oneDNN, across channels",
        words=_LOCAL_SIZE_K,
        defaults=_ALL_REQUIRED,
        measure=WIDTH_NARROWED,
        call="dnnl::lrn_forward::primitive_desc(engine, dnnl::prop_kind::forward_inference, "
        "dnnl::algorithm::lrn_across_channels, x, y, $local_size, $alpha, $beta, $k)",
        source="oneDNN developer guide, Local Response Normalization; src/cpu/ref_lrn.cpp",
    ),
    "onednn_within": Row(
        title="oneDNN, within channels",
        words=_LOCAL_SIZE_K,
        defaults=_ALL_REQUIRED,
        measure=WIDTH_NARROWED,
        box="a box of side local_size, alpha divided by its volume",
        several=always,
        axis="the spatial axes of (N, C, H, W) or (N, C, D, H, W)",
        call="dnnl::lrn_forward::primitive_desc(engine, dnnl::prop_kind::forward_inference, "
        "dnnl::algorithm::lrn_within_channel, x, y, $local_size, $alpha, $beta, $k)",
        source="oneDNN developer guide, Local Response Normalization; src/cpu/ref_lrn.cpp",
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
    "opencv": Row(
        title="OpenCV DNN, across channels",
        words=_LOCAL_SIZE_BIAS,
        defaults=(5, 1.0, 0.75, 1.0),
        measure=WIDTH_ODD,
        divides_if="norm_by_size",
        switches={"norm_by_size": Switch(True, one_of(True, False))},
        call='cv::dnn::LayerParams p; p.set("local_size", $local_size); p.set("alpha", $alpha); '
        'p.set("beta", $beta); p.set("bias", $bias); p.set("norm_by_size", $norm_by_size); '
        'net.addLayerToPrev("norm", "LRN", p);',
        source="OpenCV, modules/dnn/src/layers/lrn_layer.cpp",
        remark="alpha is divided unless norm_by_size=False; releases 4.14 and 5.0 take alpha for "
        "1e-4 where it is left out; the Caffe importer, gone in 5.0, ignores k",
        spell=spell_c,
    ),
    "openvino": Row(
        title="OpenVINO LRN-1",
        words=_SIZE_BIAS,
        defaults=(5, 1.0, 0.5, 1.0),
        measure=WIDTH_NARROWED,
        switches={"axes": Switch([1], axes)},
        box="a box of side size over several axes, alpha divided by its volume",
        several=lambda given: (
            isinstance(given.get("axes"), (list, tuple)) and len(given["axes"]) > 1
        ),
        axis="the one in axes",
        call="openvino.opset10.lrn(x, axes=$axes, alpha=$alpha, beta=$beta, bias=$bias, "
        "size=$size)",
        source="OpenVINO operation specification, LRN-1",
        remark="release 2026.4 cuts bias to an integer; on the CPU axes are [1], or height and "
        "width, and 1 beside these is left out",
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
    "tensorflow": Row(
        title="TensorFlow, TensorFlow Lite, NNAPI",
        words=_DEPTH_RADIUS,
        defaults=(5, 1.0, 0.5, 1.0),
        measure=RADIUS,
        divides=False,
        layout="NHWC",
        call="tf.nn.local_response_normalization(x, depth_radius=$depth_radius, bias=$bias, "
        "alpha=$alpha, beta=$beta)",
        source="tf.raw_ops.LRN; tensorflow/core/kernels/lrn_op.cc",
        remark="takes rank 4",
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
