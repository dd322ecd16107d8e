"""Several processes: DDP, FSDP2 and DTensor give what one process gives."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lrnorm

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("PyTorch without torch.distributed", allow_module_level=True)

import torch.distributed as dist  # noqa: E402
from torch import nn  # noqa: E402

import lrnorm.torch  # noqa: E402

PROCESSES = 2
SECONDS = 150


def run(folder: Path, *works: Callable[[int], None]) -> None:
    """Each `work(rank)` in turn in all processes, which take long to start; what fails there fails
    here, and so does a hang."""
    names = [work.__name__ for work in works]
    processes = [
        # -P: what lies beside this file is not to be imported in place of what it is named after.
        subprocess.Popen(
            [sys.executable, "-P", __file__, str(rank), str(folder / "meet"), *names],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(PROCESSES)
    ]
    try:
        said = [process.communicate(timeout=SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * PROCESSES, "\n".join(said)
    assert [text.splitlines()[-1] for text in said] == [f"done: {names}"] * PROCESSES


def _one_of_them(rank: str, meet: str, *names: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{meet}", rank=int(rank), world_size=PROCESSES
    )
    for name in names:
        globals()[name](int(rank))
    dist.destroy_process_group()
    print(f"done: {list(names)}")


# Training


def small_net() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        lrnorm.torch.LocalResponseNorm(4, 1.2, 0.6, 1.1, learnable=True),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3),
        lrnorm.torch.LocalResponseNormalizationLayer(learnable="alpha"),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 5),
    )


def data() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(8, 3, 8, 8, generator=generator)
    return x, torch.randint(5, (8,), generator=generator)


def train(model: Any, x: Any, labels: Any, steps: int = 4) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()


def trained_alone() -> dict[str, Any]:
    model = small_net()
    train(model, *data())
    before = small_net().state_dict()
    state = model.state_dict()
    assert all(not torch.equal(state[name], before[name]) for name in state)
    return state


def same(state: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(state) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5)


def _part(rank: int) -> tuple[Any, Any]:
    x, labels = data()
    half = len(x) // PROCESSES
    return x[rank * half : (rank + 1) * half], labels[rank * half : (rank + 1) * half]


def ddp(rank: int) -> None:
    model = nn.parallel.DistributedDataParallel(small_net())
    train(model, *_part(rank))
    same(model.module.state_dict(), trained_alone())


def fsdp(rank: int) -> None:
    from torch.distributed.fsdp import fully_shard

    model = small_net()
    mesh = dist.init_device_mesh("cpu", (PROCESSES,))
    for layer in model:
        if any(True for _ in layer.parameters()):
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    train(model, *_part(rank))
    same({name: p.full_tensor() for name, p in model.state_dict().items()}, trained_alone())


def test_training_in_two_processes_is_training_in_one(tmp_path: Path) -> None:
    run(tmp_path, ddp, fsdp)


# DTensor

X = torch.randn(4, 6, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _counted(call: Callable[[], Any]) -> tuple[Any, int]:
    from torch.distributed.tensor.debug import CommDebugMode

    with CommDebugMode() as mode:
        result = call()
    return result, mode.get_total_counts()


def pixels_stay(rank: int) -> None:
    """Cut along any axis but the channels, nothing is sent, forwards or backwards."""
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = dist.init_device_mesh("cpu", (PROCESSES,))
    module = lrnorm.torch.LocalResponseNorm(4, 1.2)
    x = X.clone().requires_grad_()
    module(x).pow(2).sum().backward()
    for place in (Shard(0), Shard(2), Shard(3), Replicate()):
        d = distribute_tensor(X, mesh, [place]).requires_grad_()
        y, sent = _counted(lambda d=d: module(d))
        assert (sent, y.placements) == (0, (place,)), (place, sent, y.placements)
        loss = y.pow(2).sum()
        _, sent = _counted(loss.backward)
        assert (sent, d.grad.placements) == (0, (place,)), (place, sent)
        assert torch.equal(y.full_tensor(), module(X))
        assert torch.equal(d.grad.full_tensor(), x.grad)


def channels_gather(rank: int) -> None:
    from torch.distributed.tensor import DTensor, Partial, Shard, distribute_tensor

    mesh = dist.init_device_mesh("cpu", (PROCESSES,))
    module = lrnorm.torch.LocalResponseNorm(4, 1.2)
    x = X.clone().requires_grad_()
    module(x).pow(2).sum().backward()
    d = distribute_tensor(X, mesh, [Shard(1)]).requires_grad_()
    y, sent = _counted(lambda: module(d))
    assert sent > 0
    assert torch.equal(y.full_tensor(), module(X))
    y.pow(2).sum().backward()
    assert torch.equal(d.grad.full_tensor(), x.grad)
    # Pieces that are yet to be added up: the formula is of their sum.
    pieces = DTensor.from_local(X / PROCESSES, mesh, [Partial()])
    assert torch.equal(module(pieces).full_tensor(), module(X))
    # A batch that the processes cannot share alike.
    uneven = distribute_tensor(X[:3], mesh, [Shard(0)])
    assert torch.equal(module(uneven).full_tensor(), module(X[:3]))


def boxes(rank: int) -> None:
    """Over height and width, batch and channels stay in place; the box's axes are gathered."""
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = dist.init_device_mesh("cpu", (PROCESSES,))
    spec = lrnorm.LRNSpec(0.3, 0.75, 1.0, (1, 1), (2, 0))

    def f(x: Any) -> Any:
        return lrnorm.local_response_norm(x, spec=spec, axis=(2, 3))

    x = X.clone().requires_grad_()
    f(x).pow(2).sum().backward()
    for place, stays in ((Shard(0), True), (Shard(1), True), (Shard(2), False), (Shard(3), False)):
        d = distribute_tensor(X, mesh, [place]).requires_grad_()
        y, sent = _counted(lambda d=d: f(d))
        assert (sent == 0) == stays == (y.placements == (place,)), (place, sent, y.placements)
        assert torch.equal(y.full_tensor(), f(X))
        y.pow(2).sum().backward()
        assert torch.equal(d.grad.full_tensor(), x.grad)


