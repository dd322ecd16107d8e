"""A small valid file of each format, from which damaged ones are made."""

from __future__ import annotations

import base64
import io
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import model_files
from model_files import DATA

from lrnorm.models.source import Source

Seed = Callable[[], tuple[str, bytes]]
Pack = Callable[[bytes], bytes]

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_PROGRAM = DATA / "p16.mlpackage/Data/com.apple.CoreML/model.mlmodel"
_MODULE = (
    b"\x80\x02ctorch.nn.modules.normalization\nLocalResponseNorm\n)\x81}("
    b"X\x08\0\0\0_modulesccollections\nOrderedDict\n)R"
    b"X\x04\0\0\0sizeK\x05X\x05\0\0\0alphaG\x3f\x1a\x36\xe2\xeb\x1c\x43\x2dub."
)
_SCRIPT = """class LocalResponseNorm(Module):
  __parameters__ = []
  def forward(self: __torch__.LocalResponseNorm,
    x: Tensor) -> Tensor:
    _0 = __torch__.torch.nn.functional.local_response_norm
    squares = torch.mul(x, x)
    padded = torch.pad(torch.view(squares, [1, 1, 8, 5, -1]), [0, 0, 0, 0, 2, 2])
    mean = torch.squeeze(torch.avg_pool3d(padded, [5, 1, 1], [1, 1, 1], [0, 0, 0]), 1)
    y = torch.div(x, torch.pow(torch.add(torch.mul(mean, 0.9), 2.), 0.75))
    return _0((self).forward(y, ), 5, 0.9, 0.75, 2., )
"""
_ARCHIVE: dict[str, str | bytes] = {
    "net/code/__torch__.py": _SCRIPT,
    "net/data.pkl": b"\x80\x02c__torch__\nLocalResponseNorm\n)\x81.",
    "net/constants.pkl": b"\x80\x02(K\x05t.",
}
_EXPORTED = """{"graph_module": {"graph": {"nodes": [
{"target": "torch.ops.aten.mul.Tensor", "outputs": [{"as_tensor": {"name": "s"}}],
 "inputs": [{"arg": {"as_tensor": {"name": "x"}}}, {"arg": {"as_tensor": {"name": "x"}}}]},
{"target": "torch.ops.lrnorm.forward.default", "outputs": [{"as_tensor": {"name": "y"}}],
 "inputs": [{"arg": {"as_tensor": {"name": "s"}}}, {"arg": {"as_float": 0.2}},
  {"arg": {"as_float": 0.75}}, {"arg": {"as_float": 1.0}}, {"arg": {"as_int": 2}},
  {"arg": {"as_int": 2}}, {"arg": {"as_int": 1}}]}], "tensor_values": {"s": {"dtype": 7,
 "sizes": [{"as_int": 2}]}}}}}"""

_PROGRAM_ARCHIVE: dict[str, str | bytes] = {"net/models/model.json": _EXPORTED}


def _file(name: str) -> Seed:
    return lambda: (Path(name).name, (DATA / name).read_bytes())


