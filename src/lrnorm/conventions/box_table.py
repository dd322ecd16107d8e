"""Frameworks that can sum over boxes: over height and width, or over any axes."""

from __future__ import annotations

from typing import Any

from lrnorm._spec.spec import count_axes
from lrnorm.conventions.measures import (
    RADIUS_OR_PAIR,
    SIZES,
    WIDTH_L,
    WIDTH_NARROWED,
    WIDTH_ODD,
    WIDTH_ODD_KNOWN,
    WIDTH_R,
    WIDTH_WIDENED,
    Box,
    Limit,
    Row,
    Switch,
    axes,
    by_rank,
    one_of,
    spell_c,
    square,
    switched,
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
_LOCAL_SIZE_K = ("local_size", "alpha", "beta", "k")
_LOCAL_SIZE_BIAS = ("local_size", "alpha", "beta", "bias")
_ALL_REQUIRED = (None, None, None, None)
_CAFFE_SQUARE = "a square of side local_size, alpha divided by its area"
_CAFFE_WITHIN = (
    'layer { name: "norm" type: "LRN" bottom: "x" top: "norm" lrn_param '
    "{ local_size: $local_size alpha: $alpha beta: $beta norm_region: WITHIN_CHANNEL } }"
)


def _axes_or_none(word: str, value: Any) -> None:
    if value is not None:
        axes(word, value)


BOX_ROWS: dict[str, Row] = {
    "caffe": Row(
        title="Caffe, across channels",
        words=_LOCAL_SIZE_K,
        defaults=(5, 1.0, 0.75, 1.0),
        measure=WIDTH_ODD,
        call='layer { name: "norm" type: "LRN" bottom: "x" top: "norm" lrn_param '
        "{ local_size: $local_size alpha: $alpha beta: $beta k: $k } }",
        switches={
            "norm_region": Switch(
                "ACROSS_CHANNELS", one_of("ACROSS_CHANNELS", "WITHIN_CHANNEL"), written=False
            )
        },
        box=switched(
            _CAFFE_SQUARE,
            "norm_region",
            "ACROSS_CHANNELS",
            "WITHIN_CHANNEL",
            fixed_bias=1.0,
            call=_CAFFE_WITHIN,
        ),
        source="caffe.proto, LRNParameter; src/caffe/layers/lrn_layer.cpp",
        remark="WITHIN_CHANNEL ignores k, as if it were 1",
    ),
    "caffe_within": Row(
        title="Caffe, within channels",
        words=_LOCAL_SIZE_K,
        defaults=(5, 1.0, 0.75, 1.0),
        measure=WIDTH_ODD,
        box=square(_CAFFE_SQUARE, fixed_bias=1.0),
        axis="height and width of (N, C, H, W)",
        call=_CAFFE_WITHIN,
        source="caffe.proto, LRNParameter; src/caffe/layers/lrn_layer.cpp",
        remark="k is ignored, as if it were 1",
    ),
    "cudnn": Row(
        title="cuDNN, across channels",
        call="cudnnSetLRNDescriptor(descriptor, /* lrnN */ $lrnN, /* lrnAlpha */ $lrnAlpha, "
        "/* lrnBeta */ $lrnBeta, /* lrnK */ $lrnK)",
        **_CUDNN,
    ),
    "cudnn_divisive": Row(
        title="cuDNN, divisive, without means",
        switches={"nbDims": Switch(4, one_of(4, 5), written=False)},
        box=by_rank("a box of side lrnN, alpha divided by its volume", "nbDims"),
        axis="the spatial axes of (N, C, H, W) or (N, C, D, H, W)",
        call="cudnnSetLRNDescriptor(descriptor, /* lrnN */ $lrnN, /* lrnAlpha */ $lrnAlpha, "
        "/* lrnBeta */ $lrnBeta, /* lrnK */ $lrnK)",
        remark="for cudnnDivisiveNormalizationForward with no means",
        **_CUDNN,
    ),
    "lrnorm": Row(
        title="lrnorm",
        words=("channel_window_size", "alpha", "beta", "bias"),
        defaults=(2, 1.0, 0.5, 1.0),
        measure=RADIUS_OR_PAIR,
        switches={"axis": Switch(None, _axes_or_none, written=False)},
        box=Box(
            "a box along several axes, alpha divided by the product of its widths",
            lambda given: count_axes(given.get("axis")),
            lambda axes: {} if axes == 1 else {"axis": tuple(range(-axes, 0))},
            call="lrnorm.local_response_norm(x, alpha=$alpha, beta=$beta, bias=$bias, "
            "channel_window_size=$channel_window_size, axis=$axis)",
        ),
        axis="given by axis; left out, the third from the last, at rank 3 and 4",
        call="lrnorm.local_response_norm(x, alpha=$alpha, beta=$beta, bias=$bias, "
        "channel_window_size=$channel_window_size)",
        source="lrnorm.local_response_norm",
        way_out="lrnorm.local_response_norm(x, spec={spec}) says it",
    ),
    "miopen": Row(
        title="MIOpen",
        words=("lrnN", "lrnAlpha", "lrnBeta", "lrnK"),
        defaults=_ALL_REQUIRED,
        measure=WIDTH_ODD_KNOWN,
        switches={
            "mode": Switch(
                "miopenLRNCrossChannel",
                one_of("miopenLRNCrossChannel", "miopenLRNWithinChannel"),
                written=False,
            )
        },
        box=switched(
            "a square of side lrnN, alpha divided by its area",
            "mode",
            "miopenLRNCrossChannel",
            "miopenLRNWithinChannel",
        ),
        call="miopenSetLRNDescriptor(descriptor, $mode, /* lrnN */ $lrnN, "
        "/* lrnAlpha */ $lrnAlpha, /* lrnBeta */ $lrnBeta, /* lrnK */ $lrnK)",
        source="MIOpen, include/miopen/miopen.h and driver/mloNormHost.hpp",
        spell=str,
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
    "mnn_within": Row(
        title="MNN, within channels",
        words=_LOCAL_SIZE_BIAS,
        defaults=(None, 0.0, 0.0, 1.0),
        measure=WIDTH_L,
        box=square("a square of side local_size, alpha divided by its area"),
        axis="height and width of (N, C, H, W)",
        call='"main_type": "LRN", "main": {"regionType": 1, "localSize": $local_size, '
        '"alpha": $alpha, "beta": $beta, "bias": $bias}',
        source="MNN, schema/default/CaffeOp.fbs, LRN; source/geometry/GeometryLRN.cpp",
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
    "ncnn_within": Row(
        title="ncnn, within channels",
        words=_LOCAL_SIZE_BIAS,
        defaults=(5, 1.0, 0.75, 1.0),
        measure=WIDTH_L,
        box=square("a square of side local_size, alpha divided by its area"),
        layout="CHW",
        axis="height and width of (C, H, W)",
        call="LRN norm 1 1 x y 0=1 1=$local_size 2=$alpha 3=$beta 4=$bias",
        source="ncnn, src/layer/lrn.cpp",
        remark="releases without the parameter bias take 1",
    ),
    "nnef": Row(
        title="NNEF",
        words=_SIZE_BIAS,
        defaults=(None, 1.0, 0.5, 1.0),
        measure=SIZES,
        box=Box(
            "a box of the widths in size, alpha divided by their product",
            lambda given: len(SIZES.of_axes(given.get("size"), 1)),
            lambda axes: {},
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
        switches={"ndims": Switch(4, one_of(4, 5), written=False)},
        box=by_rank("a box of side local_size, alpha divided by its volume", "ndims"),
        axis="the spatial axes of (N, C, H, W) or (N, C, D, H, W)",
        call="dnnl::lrn_forward::primitive_desc(engine, dnnl::prop_kind::forward_inference, "
        "dnnl::algorithm::lrn_within_channel, x, y, $local_size, $alpha, $beta, $k)",
        source="oneDNN developer guide, Local Response Normalization; src/cpu/ref_lrn.cpp",
    ),
    "opencv": Row(
        title="OpenCV DNN",
        words=_LOCAL_SIZE_BIAS,
        defaults=(5, 1.0, 0.75, 1.0),
        measure=WIDTH_ODD,
        divides_if="norm_by_size",
        switches={
            "norm_by_size": Switch(True, one_of(True, False)),
            "norm_region": Switch(
                "ACROSS_CHANNELS", one_of("ACROSS_CHANNELS", "WITHIN_CHANNEL"), written=False
            ),
        },
        box=switched(
            "a square of side local_size, alpha divided by its area",
            "norm_region",
            "ACROSS_CHANNELS",
            "WITHIN_CHANNEL",
            call='cv::dnn::LayerParams p; p.set("norm_region", "WITHIN_CHANNEL"); '
            'p.set("local_size", $local_size); p.set("alpha", $alpha); p.set("beta", $beta); '
            'p.set("bias", $bias); p.set("norm_by_size", $norm_by_size); '
            'net.addLayerToPrev("norm", "LRN", p);',
        ),
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
        box=Box(
            "a box of side size over several axes, alpha divided by its volume",
            lambda given: len(given["axes"]) if isinstance(given.get("axes"), (list, tuple)) else 1,
            lambda axes: {"axes": [1] if axes == 1 else list(range(2, 2 + axes))},
        ),
        axis="the one in axes",
        call="openvino.opset10.lrn(x, axes=$axes, alpha=$alpha, beta=$beta, bias=$bias, "
        "size=$size)",
        source="OpenVINO operation specification, LRN-1",
        remark="release 2026.4 cuts bias to an integer; on the CPU axes are [1], or height and "
        "width, and 1 beside these is left out",
    ),
}
