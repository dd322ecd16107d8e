"""Frameworks whose number for the window is a radius: TensorFlow and what descends from it."""

from __future__ import annotations

from lrnorm.conventions.measures import RADIUS, Row, spell_c

_DEPTH_RADIUS = ("depth_radius", "alpha", "beta", "bias")
_RADIUS = ("radius", "alpha", "beta", "bias")
_ALL_REQUIRED = (None, None, None, None)

RADIUS_ROWS: dict[str, Row] = {
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
    "nnapi": Row(
        title="Android NNAPI",
        words=_RADIUS,
        defaults=_ALL_REQUIRED,
        measure=RADIUS,
        divides=False,
        layout="NHWC",
        call="ANEURALNETWORKS_LOCAL_RESPONSE_NORMALIZATION(x, /* radius */ $radius, "
        "/* bias */ $bias, /* alpha */ $alpha, /* beta */ $beta)",
        source="Android NDK, NeuralNetworks.h, ANEURALNETWORKS_LOCAL_RESPONSE_NORMALIZATION",
        spellings={"depth_radius": "radius"},
    ),
    "qnn": Row(
        title="Qualcomm QNN, across channels",
        words=_RADIUS,
        defaults=_ALL_REQUIRED,
        measure=RADIUS,
        divides=False,
        layout="NHWC",
        call='{"type": "Lrn", "radius": $radius, "alpha": $alpha, "beta": $beta, "bias": $bias}',
        source="QnnOpDef.h, QNN_OP_LRN; ONNX Runtime, qnn/builder/opbuilder/lrn_op_builder.cc",
    ),
    "tensorflow": Row(
        title="TensorFlow",
        words=_DEPTH_RADIUS,
        defaults=(5, 1.0, 0.5, 1.0),
        measure=RADIUS,
        divides=False,
        layout="NHWC",
        call="tf.nn.local_response_normalization(x, depth_radius=$depth_radius, bias=$bias, "
        "alpha=$alpha, beta=$beta)",
        source="tf.raw_ops.LRN; tensorflow/core/kernels/lrn_op.cc",
        remark="takes rank 4",
        spellings={"radius": "depth_radius"},
    ),
    "tfjs": Row(
        title="TensorFlow.js",
        words=("depthRadius", "alpha", "beta", "bias"),
        defaults=(5, 1.0, 0.5, 1.0),
        measure=RADIUS,
        divides=False,
        layout="NHWC",
        call="tf.localResponseNormalization(x, $depthRadius, $bias, $alpha, $beta)",
        source="tfjs-core, src/ops/local_response_normalization.ts",
        remark="takes ranks 3 and 4",
        spell=spell_c,
    ),
    "tflite": Row(
        title="TensorFlow Lite",
        words=_RADIUS,
        defaults=(5, 1.0, 0.5, 1.0),
        measure=RADIUS,
        divides=False,
        layout="NHWC",
        call="tf.nn.local_response_normalization(x, depth_radius=$radius, bias=$bias, "
        "alpha=$alpha, beta=$beta)",
        source="TensorFlow Lite, schema.fbs, LocalResponseNormalizationOptions; "
        "kernels/local_response_norm.cc",
        remark="the defaults are TensorFlow's, from which models are converted; what a file leaves "
        "out is 0",
        spellings={"depth_radius": "radius"},
    ),
}
