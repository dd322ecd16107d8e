"""PyTorch in nets: modules, their shapes, arrays in and out, gradients, training."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from refusals import refused

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from lrnorm import KindError, NetChain, NetGraph, NetPort, ShapeError, information  # noqa: E402
from lrnorm import LocalResponseNormalizationLayer as Layer  # noqa: E402
from lrnorm.net import LayerLookupError  # noqa: E402
from lrnorm.torch import as_module  # noqa: E402

LAYER = Layer(alpha=0.9, beta=0.7)


def sample(*shape, dtype=np.float32):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return NetChain(
        {
            "conv": nn.Conv2d(3, 8, 3, stride=2),
            "norm": LAYER,
            "bn": nn.BatchNorm2d(8),
            "relu": F.relu,
            "flat": nn.Flatten(),
            "drop": nn.Dropout(0.5),
            "fc": nn.Linear(200, 4),
        },
        input=(3, 11, 11),
    )


def by_hand(net, x):
    """The same in PyTorch alone, of a batch."""
    module = nn.Sequential(*[m for m in copy.deepcopy(net) if isinstance(m, nn.Module)]).eval()
    conv, bn, flat, _, fc = module
    norm = nn.LocalResponseNorm(5, alpha=0.9, beta=0.7, k=1.0)
    return fc(flat(F.relu(bn(norm(conv(x))))))


# Shapes


def test_shapes_are_told_by_an_empty_batch():
    layers = [nn.Conv2d(3, 8, 3, stride=2), LAYER, nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(4)]
    chain = NetChain(layers, input=(3, 11, 11))
    assert chain.outputs == {"Output": (4,)}
    assert chain.take(4).outputs == {"Output": (32,)}
    assert chain.drop(1).inputs == {"Input": (8, 5, 5)}
    assert layers[4].has_uninitialized_params()  # a copy was asked
    assert chain(sample(3, 11, 11)).shape == (4,)


def test_asking_changes_no_module_and_no_random_number():
    norm, state = nn.BatchNorm2d(3), torch.get_rng_state()
    NetChain([nn.LazyConv2d(3, 3), norm, nn.Dropout()], input=(2, 5, 5))
    assert norm.training
    assert norm.num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_classes_tell_shapes_of_unknown_sizes_both_ways():
    chain = NetChain([LAYER, nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(8)])
    assert chain.ports == {"Input": (3, None, None), "Output": (8, None, None)}
    assert NetChain([nn.MaxPool2d(2), LAYER], output=(6, 3, 3)).inputs == {"Input": (6, None, None)}


def test_modules_that_take_no_empty_batch_are_asked_with_one():
    class Rows(nn.Module):
        def forward(self, x):
            return x.view(x.shape[0], -1)

    assert NetChain([Rows()], input=(3, 2, 2)).outputs == {"Output": (12,)}


def test_clashes_name_both_sides():
    text = r"port 'Input' of layer 1 .* of port 'Output' of layer 0 \(Conv2d\), \(8, .*got \(4, "
    with pytest.raises(ShapeError, match=text):
        NetChain([nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3)])
    text = r"1 \(Linear\) does not take \(12,\), .*'Output' of layer 0 \(Flatten\): mat1"
    with pytest.raises(ShapeError, match=text):
        NetChain([nn.Flatten(), nn.Linear(7, 2)], input=(3, 2, 2))
    with pytest.raises(ValueError, match=r"layer 'c' \(Conv2d\) is connected twice"):
        NetGraph({"a": abs, "b": abs, "c": nn.Conv2d(3, 4, 3)}, [(["a", "b"], "c")])


# Values


def test_arrays_in_arrays_out_as_pytorch_computes(net):
    x = sample(4, 3, 11, 11)
    y = net(x)
    assert (type(y), y.dtype, y.shape) == (np.ndarray, np.float32, (4, 4))
    np.testing.assert_allclose(y, by_hand(net, torch.tensor(x)).detach(), rtol=1e-4, atol=1e-5)
    for each, one in zip(y, x, strict=True):  # an example goes in as a batch of one
        np.testing.assert_allclose(net(one), each, rtol=1e-4, atol=1e-5)
    assert type(net(x, port=NetPort("conv"))) is np.ndarray
    assert np.shape(net(x[0].tolist())) == (4,)
    assert net(x.astype(">f8")[::-1]).shape == (4, 4)


def test_tensors_stay_differentiable(net):
    x = torch.tensor(sample(2, 3, 11, 11), requires_grad=True)
    y = net(x)
    y.square().sum().backward()
    wanted = x.detach().clone().requires_grad_()
    by_hand(net, wanted).square().sum().backward()
    torch.testing.assert_close(x.grad, wanted.grad, rtol=1e-4, atol=1e-5)
    assert net["conv"].weight.grad is not None


def test_functions_of_torch_see_tensors():
    net = NetGraph(
        {"a": nn.Conv2d(3, 2, 1), "b": nn.Conv2d(3, 4, 1), "cat": lambda *xs: torch.cat(xs)},
        [(["a", "b"], "cat")],
    )
    x = sample(5, 3, 4, 4)
    assert net(x).shape == (5, 6, 4, 4)
    assert net.vjp(x).shape == x.shape
    assert (NetChain([torch.tanh])(x) == torch.tanh(torch.tensor(x)).numpy()).all()


def test_ranks_are_told_by_what_fits():
    net = NetChain([nn.Flatten(), nn.Linear(12, 3)])
    for shape, given in (
        ((3, 2, 2), (3,)),
        ((8, 3, 2, 2), (8, 3)),
        ((8, 12), (8, 3)),
        ((12,), (3,)),
    ):
        assert net(sample(*shape)).shape == given
    with pytest.raises(ShapeError, match="does not take"):
        net(sample(3, 5, 7))
    for shape, given in (((3, 2, 2), (12,)), ((8, 3, 2, 2), (8, 12))):  # where both would
        assert NetChain([nn.Flatten()])(sample(*shape)).shape == given


def test_mode_and_seed_are_for_one_call(net):
    x, bn = sample(6, 3, 11, 11), net["bn"]
    assert (net(x) == net(x)).all()
    state = torch.get_rng_state()
    trained = net(x, net_evaluation_mode="Train", random_seeding=3)
    assert bn.num_batches_tracked == 1
    assert (net(x, net_evaluation_mode="Train", random_seeding=3) == trained).all()
    assert torch.equal(torch.get_rng_state(), state)
    assert (net(x, net_evaluation_mode="Train", random_seeding=4) != trained).any()
    assert bn.training
    bn.eval()
    net(x, net_evaluation_mode="Train")
    assert not bn.training


@pytest.mark.parametrize(("name", "dtype"), [("Real64", "f8"), ("Real32", "f4"), ("Mixed", "f2")])
def test_precision_reaches_the_parameters(net, name, dtype):
    x = sample(2, 3, 11, 11, dtype=np.float64)
    y = net(x, working_precision=name)
    assert y.dtype == dtype
    assert net["conv"].weight.dtype is torch.float32
    if name == "Real64":
        exact = copy.deepcopy(as_module(net)).double().eval()(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(y, exact, rtol=1e-12)


# Gradients


@pytest.mark.parametrize("shape", [(3, 11, 11), (2, 3, 11, 11)])
def test_gradients_of_arrays_are_those_of_pytorch(net, shape):
    x = sample(*shape)
    grad = sample(*shape[:-3], 4)
    dx = net.vjp(x, grad)
    tensor = torch.tensor(x if len(shape) == 4 else x[None], requires_grad=True)
    y = by_hand(net, tensor)
    y.backward(torch.tensor(grad).reshape(y.shape))
    assert (type(dx), dx.dtype, dx.shape) == (np.ndarray, np.float32, shape)
    np.testing.assert_allclose(dx, tensor.grad.reshape(shape), rtol=1e-4, atol=1e-6)
    by_tensors = net.vjp(torch.tensor(x), torch.tensor(grad)).detach()
    np.testing.assert_allclose(by_tensors, dx, rtol=1e-5, atol=1e-7)


# Arrays, training


def test_arrays_by_path():
    shared = nn.Linear(4, 4)
    net = NetChain({"a": shared, "block": NetChain({"b": shared, "bn": nn.BatchNorm1d(4)})})
    assert information(net, "ArraysDimensions") == {
        ("a", "weight"): (4, 4),
        ("a", "bias"): (4,),
        ("block", "b", "weight"): (4, 4),
        ("block", "b", "bias"): (4,),
        ("block", "bn", "weight"): (4,),
        ("block", "bn", "bias"): (4,),
        ("block", "bn", "running_mean"): (4,),
        ("block", "bn", "running_var"): (4,),
        ("block", "bn", "num_batches_tracked"): (),
    }
    assert information(net, "SharedArraysCount") == 2
    assert information(net, ["ArraysCount", "ArraysTotalElementCount"]) == [9, 37]
    assert information(net, "ArraysTotalByteCount") == 36 * 4 + 8
    assert net.extract("a", "weight") is shared.weight
    assert net.extract("block", "bn", "bias").shape == (4,)
    with refused(LayerLookupError, "array of layer 'a'", "one of ['weight', 'bias']", "w"):
        net.extract("a", "w")


def test_a_net_trains_as_a_module(net):
    module = as_module(net)
    assert set(module.state_dict()) >= {"conv.weight", "fc.bias", "bn.running_mean"}
    x, wanted = torch.tensor(sample(8, 3, 11, 11)), torch.zeros(8, 4)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.mse_loss(module(x), wanted)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    module.eval()
    np.testing.assert_allclose(module(x).detach(), net(x.numpy()), rtol=1e-6, atol=1e-7)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(as_module(net.replace("relu", nn.ReLU())))))
    torch.testing.assert_close(twin.eval()(x), module(x))


def test_a_net_learns_the_numbers_of_the_normalization():
    module = as_module(NetChain({"block": NetChain({"norm": LAYER})}), learnable="beta")
    assert list(module.state_dict()) == ["block.norm.beta"]
    module(torch.ones(3, 2, 2)).sum().backward()
    assert module.get_parameter("block.norm.beta").grad.abs() > 0
    with pytest.raises(KindError, match="as_module takes a NetChain or NetGraph, got ReLU"):
        as_module(nn.ReLU())


def test_a_module_of_several_ports():
    net = NetGraph({"f": torch.sub}, [(NetPort("p"), "f"), (NetPort("q"), "f")])
    p, q = torch.ones(3, 2, 2), torch.full((3, 2, 2), 3.0)
    assert (as_module(net)(p, q) == -2).all()
    assert (as_module(net)({"q": q, "p": p}) == -2).all()


def test_a_tensor_of_a_foreign_type_is_refused_by_pytorch(net):
    with pytest.raises(RuntimeError):
        net(torch.zeros(3, 11, 11, dtype=torch.float64))


# What PyTorch would spoil, and NumPy's functions among modules


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.ones((3, 4, 4), complex),
            "a torch.nn.Module of torch.float32 takes real numbers",
        ),
        (np.ma.masked_all((3, 4, 4)), r"MaskedArray. Pass x\.filled\(0\)"),
        (np.full((3, 4, 4), "a"), r"a torch.nn.Module takes arrays of numbers, got dtype <U1"),
    ],
)
def test_what_a_module_would_spoil_is_refused(x, message):
    with pytest.raises(KindError, match=message):
        NetChain([nn.Conv2d(3, 4, 1)])(x)


def test_ufuncs_of_numpy_record_gradients_behind_a_module():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 1).double()
    net = NetGraph(
        {"c": conv, "tanh": np.tanh, "add": np.add},
        [("c", "tanh"), (["c", "tanh"], "add")],
        input=(3, 2, 2),
    )
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    expected = conv(x[None])[0]
    expected = expected + expected.tanh()
    torch.testing.assert_close(net(x), expected)
    dx = torch.autograd.grad(expected.sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(net(x).sum(), x)[0], dx)
    np.testing.assert_allclose(net.vjp(x.detach().numpy()), dx.numpy())
    np.testing.assert_allclose(net(x.detach().numpy()), expected.detach().numpy())
