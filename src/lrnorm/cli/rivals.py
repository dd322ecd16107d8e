"""Other libraries that compute LRN, a row each: what to import, and how to set up a case.

A builder takes the case and its arrays and returns a Ready, or raises Unable with the reason.
A framework is imported only inside its builder. A timed call takes arrays that the framework
already holds; its output is new, or a prepared array where the framework allows that.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrnorm._fronts.core import core as _core
from lrnorm.cli.measuring import Array, Arrays, Case, Entrant, Unable, Who, batch_of

# The largest difference that is rounding, as a share of the largest value of ours.
AGREES = {"float32": 1e-5, "float64": 1e-13, "float16": 2e-3, "bfloat16": 2e-2}
_ITS_OWN = "its own"  # threads, where a framework does not let a caller choose


@dataclass(frozen=True)
class Ready:
    """A rival that is set up for one case."""

    call: Callable[[], Any]
    read: Callable[[Any], Array]  # what call returned, as an array laid out like the case's input
    threads: str
    transposed: bool = False  # its LRN takes the other layout only: x is transposed there and back


@dataclass(frozen=True)
class Rival:
    """Another library's LRN, and how to set it up."""

    modules: tuple[str, ...]
    package: str
    allocates: bool
    build: Callable[[Case, Arrays], Ready]

    def missing(self) -> str | None:
        absent = [name for name in self.modules if importlib.util.find_spec(name) is None]
        if not absent:
            return None
        return f"{' and '.join(absent)} not installed: pip install {self.package}"

    def version(self) -> str:
        # Asked of the module: several packages bring one module (opencv-python, …-headless).
        version = str(getattr(importlib.import_module(self.modules[0]), "__version__", ""))
        return version.split("-")[0]  # OpenVINO adds its commit and branch


def _across_only(case: Case) -> None:
    if case.window != "across":
        raise Unable("is not set up for windows over height and width")


def _forward_only(case: Case) -> None:
    if case.verb != "forward":
        raise Unable("has no gradient of LRN")


# Axes for numpy.transpose and its like, and back.
_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


# PyTorch ------------------------------------------------------------------------------------------


def _tensor(torch: Any, array: Array, case: Case) -> Any:
    """A view of the array, channels at axis 1 as PyTorch wants them."""
    if case.dtype == "bfloat16":  # NumPy's bfloat16 is not PyTorch's
        tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(array)
    return tensor if case.layout == "first" else tensor.permute(_TO_FIRST)


def _torch(case: Case, arrays: Arrays, compiled: bool = False) -> Ready:
    """torch.nn.functional.local_response_norm and its autograd, on tensors that share the arrays'
    memory."""
    torch = importlib.import_module("torch")
    functional = importlib.import_module("torch.nn.functional")
    torch.set_num_threads(case.threads)
    x, g = (_tensor(torch, a, case) for a in (arrays.x, arrays.g))

    def norm(x: Any) -> Any:
        if case.window == "within":  # PyTorch has no such layer: what people write for it
            means = functional.avg_pool2d(x * x, case.width, stride=1, padding=case.radius)
            return x / (case.bias + case.alpha * means) ** case.beta
        return functional.local_response_norm(
            x, case.width, alpha=case.alpha, beta=case.beta, k=case.bias
        )

    if compiled:
        # Left alone, PyTorch would give up compiling after a handful of cases.
        torch.compiler.reset()
        norm = torch.compile(norm, dynamic=False)

    def forward() -> Any:
        with torch.no_grad():
            return norm(x)

    def vjp() -> Any:
        return torch.autograd.grad(norm(x), x, g)[0]

    if case.verb == "vjp":
        x.requires_grad_()

    def read(y: Any) -> Array:
        y = y.detach() if case.layout == "first" else y.detach().permute(_TO_LAST)
        return np.asarray((y.float() if case.dtype == "bfloat16" else y).numpy())

    return Ready(forward if case.verb == "forward" else vjp, read, str(case.threads))


def _torch_compiled(case: Case, arrays: Arrays) -> Ready:
    return _torch(case, arrays, compiled=True)


# Libraries that read an ONNX model ----------------------------------------------------------------


