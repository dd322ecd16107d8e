"""Swap it into PyTorch: one call, the same numbers, and alpha, beta and k that learn.

    python examples/swap_into_pytorch.py [--out FOLDER]

The text beside it is docs/tutorials/swap_into_pytorch.md.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn

import lrnorm.torch

parser = argparse.ArgumentParser(description="Swap it into PyTorch.")
parser.add_argument("--out", type=Path, help="folder for the picture; default: a new one")
out = parser.parse_args().out or Path(tempfile.mkdtemp(prefix="swap_into_pytorch-"))
out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)

# [model]
model = nn.Sequential(
    nn.Conv2d(3, 48, 11, stride=4),
    nn.ReLU(),
    nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
    nn.MaxPool2d(3, 2),
    nn.Conv2d(48, 64, 5, padding=2),
    nn.ReLU(),
    nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(64, 10),
)
pictures = 255 * torch.rand(8, 3, 131, 131)
before = model(pictures)
print(lrnorm.torch.find(model))
# [end model]


# [clock]
def milliseconds(model: nn.Module) -> float:
    """Of the fastest of five passes, forward and backward."""
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        model(pictures).sum().backward()
        rounds.append(1000 * (time.perf_counter() - start))
    return min(rounds)


theirs = milliseconds(model)
# [end clock]

# [replace]
lrnorm.torch.replace(model)
after = model(pictures)
difference = (after - before).abs().max() / before.abs().max()
print(f"largest difference after replace: {difference:.0e} of the largest output")
print(f"forward and backward: {theirs:.0f} ms before, {milliseconds(model):.0f} ms after")
# [end replace]

# [compile]
compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
print("compiled, the same:", torch.allclose(compiled(pictures), after, rtol=1e-5))
# [end compile]

# [learn]
# Sixteen neurons answered to these inputs by a normalization whose numbers nobody told us.
torch.manual_seed(1)
inputs = 2 * torch.randn(256, 16, 1)
answers = nn.LocalResponseNorm(7, alpha=3.0, beta=0.6, k=0.5)(inputs)

small = nn.Sequential(nn.LocalResponseNorm(7, alpha=1.0, beta=1.0, k=1.0))
checkpoint = small.state_dict()
lrnorm.torch.replace(small, learnable=True)
small.load_state_dict(checkpoint, strict=True)  # from before there were parameters
layer = small[0]
optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
history = [[p.item() for p in layer.parameters()]]
for _ in range(1500):
    optimizer.zero_grad()
    nn.functional.mse_loss(layer(inputs), answers).backward()
    optimizer.step()
    history.append([p.item() for p in layer.parameters()])
print("learnt:", ", ".join(f"{n} {p.item():.3f}" for n, p in layer.named_parameters()))
# [end learn]

figure = Figure(figsize=(10.5, 3.8), layout="constrained")
left, right = figure.subplots(1, 2)
truth = {"alpha": 3.0, "beta": 0.6, "k": 0.5}
for (name, value), learnt, colour in zip(
    truth.items(), zip(*history, strict=True), ("#D55E00", "#0072B2", "#009E73"), strict=True
):
    left.plot(learnt, color=colour, linewidth=2, label=name)
    left.axhline(value, color=colour, linestyle="--", linewidth=1)
left.set_title("The numbers find those behind the data (dashed)")
left.set_xlabel("step")
left.legend(frameon=False, ncols=3, loc="upper left")
left.set_ylim(0, 3.8)
x = torch.linspace(0, 6, 61).reshape(1, 1, -1)
responses = {
    "the data's": lrnorm.torch.local_response_norm(x, 7, *truth.values()),
    "at the start": lrnorm.torch.local_response_norm(x, 7, *history[0]),
    "learnt": lrnorm.torch.local_response_norm(x, 7, *history[-1]),
}
for (name, y), style in zip(responses.items(), ("0.7", "#E69F00", "#0072B2"), strict=True):
    dashed = name == "learnt"
    right.plot(x[0, 0], y[0, 0], "--" if dashed else "-", color=style, label=name, linewidth=3)
right.set_title("What a neuron answers, alone")
right.set_xlabel("input")
right.set_ylabel("answer")
right.legend(frameon=False)
figure.savefig(out / "tutorial_swap_into_pytorch.png", dpi=80)
print("picture in", out)
