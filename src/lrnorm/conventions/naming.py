"""The names of conventions, and their rows in the table."""

from __future__ import annotations

from typing import Any

from lrnorm._spec.errors import KindError, ParameterError
from lrnorm.conventions.measures import Row
from lrnorm.conventions.table import ROWS

# Other names that people use.
ALIASES = {
    "acl": "arm_compute",
    "alexnet": "alexnet_paper",
    "apple": "coreml",
    "armnn": "arm_compute",
    "cudnn_cross_channel": "cudnn",
    "cv2": "opencv",
    "dml": "directml",
    "dnnl": "onednn",
    "keras0": "keras",
    "lrn2d": "keras",
    "lua": "torch7",
    "mathematica": "wolfram",
    "mkldnn": "onednn",
    "mps": "coreml",
    "ort": "onnxruntime",
    "paddlepaddle": "paddle",
    "paper": "alexnet_paper",
    "pylearn2": "lasagne",
    "pytorch": "torch",
    "tf": "tensorflow",
    "theano": "lasagne",
    "tinygrad": "burn",
    "trt": "tensorrt",
}


def names() -> tuple[str, ...]:
    """The conventions there are, sorted. What people say for them works too: "pytorch", "tf".

    >>> import lrnorm
    >>> lrnorm.conventions.names()[:4]
    ('alexnet_paper', 'arm_compute', 'burn', 'caffe')
    """
    return tuple(sorted(ROWS))


def folded(word: str) -> str:
    """A name without what people vary: capitals, underscores, hyphens and spaces."""
    return word.replace("_", "").replace("-", "").replace(" ", "").lower()


_KEYS = {folded(key): key for key in ROWS} | {folded(word): ALIASES[word] for word in ALIASES}


def row_of(name: Any) -> tuple[str, Row]:
    """The key of a convention and its row, from any of its names."""
    if not isinstance(name, str):
        raise KindError("the name of a convention", "must be a str", value=name)
    key = _KEYS.get(folded(name))
    if key is None:
        way_out = f"Choose from {', '.join(names())}."
        raise ParameterError("convention", "must be a known name", value=name, way_out=way_out)
    return key, ROWS[key]