def _onnx_model(case: Case) -> bytes:
    """A model of one LRN node; with channels last, between two Transpose nodes."""
    _across_only(case)
    onnx = importlib.import_module("onnx")
    helper = onnx.helper
    element = getattr(
        onnx.TensorProto,
        {"float32": "FLOAT", "float64": "DOUBLE"}.get(case.dtype, case.dtype.upper()),
    )
    ports = [helper.make_tensor_value_info(n, element, case.stored_shape) for n in ("x", "y")]
    numbers = {"size": case.width, "alpha": case.alpha, "beta": case.beta, "bias": case.bias}
    if case.layout == "first":
        nodes = [helper.make_node("LRN", ["x"], ["y"], **numbers)]
    else:
        nodes = [
            helper.make_node("Transpose", ["x"], ["first"], perm=_TO_FIRST),
            helper.make_node("LRN", ["first"], ["normal"], **numbers),
            helper.make_node("Transpose", ["normal"], ["y"], perm=_TO_LAST),
        ]
    graph = helper.make_graph(nodes, "lrn", ports[:1], ports[1:])
    opset = [helper.make_opsetid("", 13)]
    # An older format version than onnx would write: the runtimes follow it with a delay.
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return bytes(model.SerializeToString())


def _onnxruntime(case: Case, arrays: Arrays) -> Ready:
    """A session that reads and writes bound arrays."""
    _forward_only(case)
    if case.dtype != "float32":
        raise Unable("its LRN takes float32 only")
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = case.threads
    options.log_severity_level = 3
    # Its workers may spin during a call, but not into the next entrant's time.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(_onnx_model(case), options, providers=["CPUExecutionProvider"])
    out = np.zeros_like(arrays.x)
    binding = session.io_binding()
    binding.bind_cpu_input("x", arrays.x)
    binding.bind_output("y", "cpu", 0, np.float32, out.shape, out.ctypes.data)

    def call() -> Array:
        session.run_with_iobinding(binding)
        return out

    return Ready(call, np.asarray, str(case.threads), case.layout == "last")


def _opencv(case: Case, arrays: Arrays) -> Ready:
    _forward_only(case)
    if case.dtype != "float32":
        raise Unable("its nets take float32 only")
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(case.threads)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(_onnx_model(case), np.uint8))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setInput(arrays.x)
    return Ready(net.forward, np.asarray, str(case.threads), case.layout == "last")


# The rest -----------------------------------------------------------------------------------------