def _packed(entries: dict[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    return file.getvalue()


def _zip(name: str, entries: dict[str, str | bytes]) -> Seed:
    return lambda: (name, _packed(entries))


def _onnx() -> tuple[str, bytes]:
    message = model_files.message
    size = message((1, "size"), (3, 5), (20, 2))
    alpha = message((1, "alpha"), (2, 0.9), (20, 1))
    node = message((1, "x"), (2, "y"), (3, "norm1"), (4, "LRN"), (5, size), (5, alpha))
    call = message((1, "x"), (2, "z"), (4, "f"), (7, "d"))
    shape = message((1, message((1, 2))), (1, message((2, "c"))))
    kind = message((1, message((1, 1), (2, shape))))
    graph = message((1, node), (1, call), (11, message((1, "x"), (2, kind))))
    function = message((1, "f"), (7, node), (10, "d"))
    return "net.onnx", message((1, 8), (2, "test"), (7, graph), (25, function))


def _mat() -> tuple[str, bytes]:
    from scipy import io as scipy_io

    file = io.BytesIO()
    net = {"layers": {"type": "lrn", "name": "n", "param": [5.0, 1.0, 2e-5, 0.75]}}
    scipy_io.savemat(file, net, do_compression=False)
    return "net.mat", file.getvalue()


def _packed_mat() -> tuple[str, bytes]:
    name, data = _mat()
    body = zlib.compress(data[128:])
    return name, data[:128] + b"\x0f\0\0\0" + len(body).to_bytes(4, "little") + body


def _h5(name: str) -> Seed:
    def made() -> tuple[str, bytes]:
        import h5py

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            with h5py.File(path, "w") as file:
                file.attrs["model_config"] = (DATA / "keras_config.json").read_text().encode()
                expression = zlib.compress(model_files.wolfram_expression())
                file["Network"] = b"1:" + base64.b64encode(expression)
            return name, path.read_bytes()

    return made


SEEDS: dict[str, Seed] = {
    "caffe": lambda: ("net.caffemodel", model_files.caffemodel()),
    "caffe_2012": lambda: ("net.caffemodel", model_files.caffemodel(generation=2012)),
    "caffe_text": lambda: (
        "net.prototxt",
        b'layer { name: "n" type: "LRN" include { phase: TEST } lrn_param { alpha: 1e-4 k: 2 } }',
    ),
    "tensorflow": _file("graph.pb"),
    "tensorflow_text": _file("graph.pbtxt"),
    "tensorflow_saved": _file("saved/saved_model.pb"),
    "tflite": _file("m.tflite"),
    "openvino": _file("ov.xml"),
    "onnx": _onnx,
    "coreml": _file("p.mlmodel"),
    "coreml_program": lambda: ("net.mlmodel", _PROGRAM.read_bytes()),
    "torch7": lambda: ("net.t7", model_files.torch7(size=5)),
    "torch7_ascii": lambda: ("net.t7", model_files.torch7(ascii=True, size=5)),
    "ncnn": lambda: ("net.param", b"7767517\n1 2\nLRN norm1 1 1 a b 0=0 1=5 2=1.0e-04 3=0.75\n"),
    "mxnet": lambda: ("net.json", model_files.mxnet(nsize="5").encode()),
    "darknet": lambda: ("net.cfg", b"[net]\nwidth=8\n[lrn]\nsize=5\nalpha=1e-4\n"),
    "nnef": lambda: (
        "graph.nnef",
        b"version 1.0;\ny = local_response_normalization(x, size = [1, 5, 1, 1]);\n",
    ),
    "paddle": lambda: ("net.pdmodel", model_files.paddle(n=5, alpha=1e-4)),
    "mnn": lambda: ("net.mnn", model_files.mnn(localSize=5, alpha=1.0, beta=0.75)),
    "torch": lambda: ("net.pkl", _MODULE),
    "torch_export": _zip("net.pt2", _PROGRAM_ARCHIVE),
    "torchscript": _zip("net.pt", _ARCHIVE),
    "matconvnet": _mat,
    "matconvnet_packed": _packed_mat,
    "keras": _zip(
        "net.keras",
        {"metadata.json": "{}", "config.json": (DATA / "keras_config.json").read_bytes()},
    ),
    "keras_config": lambda: ("net.json", (DATA / "keras_config.json").read_bytes()),
    "keras_h5": _h5("net.h5"),
    "wolfram": _h5("net.wlnet"),
}


def _entry(archive: dict[str, str | bytes], name: str) -> tuple[bytes, Pack]:
    content = archive[name]
    plain = content.encode() if isinstance(content, str) else content
    return plain, lambda data: _packed({**archive, name: data})


def _network(expression: bytes) -> bytes:
    return SIGNATURE + b"1:" + base64.b64encode(zlib.compress(expression))


# Archives have a checksum, so that a changed byte in one is refused before it is read. Here the
# bytes inside are changed: the format, the bytes, and what packs them.
INSIDE: dict[str, tuple[str, bytes, Pack]] = {
    "torchscript_code": ("torchscript", *_entry(_ARCHIVE, "net/code/__torch__.py")),
    "torchscript_data": ("torchscript", *_entry(_ARCHIVE, "net/data.pkl")),
    "torch_export_graph": ("torch_export", *_entry(_PROGRAM_ARCHIVE, "net/models/model.json")),
    "wolfram_expression": ("wolfram", model_files.wolfram_expression(), _network),
}


def network(source: Source, kind: str, key: str) -> tuple[bytes, list[str]]:
    """Stands in for `value_of` of lrnorm.models.hdf5, which starts a process for each file."""
    return bytes(source.data[len(SIGNATURE) :]), []
