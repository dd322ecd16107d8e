"""Support of LRN in runtimes: missing operators, refused types, ranks and windows, slow kernels,
and known wrong results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from lrnorm._spec.errors import ConventionError
from lrnorm._spec.spec import LRNSpec
from lrnorm.conventions.translation import write

Shape = tuple[int | str | None, ...] | None


class Fate(NamedTuple):
    """A remark on an LRN in a runtime. The codes stay the same between versions: missing,
    refused, type, rank, wrong, slow, and range for inputs that are seldom met."""

    code: str
    text: str


class Wrong(NamedTuple):
    """A case in which a runtime computes other values than the formula."""

    text: str
    when: Callable[[LRNSpec, Any], bool]


def _always(spec: LRNSpec, axis: Any) -> bool:
    return True


def _has_fraction(spec: LRNSpec, axis: Any) -> bool:
    return spec.bias != int(spec.bias)


def _is_even(spec: LRNSpec, axis: Any) -> bool:
    return spec.before != spec.after


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One runtime. `convention` names the row whose limits hold for its operator, and is None where
    there is no operator; `form` is the fastest way to write an LRN there: "operator", or a form of
    lrnorm.onnx.decompose."""

    title: str
    convention: str | None
    source: str
    instead: str = ""  # what to do where there is no operator
    form: str = "operator"
    slow: str = ""
    types: Mapping[str, str] = field(default_factory=dict)  # dtype → what it does with it
    ranks: tuple[int, ...] | None = None  # None: every rank
    wrong: tuple[Wrong, ...] = ()
    beyond: str = ""  # what becomes of large inputs, nan and inf, where that is not the formula

    def fates(
        self, spec: LRNSpec | None, axis: Any = None, shape: Shape = None, dtype: str | None = None
    ) -> list[Fate]:
        """Remarks on this LRN; an empty list, or a remark on the range alone, means that it runs as
        the formula says."""
        if self.convention is None:
            return [Fate("missing", f"{self.title} has no LRN operator. {self.instead}")]
        fates = []
        if spec is not None:
            try:
                write(self.convention, spec)
            except ConventionError as error:
                fates.append(Fate("refused", str(error)))
        if dtype is not None and dtype in self.types:
            fates.append(Fate("type", f"{dtype}: {self.types[dtype]}"))
        if self.ranks is not None and shape is not None and len(shape) not in self.ranks:
            ranks = " or ".join(map(str, self.ranks))
            fates.append(
                Fate("rank", f"the input has {len(shape)} axes, {self.title} takes {ranks}")
            )
        if spec is not None:
            fates += [Fate("wrong", w.text) for w in self.wrong if w.when(spec, axis)]
        if self.slow:
            fates.append(Fate("slow", self.slow))
        if self.beyond:
            fates.append(Fate("range", self.beyond))
        return fates


_SPOILS = (
    "one large channel, nan or inf spoils channels whose windows do not hold it, because the sums "
    "are updated by addition and subtraction;"
)
_WRITE_OUT = "lrnorm.onnx.decompose writes it in other operators."

