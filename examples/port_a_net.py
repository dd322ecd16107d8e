"""Port a net from another framework: what the words mean, what goes wrong, and a model repaired.

    python examples/port_a_net.py [--out FOLDER]

The text beside it is docs/tutorials/port_a_net.md.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from matplotlib.figure import Figure

import lrnorm
from lrnorm import conventions
from lrnorm.cli import main as command

parser = argparse.ArgumentParser(description="Port a net from another framework.")
parser.add_argument("--out", type=Path, help="folder for what is written; default: a new one")
out = parser.parse_args().out or Path(tempfile.mkdtemp(prefix="port_a_net-"))
out.mkdir(parents=True, exist_ok=True)
os.chdir(out)

# [prototxt]
# The first LRN of BVLC's AlexNet, as models/bvlc_alexnet/deploy.prototxt has it.
DEPLOY = """\
name: "AlexNet"
layer {
  name: "norm1"
  type: "LRN"
  bottom: "conv1"
  top: "norm1"
  lrn_param {
    local_size: 5
    alpha: 0.0001
    beta: 0.75
  }
}
"""
Path("deploy.prototxt").write_text(DEPLOY)
# [end prototxt]

# [words]
[norm1] = lrnorm.models.find("deploy.prototxt")
print(norm1.name, norm1.convention, norm1.words)
spec = norm1.spec
print(spec)

in_tensorflow = conventions.write("tensorflow", spec)
print(in_tensorflow)
print("read again, the same:", conventions.read("tensorflow", **in_tensorflow) == spec)
# [end words]

# [convert]
command(["convert", "deploy.prototxt", "tensorflow"])
# [end convert]

# [copied]
copied = conventions.read("tensorflow", depth_radius=5, alpha=1e-4, beta=0.75)
undivided = conventions.read("tensorflow", depth_radius=2, alpha=1e-4, beta=0.75)
short = conventions.read("tensorflow", depth_radius=2, alpha=2e-5)
mistakes = {
    "all numbers copied: depth_radius=5, alpha=1e-4": copied,
    "alpha copied: depth_radius=2, alpha=1e-4": undivided,
    "beta left out, which is 0.5 in TensorFlow": short,
}
# Activations as in a net that is fed pixels of 0 … 255: hundreds, and half of them 0.
x = np.maximum(0, np.random.default_rng(0).normal(0, 150, (64, 28, 28)))
right = lrnorm.local_response_norm(x, spec=spec)
off = {}
for mistake, wrong in mistakes.items():
    y = lrnorm.local_response_norm(x, spec=wrong)
    off[mistake] = np.abs(y - right).max() / right.max()
    print(f"{mistake}: off by {off[mistake]:.0%}")
# [end copied]

# [explain]
print(lrnorm.explain(x[:8, 0, 0], 3, axis=0, spec=(spec, copied)))
# [end explain]

# [broken]
# What a converter wrote that divided alpha by the size, as ONNX does once more.
node = onnx.helper.make_node("LRN", ["x"], ["y"], "norm1", size=5, alpha=2e-5, beta=0.75)
port = [
    onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 64, 28, 28])
    for name in ("x", "y")
]
graph = onnx.helper.make_graph([node], "ported", port[:1], port[1:])
opset = [onnx.helper.make_opsetid("", 17)]
broken = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
onnx.save(broken, "broken.onnx")
command(["inspect", "deploy.prototxt", "broken.onnx"])
# [end broken]

# [repaired]
repaired = lrnorm.onnx.rewrite(broken, dict.fromkeys(lrnorm.onnx.specs(broken), spec))
onnx.save(repaired, "repaired.onnx")
command(["inspect", "deploy.prototxt", "repaired.onnx"])
# [end repaired]

# [run]
for name in ("broken", "repaired"):
    session = onnxruntime.InferenceSession(f"{name}.onnx")
    [y] = session.run(None, {"x": x[np.newaxis].astype(np.float32)})
    print(f"{name}: off by {np.abs(y[0] - right).max() / right.max():.2%}")
# [end run]

figure = Figure(figsize=(10.5, 3.6), layout="constrained")
bars, pixel = figure.subplots(1, 2, width_ratios=[1, 1.15])
place = np.arange(len(off))
bars.barh(place, [100 * part for part in off.values()], height=0.45, color="#D55E00")
for i, (mistake, part) in enumerate(off.items()):
    bars.text(1, i - 0.35, mistake, va="center", fontsize=9)
    bars.text(100 * part + 1, i, f"{part:.0%}", va="center", fontweight="bold")
bars.set_ylim(len(off) - 0.5, -0.7)
bars.set_xlim(0, 120 * max(off.values()))
bars.set_yticks([])
bars.set_xlabel("largest difference, % of the largest output")
bars.set_title("Caffe's layer, ported to TensorFlow by hand")
bars.spines[["top", "right"]].set_visible(False)
channel = np.arange(16)
pixel.bar(channel, right[:16, 0, 0], width=0.9, color="#0072B2", alpha=0.5, label="right")
wrong = lrnorm.local_response_norm(x, spec=copied)[:16, 0, 0]
pixel.bar(channel, wrong, width=0.45, color="#D55E00", label="all numbers copied")
pixel.set_title("16 channels of one pixel")
pixel.set_xlabel("channel")
pixel.set_ylabel("output")
pixel.legend(frameon=False, ncols=2, loc="upper left")
pixel.set_ylim(top=1.25 * max(right[:16, 0, 0]))
figure.savefig("tutorial_port_a_net.png", dpi=80)
print("models and picture in", Path.cwd())