def derivatives(rank: int) -> None:
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = dist.init_device_mesh("cpu", (PROCESSES,))
    verbs = lrnorm.local_response_norm_vjp, lrnorm.local_response_norm_jvp
    other = X.flip(1)
    _, expected = lrnorm.local_response_norm_vjp(X, other, parameters=True)
    for place in (Shard(0), Shard(1), Shard(2)):
        d, e = (distribute_tensor(t, mesh, [p]) for t, p in ((X, place), (other, Shard(0))))
        for verb in verbs:
            assert torch.equal(verb(d, e).full_tensor(), verb(X, other))
        _, totals = lrnorm.local_response_norm_vjp(d, e, parameters=True)
        for name, total in totals.items():
            torch.testing.assert_close(total.full_tensor(), expected[name])

    def twice(x: Any) -> Any:
        x = x.detach().requires_grad_()
        y = lrnorm.torch.local_response_norm(x, 4, 1.2).pow(2).sum()
        (dx,) = torch.autograd.grad(y, x, create_graph=True)
        return torch.autograd.grad(dx.pow(2).sum(), x)[0]

    cut = distribute_tensor(X, mesh, [Shard(0)])
    torch.testing.assert_close(twice(cut).full_tensor(), twice(X))


def learned(rank: int) -> None:
    from torch.distributed.tensor import Shard, distribute_module, distribute_tensor

    mesh = dist.init_device_mesh("cpu", (PROCESSES,))
    module = lrnorm.torch.LocalResponseNorm(4, 1.2, learnable=True)
    spread = distribute_module(copy.deepcopy(module), mesh)
    module(X).pow(2).sum().backward()
    for place in (Shard(0), Shard(2), Shard(1)):
        spread.zero_grad()
        y, sent = _counted(
            lambda place=place: spread(distribute_tensor(X, mesh, [place], src_data_rank=None))
        )
        assert (sent > 0) == (place == Shard(1))
        assert torch.equal(y.full_tensor(), module(X))
        y.pow(2).sum().backward()
        for p, alone in zip(spread.parameters(), module.parameters(), strict=True):
            torch.testing.assert_close(p.grad.full_tensor(), alone.grad)


def test_tensors_spread_over_processes(tmp_path: Path) -> None:
    run(tmp_path, pixels_stay, channels_gather, boxes, derivatives, learned)


if __name__ == "__main__":
    _one_of_them(*sys.argv[1:])