_ROWS: dict[str, Runtime] = {
    "arm_compute": Runtime(
        title="Arm Compute Library",
        convention="arm_compute",
        source="arm_compute/core/Types.h, NormalizationLayerInfo",
    ),
    "candle": Runtime(
        title="candle",
        convention=None,
        instead="Write it as a convolution over the channels.",
        form="conv",
        source="huggingface/candle#2852",
    ),
    "coreml": Runtime(
        title="Core ML",
        convention="coreml",
        types={"float64": "Core ML has no float64"},
        wrong=(
            Wrong(
                "coremltools stores alpha, beta and k in float16 unless "
                "compute_precision=FLOAT32 is given: 2e-5 becomes 2.00272e-5",
                _always,
            ),
        ),
        source="coremltools 9, MIL operator local_response_norm; its PyTorch frontend has no "
        "mapping and writes a pool",
    ),
    "cudnn": Runtime(
        title="cuDNN",
        convention="cudnn",
        source="cuDNN API, cudnnSetLRNDescriptor: windows 1 to 16, beta ≥ 0.01, k ≥ 1e-5",
    ),
    "jax": Runtime(
        title="JAX",
        convention=None,
        instead="lrnorm.jax.local_response_norm computes it.",
        source="jax.nn has no local response normalization",
    ),
    "keras": Runtime(
        title="Keras 3",
        convention=None,
        instead="lrnorm.keras.LocalResponseNormalization computes it.",
        source="keras.layers has no local response normalization since Keras 1",
    ),
    "ncnn": Runtime(
        title="ncnn",
        convention="ncnn",
        source="ncnn, src/layer/lrn.cpp; versions before 2018 ignore the bias",
    ),
    "onednn": Runtime(
        title="oneDNN",
        convention="onednn",
        source="oneDNN developer guide, Local Response Normalization; src/cpu/ref_lrn.cpp",
    ),
    "onnxruntime": Runtime(
        title="ONNX Runtime on the CPU",
        convention="onnxruntime",
        form="conv",
        slow="the LRN operator runs 3 to 10 times slower than the same written as a 1×1 "
        "convolution: lrnorm.onnx.decompose writes that",
        types={
            "float64": "there is no LRN of this type, and the model is refused",
            "bfloat16": "there is no LRN of this type, and the model is refused",
            "float16": "it is computed in float32",
        },
        ranks=(4,),
        beyond=f"{_SPOILS} inputs of 1e20 and more give 0 or nan",
        source="onnxruntime/core/providers/cpu/nn/lrn.cc; measured with 1.32",
    ),
    "onnxruntime_webgpu": Runtime(
        title="ONNX Runtime Web on WebGPU",
        convention=None,
        instead=f"It runs on the CPU then. {_WRITE_OUT}",
        form="conv",
        source="onnxruntime/js/web/docs/webgpu-operators.md",
    ),
    "onnxruntime_webnn": Runtime(
        title="ONNX Runtime Web on WebNN",
        convention="onnx",
        ranks=(4,),
        wrong=(Wrong("an even size loses a channel", _is_even),),
        source="onnxruntime/core/providers/webnn/builders/impl/lrn_op_builder.cc",
    ),
    "opencv": Runtime(
        title="OpenCV DNN",
        convention="opencv",
        beyond=f"{_SPOILS} inputs of 1e19 and more give 0 or nan",
        source="OpenCV, modules/dnn/src/layers/lrn_layer.cpp; the Caffe importer of 4.x ignores k, "
        "5.0 reads no Caffe, Darknet or Torch files",
    ),
    "openvino": Runtime(
        title="OpenVINO on the CPU",
        convention="openvino",
        wrong=(
            Wrong("the bias is cut to an integer", _has_fraction),
            Wrong("an even size of an ONNX model loses a channel of the window", _is_even),
            Wrong(
                "of several axes only height and width count",
                lambda spec, axis: isinstance(axis, tuple) and axis not in ((1,), (2, 3)),
            ),
            Wrong(
                "the frontend for TensorFlow makes sizes 1, 5, 9 of the odd radii 1, 3, 5",
                lambda spec, axis: (
                    axis == -1 and isinstance(spec.before, int) and spec.before % 2 == 1
                ),
            ),
        ),
        beyond=f"over 16 channels and more, {_SPOILS} inputs of 1e7 and more lose digits",
        source="measured with OpenVINO 2026.4; the frontend for TensorFlow Lite has no LRN",
    ),
    "pytorch": Runtime(
        title="PyTorch on the CPU",
        convention="torch",
        slow="it is computed with a 3-D pool, 30 to 100 times slower than lrnorm.torch",
        types={
            "float16": "avg_pool3d is not implemented for this type on the CPU",
            "bfloat16": "avg_pool3d is not implemented for this type on the CPU",
        },
        beyond="inputs of 1e19 and more give 0",
        source="torch/nn/functional.py, local_response_norm; measured with 2.13",
    ),
    "tensorflow": Runtime(
        title="TensorFlow on the CPU",
        convention="tensorflow",
        types={
            "float64": "there is no LRN of this type",
            "bfloat16": "there is no kernel of this type on the CPU",
            "float16": "it is computed in float16, where squares beyond 65504 become inf",
        },
        ranks=(4,),
        beyond="one nan or inf spoils all channels of its pixel; inputs of 1e19 and more give nan",
        source="tensorflow/core/kernels/lrn_op.cc; measured with 2.21",
    ),
    "tensorrt": Runtime(
        title="TensorRT",
        convention="tensorrt",
        source="TensorRT C++ API, nvinfer1::ILRNLayer: odd windows 1 to 15; on the DLA 3, 5, 7, 9",
    ),
    "tflite": Runtime(
        title="TensorFlow Lite",
        convention="tflite",
        types=dict.fromkeys(
            ("float16", "float64", "int8", "uint8", "int16"), "the kernel takes float32 alone"
        ),
        ranks=(4,),
        source="tensorflow/lite/kernels/local_response_norm.cc",
    ),
    "webnn": Runtime(
        title="WebNN",
        convention=None,
        instead=_WRITE_OUT,
        form="pool",
        source="W3C Web Neural Network API, list of operators",
    ),
}

runtimes: Mapping[str, Runtime] = MappingProxyType(_ROWS)
