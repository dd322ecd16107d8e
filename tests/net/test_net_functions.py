"""Functions that everybody has: shapes, gradients, several inputs; the kind that came in."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest

import lrnorm
from lrnorm import KindError, NetChain, NetGraph, NetPort, ShapeError
from lrnorm import LocalResponseNormalizationLayer as Layer
from lrnorm.net import elementwise
from lrnorm.net.functions import _RULES, rule_of

L = Layer(alpha=0.9, beta=0.7)
same = np.testing.assert_array_equal


def sample(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.2, 2, size=shape)


def pair(function, *names):
    """A graph that feeds two ports to a function."""
    left, right = names or ("left", "right")
    return NetGraph({"f": function}, [([NetPort(left), NetPort(right)], "f")])


def slope(net, fed, port):
    """The derivative of the sum of a net along ones at a port, by differences."""
    step = 1e-6
    ahead, behind = ({**fed, port: fed[port] + s} for s in (step, -step))
    return (net(ahead).sum() - net(behind).sum()) / (2 * step)


ONE = [n for n, r in _RULES.items() if hasattr(np, n) and getattr(getattr(np, n), "nin", 0) == 1]
TWO = [n for n, r in _RULES.items() if hasattr(np, n) and getattr(getattr(np, n), "nin", 0) == 2]


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("shape", [(5, 2, 3), (4, 5, 2, 3)])
def test_gradients_of_functions_of_one_input(name, shape):
    net, x = NetChain([L, getattr(np, name)], input=(5, 2, 3)), sample(*shape)
    assert net.outputs == {"Output": (5, 2, 3)}
    dx = net.vjp(x)
    assert (dx.shape, dx.dtype, type(dx)) == (x.shape, x.dtype, np.ndarray)
    assert dx.sum() == pytest.approx(slope(net, {"Input": x}, "Input"), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("shape", [(5, 2, 3), (4, 5, 2, 3)])
def test_gradients_of_functions_of_two_inputs(name, shape):
    net = pair(getattr(np, name))
    fed = {"left": sample(*shape), "right": sample(*shape, seed=1)}
    found = net.replace(input=dict.fromkeys(fed, (5, 2, 3))).vjp(fed)
    for port in fed:
        assert found[port].shape == shape
        assert found[port].sum() == pytest.approx(slope(net, fed, port), rel=1e-6)


def test_a_gradient_of_what_was_broadcast_is_summed():
    net = pair(np.multiply).replace(input={"left": (5, 2, 3), "right": (5, 1, 1)})
    assert net.outputs == {"Output": (5, 2, 3)}
    left, right = sample(5, 2, 3), sample(5, 1, 1)
    found = net.vjp({"left": left, "right": right})
    np.testing.assert_allclose(found["right"], left.sum(axis=(1, 2), keepdims=True))
    with pytest.raises(ShapeError, match="do not broadcast"):
        pair(np.add).replace(input={"left": (5, 2, 3), "right": (4, 2, 3)})


@pytest.mark.parametrize(
    ("function", "axis"),
    [(np.concatenate, 0), (functools.partial(np.concatenate, axis=-1), 2)],
)
@pytest.mark.parametrize("batch", [(), (4,)])
def test_joining_arrays(function, axis, batch):
    net = NetGraph({"a": L, "f": function}, [("a", "f"), (NetPort("other"), "f")])
    shape = {0: (2, 2, 3), 2: (5, 2, 4)}[axis]
    known = net.replace(input={"Input": (5, 2, 3), "other": shape})
    joined = tuple(n + (shape[i] if i == axis else 0) for i, n in enumerate((5, 2, 3)))
    assert known.outputs == {"Output": joined}
    x, other = sample(*batch, 5, 2, 3), sample(*batch, *shape, seed=1)
    place = axis + len(batch)
    same(known({"Input": x, "other": other}), np.concatenate([L(x), other], axis=place))
    g = sample(*batch, *joined, seed=2)
    found = known.vjp({"Input": x, "other": other}, g)
    gx, gother = np.split(g, [x.shape[place]], axis=place)
    np.testing.assert_allclose(found["Input"], L.vjp(x, gx), rtol=1e-13)
    same(found["other"], gother)


def test_a_residual_graph_knows_its_shape():
    layers = {"n": L, "add": np.add, "pool": np.tanh}
    edges = [("n", "add", "pool"), (NetPort("Input"), "add")]
    net, x = NetGraph(layers, edges, input=(5, 2, 3)), sample(5, 2, 3)
    assert net.outputs == {"Output": (5, 2, 3)}
    y = L(x) + x
    g = 1 - np.tanh(y) ** 2
    np.testing.assert_allclose(net.vjp(x), g + L.vjp(x, g), rtol=1e-12)


@pytest.mark.parametrize("function", [abs, operator.neg, operator.add, operator.mul])
def test_functions_of_python(function):
    assert rule_of(function) is not None


def test_elementwise_takes_several_inputs():
    product = elementwise(lambda a, b: a * b, vjp=lambda a, b, g: (g * b, g * a))
    net = NetGraph({"n": L, "by": product}, [("n", "by"), (NetPort("other"), "by")])
    known = net.replace(input={"Input": (5, 2, 3)})
    assert known.ports == {"Input": (5, 2, 3), "other": (5, 2, 3), "Output": (5, 2, 3)}
    x, other = sample(5, 2, 3), sample(5, 2, 3, seed=1)
    found = known.vjp({"Input": x, "other": other})
    same(found["other"], L(x))
    same(found["Input"], L.vjp(x, other))


def test_the_way_out_of_a_missing_gradient_works():
    x = sample(5, 2, 3)
    with pytest.raises(KindError, match=r"has no gradient.*elementwise.function, vjp=…."):
        NetChain([np.cbrt]).vjp(x)
    cbrt = elementwise(np.cbrt, vjp=lambda x, g: g / 3 * np.cbrt(x) ** -2)
    np.testing.assert_allclose(NetChain([cbrt]).vjp(x), np.cbrt(x) ** -2 / 3)


# The kind that came in comes out


@pytest.fixture
def jnp():
    return pytest.importorskip("jax.numpy")


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_arrays_come_out_where_jax_ran_inside(jnp):
    net, x = NetChain([L, jnp.tanh]), sample(5, 2, 3).astype(np.float32)
    y = net(x)
    assert (type(y), y.dtype) == (np.ndarray, np.float32)
    np.testing.assert_allclose(y, np.tanh(L(x)), rtol=1e-5)
    dx = net.vjp(x)
    assert type(dx) is np.ndarray
    np.testing.assert_allclose(dx, L.vjp(x, 1 - np.tanh(L(x)) ** 2), rtol=1e-4)
    assert NetChain([L, lambda x: jnp.sum(x, axis=0)])(x).shape == (2, 3)
    assert isinstance(NetChain([L, jnp.tanh])(x.tolist()), list)


def test_jax_arrays_come_out_where_pytorch_ran_inside(jnp, torch):
    x = jnp.asarray(sample(5, 2, 3).astype(np.float32))
    net = NetChain([L, torch.nn.Conv2d(5, 4, 1), np.tanh])
    y, dx = net(x), net.vjp(x)
    for value in (y, dx):
        assert isinstance(value, type(x))
    np.testing.assert_allclose(y, net(np.asarray(x)), rtol=1e-5)
    np.testing.assert_allclose(dx, net.vjp(np.asarray(x)), rtol=1e-4)


def test_tensors_come_out_where_jax_ran_inside(jnp, torch):
    x = torch.tensor(sample(5, 2, 3).astype(np.float32))
    y = NetChain([L, jnp.tanh])(x)
    assert isinstance(y, torch.Tensor)
    np.testing.assert_allclose(y, np.tanh(L(x.numpy())), rtol=1e-5)


def test_a_module_that_returns_several_values_returns_arrays(torch):
    net, x = NetChain([torch.nn.LSTM(3, 4, batch_first=True)]), sample(5, 3).astype(np.float32)
    y, (h, c) = net(x)
    assert {type(value) for value in (y, h, c)} == {np.ndarray}
    assert y.shape == (5, 4)


def test_functions_of_jax_in_joining_graphs(jnp):
    net = NetGraph({"n": L, "cat": jnp.concatenate}, [("n", "cat"), (NetPort("Input"), "cat")])
    known, x = net.replace(input=(5, 2, 3)), sample(4, 5, 2, 3).astype(np.float32)
    assert known.outputs == {"Output": (10, 2, 3)}
    np.testing.assert_allclose(known(x), np.concatenate([L(x), x], axis=1), rtol=1e-6)
    np.testing.assert_allclose(known.vjp(x), L.vjp(x) + 1, rtol=1e-5)
    torch = pytest.importorskip("torch")
    behind = NetChain([np.tanh, torch.nn.MaxPool2d(2)], input=(5, 4, 4))
    assert behind.outputs == {"Output": (5, 2, 2)}


# How nets with functions print, and what is found in them

NAMES = {**{n: getattr(lrnorm, n) for n in dir(lrnorm)}, "np": np, "functools": functools}
NAMES |= {"elementwise": elementwise, "operator": operator}


@pytest.mark.parametrize(
    "layer",
    [np.add, np.tanh, abs, operator.neg, elementwise(np.tanh)],
)
def test_repr_of_a_net_with_functions_evaluates(layer):
    net = NetGraph({"n": L, "f": layer}, [("n", "f")] if layer is not np.add else [])
    assert eval(repr(net), NAMES) == net
    joined = NetGraph({"f": functools.partial(np.concatenate, axis=1)})
    assert "functools.partial(np.concatenate, axis=1)" in repr(joined)


def test_tables_say_the_name_of_a_function():
    net = NetChain({"n": L, "rectify": abs, "own": lambda x: x})
    assert "rectify  abs" in str(net)
    assert "own      function" in str(net)