def _openvino(case: Case, arrays: Arrays) -> Ready:
    """The operator LRN of opset 8, compiled for the CPU in the case's own precision."""
    _forward_only(case)
    if case.dtype == "float64":
        raise Unable("computes float64 in float32")
    ov = importlib.import_module("openvino")
    ops = importlib.import_module("openvino.opset8")
    element = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[case.dtype]
    x = ops.parameter(case.stored_shape, getattr(ov.Type, element))
    z = x if case.layout == "first" else ops.transpose(x, np.array(_TO_FIRST))
    axes = np.array([1] if case.window == "across" else [2, 3])
    y = ops.lrn(z, axes, case.alpha, case.beta, case.bias, case.width)
    y = y if case.layout == "first" else ops.transpose(y, np.array(_TO_LAST))
    settings = {
        "INFERENCE_NUM_THREADS": case.threads,
        # Left alone it would compute float32 in bfloat16 where the processor can.
        "INFERENCE_PRECISION_HINT": element,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = ov.Core().compile_model(ov.Model([y], [x]), "CPU", settings).create_infer_request()
    bits = arrays.x.view(np.uint16) if element == "bf16" else arrays.x
    request.set_input_tensor(ov.Tensor(bits, case.stored_shape, getattr(ov.Type, element)))

    def call() -> Any:
        request.infer()
        return request

    def read(request: Any) -> Array:  # bfloat16 comes under the name of float16
        return np.asarray(request.get_output_tensor().data.view(arrays.x.dtype))

    return Ready(call, read, str(case.threads), case.layout == "last")


def _jax(case: Case, arrays: Arrays) -> Ready:
    """What people write in JAX, which has no LRN: jax.lax.reduce_window over the squares, under
    jit."""
    _across_only(case)
    jax = importlib.import_module("jax")
    if case.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    jnp = importlib.import_module("jax.numpy")
    window = tuple(case.width if (axis,) == case.axes else 1 for axis in range(4))
    edges = tuple((case.radius,) * 2 if (axis,) == case.axes else (0, 0) for axis in range(4))
    half = case.dtype in ("float16", "bfloat16")

    def norm(x: Any) -> Any:
        z = x.astype(jnp.float32) if half else x  # squares of halves overflow
        total = jax.lax.reduce_window(z * z, 0.0, jax.lax.add, window, (1,) * 4, edges)
        y = z * (case.bias + case.alpha / case.width * total) ** -case.beta
        return y.astype(x.dtype)

    x, g = jnp.asarray(arrays.x), jnp.asarray(arrays.g)
    if case.verb == "forward":
        forward = jax.jit(norm)
        return Ready(lambda: forward(x).block_until_ready(), np.asarray, _ITS_OWN)
    vjp = jax.jit(lambda x, g: jax.vjp(norm, x)[1](g)[0])
    return Ready(lambda: vjp(x, g).block_until_ready(), np.asarray, _ITS_OWN)


def _tensorflow(case: Case, arrays: Arrays) -> Ready:
    """tf.nn.local_response_normalization, channels last, under tf.function."""
    _across_only(case)
    if case.dtype not in ("float32", "float16"):
        raise Unable("its LRN takes float32 and float16 only on the CPU")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # less of its start-up talk
    tf = importlib.import_module("tensorflow")

    def norm(x: Any) -> Any:
        z = x if case.layout == "last" else tf.transpose(x, _TO_LAST)
        y = tf.nn.local_response_normalization(
            z, case.radius, case.bias, case.alpha / case.width, case.beta
        )
        return y if case.layout == "last" else tf.transpose(y, _TO_FIRST)

    def gradient(x: Any, g: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = norm(x)
        return tape.gradient(y, x, g)

    with tf.device("CPU"):
        x, g = tf.constant(arrays.x), tf.constant(arrays.g)
        run = tf.function(norm if case.verb == "forward" else gradient)
    inputs = (x,) if case.verb == "forward" else (x, g)
    turned = case.layout == "first"
    return Ready(lambda: run(*inputs), lambda y: np.asarray(y.numpy()), _ITS_OWN, turned)


RIVALS = {
    "torch": Rival(("torch",), "torch", True, _torch),
    "torch.compile": Rival(("torch",), "torch", True, _torch_compiled),
    "openvino": Rival(("openvino",), "openvino", False, _openvino),
    "onnxruntime": Rival(("onnxruntime", "onnx"), "onnxruntime onnx", False, _onnxruntime),
    "jax": Rival(("jax",), "jax", True, _jax),
    "opencv": Rival(("cv2", "onnx"), "opencv-python-headless onnx", True, _opencv),
    "tensorflow": Rival(("tensorflow",), "tensorflow", True, _tensorflow),
}


def _first_words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # "in user code:" and the like announce what the last line says.
    return (lines[-1] if lines[0].endswith(":") else lines[0])[:160]


def rival_entrant(name: str, case: Case, arrays: Arrays, expected: Array) -> Entrant:
    """The rival ready to be timed, compared with ours first; Unable where it cannot do the case."""
    rival = RIVALS[name]
    absent = rival.missing()
    if absent:
        raise Unable(absent)
    if case.verb not in ("forward", "vjp"):
        raise Unable(f"is not set up for {case.verb}")
    try:
        ready = rival.build(case, arrays)
        result = np.asarray(ready.read(ready.call()), dtype=np.float64)
    except Unable:
        raise
    except Exception as error:  # whatever a framework says it cannot do
        raise Unable(_first_words(error)) from error
    ours = expected.astype(np.float64)
    if result.shape != ours.shape:
        raise Unable(f"returned shape {result.shape} for {ours.shape}")
    difference = float(np.abs(result - ours).max() / np.abs(ours).max())
    threads = ready.threads
    if threads == _ITS_OWN:
        threads = f"{_ITS_OWN} ({_core.usable_processors()} processors)"
    notes: tuple[str, ...] = ()
    if ready.transposed:
        notes = ("transposes there and back: its LRN takes the other layout only",)
    if not difference <= AGREES[case.dtype]:
        notes = (*notes, f"disagrees with ours by {difference:.1e} of the largest value")
    who = Who(case, name, rival.allocates, threads, rival.version(), difference, notes)
    return Entrant(who, batch_of(ready.call))
