"""The layer: the seed's examples, a value, its ports, what it takes and gives, derivatives."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

import lrnorm
from lrnorm import KindError, LRNormError, ParameterError, ShapeError
from lrnorm import LocalResponseNormalizationLayer as Layer
from lrnorm._spec import reference

SETTINGS = {"alpha": 0.9, "beta": 0.7, "bias": 1.1, "channel_window_size": (2, 1)}
UNKNOWN = (None, None, None)

# Float64 loses a few units in the last place against the oracle's plain sums; float32 one rounding
# of the result and of its input's square.
RTOL = {np.float64: 2e-14, np.float32: 1e-6}

same = np.testing.assert_array_equal


def sample(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) * 2


def expected(x, layer):
    return reference.forward(x, layer.spec, x.ndim - 3)


@pytest.fixture
def layer():
    return Layer(**SETTINGS)


# The seed's own examples


def test_seed_create():
    text = "LocalResponseNormalizationLayer(alpha=1.0, beta=0.5, bias=1.0, channel_window_size=2)"
    assert repr(Layer()) == text
    assert repr(Layer(input=(5, None, 1))) == f"{text[:-1]}, input=(5, None, 1))"


def test_seed_input_dimensions():
    layer = Layer(input=(5, 2, 1))
    x = np.random.default_rng(1).random((5, 2, 1))
    assert layer(x).shape == (5, 2, 1)
    np.testing.assert_allclose(layer(x), expected(x, layer), rtol=RTOL[np.float64])


def test_seed_batch_of_nested_lists():
    layer = Layer(input=(5, 1, 1))
    data = [[[-2]], [[-1]], [[0]], [[1]], [[2]]]
    by_hand = [-1.41421356, -0.67419986, 0, 0.67419986, 1.41421356]
    y = layer(data)
    assert (type(y), type(y[0][0][0])) == (list, float)
    assert [row[0][0] for row in y] == pytest.approx(by_hand, abs=5e-9)
    both = layer([data, data[::-1]])
    assert both[0] == y
    assert [row[0][0] for row in both[1]] == pytest.approx(by_hand[::-1], abs=5e-9)


def test_worked_by_hand():
    x = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    by_hand = [0.51298918, 1.02597835, 1.53896753]
    assert Layer()(x).ravel() == pytest.approx(by_hand, abs=5e-9)
    layer = Layer(alpha=2, beta=0.75, bias=0.5, channel_window_size=1)
    assert layer(x).ravel() == pytest.approx([0.36502076, 0.36016742, 0.56945928], abs=5e-9)


# A value


def test_equal_by_value_and_hashable():
    one = Layer(alpha=1, channel_window_size=(2, 2))
    twin = Layer(alpha=1.0, channel_window_size=np.int64(2), input=[None] * 3)
    assert (one, hash(one)) == (twin, hash(twin))
    changes = [{"alpha": 2}, {"beta": 2}, {"bias": 2}, {"input": (5, 2, 1)}]
    changes += [{"channel_window_size": window} for window in (3, (2, 3), (3, 2))]
    assert len({one, twin, *(one.replace(**change) for change in changes)}) == 8
    assert one not in (one.spec, repr(one))


@pytest.mark.parametrize(
    "keywords", [{}, SETTINGS, {"input": (5, 2, 1)}, {"beta": -1 / 3, "input": (None, 7, None)}]
)
def test_repr_pickle_and_copies_give_an_equal_layer(keywords):
    layer = Layer(**keywords)
    copies = [eval(repr(layer), vars(lrnorm)), copy.copy(layer), copy.deepcopy(layer)]
    copies += [pickle.loads(pickle.dumps(layer, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in (layer.replace(), *copies):
        assert other == layer
        assert (other.spec, other.ports, repr(other)) == (layer.spec, layer.ports, repr(layer))


def test_immutable(layer):
    with pytest.raises(AttributeError, match=r"'alpha' cannot be set: layer\.replace\(alpha="):
        layer.alpha = 2.0
    with pytest.raises(AttributeError, match="'note' cannot be set"):
        layer.note = "mine"
    with pytest.raises(AttributeError, match="'beta' cannot be deleted"):
        del layer.beta
    layer.ports["Input"] = "changed"
    assert (layer.alpha, layer.beta, layer.ports["Input"]) == (0.9, 0.7, UNKNOWN)


def test_spec_and_numbers(layer):
    assert layer.spec == lrnorm.LRNSpec(0.9 / 4, 0.7, 1.1, 2, 1)
    assert [getattr(layer, name) for name in SETTINGS] == list(SETTINGS.values())
    whole = Layer(alpha=1, beta=2, bias=3)
    assert [type(n) for n in (whole.alpha, whole.beta, whole.bias)] == [float] * 3


def test_replace(layer):
    other = layer.replace(alpha=2.0)
    assert other == Layer(**(SETTINGS | {"alpha": 2.0}))
    assert (other.spec.scale, layer.alpha) == (2.0 / 4, 0.9)
    known = layer.replace(input=(5, 2, 1))
    assert known.replace(beta=1).input == (5, 2, 1)
    assert known.replace(output=(4, None, 3)).input == (4, None, 3)
    assert known.replace(input=None).input == known.replace(output=None).input == UNKNOWN
    with pytest.raises(ShapeError, match="'Input' and 'Output' have one shape"):
        known.replace(input=(5, 2, 1), output=(5, 2, 2))


@pytest.mark.parametrize(
    ("word", "value", "kind", "text"),
    [
        ("alpha", float("nan"), ValueError, "alpha must be a finite real number, got nan"),
        ("beta", "0.5", TypeError, "beta must be a finite real number, got '0.5'"),
        ("bias", 1j, TypeError, "bias must be a finite real number"),
        ("channel_window_size", 0, ValueError, "must be a positive integer, got 0. It is a radius"),
        ("channel_window_size", 2.5, ValueError, "must be a positive integer, got 2.5"),
        ("channel_window_size", (0, 0), ValueError, r"must not be \(0, 0\)"),
        ("channel_window_size", [1, (2, 0)], TypeError, "for one axis, got .* belongs to a box"),
    ],
)
def test_nonsense_is_refused_with_the_reason(word, value, kind, text):
    with pytest.raises(kind, match=text) as caught:
        Layer(**{word: value})
    assert isinstance(caught.value, LRNormError)


def test_window_may_exceed_the_channels():
    x = sample(3, 4, 5)
    for window in (50, 2**40, (0, 7)):
        layer = Layer(alpha=0.9, channel_window_size=window)
        np.testing.assert_allclose(layer(x), expected(x, layer), rtol=RTOL[np.float64])


# Ports


def test_ports_of_known_and_unknown_sizes():
    layer = Layer(input=[np.int64(5), None, 1])
    assert layer.input == layer.output == (5, None, 1)
    assert type(layer.input[0]) is int
    assert list(layer.ports.items()) == [("Input", (5, None, 1)), ("Output", (5, None, 1))]
    assert Layer().ports == {"Input": UNKNOWN, "Output": UNKNOWN}


def test_output_is_the_same_shape_as_input():
    assert Layer(output=(5, 2, 1)) == Layer(input=(5, 2, 1))
    assert Layer(input=(5, None, None), output=(None, 2, None)).input == (5, 2, None)
    assert Layer(input=(5, None, 0), output=(5, 0, None)).input == (5, 0, 0)


def test_clashing_ports_are_both_named():
    text = r"have one shape, got \(5, None, 1\) for 'Input' and \(4, 2, 1\) for 'Output'"
    with pytest.raises(ShapeError, match=text):
        Layer(input=(5, None, 1), output=(4, 2, 1))
    with pytest.raises(ShapeError):  # 0 is a size, not an unknown
        Layer(input=(5, 0, 1), output=(5, 2, 1))


@pytest.mark.parametrize(
    ("value", "kind", "got"),
    [
        ((5, 2), ShapeError, r"got \(5, 2\)"),
        ((8, 5, 2, 1), ShapeError, r"got \(8, 5, 2, 1\)\. Leave out the batch"),
        ((5, -2, 1), ShapeError, r"got \(5, -2, 1\)"),
        (5, ShapeError, "got 5"),
        ((5, 2.0, 1), KindError, r"got \(5, 2\.0, 1\)"),
        ((5, True, 1), KindError, r"got \(5, True, 1\)"),
        ("512", KindError, "got '512'"),
        (np.ones(3, int), KindError, "got array"),
    ],
)
@pytest.mark.parametrize("port", ["input", "output"])
def test_sizes_of_a_port(port, value, kind, got):
    with pytest.raises(kind, match=f"port '{port.title()}' expects three sizes .*{got}"):
        Layer(**{port: value})


# What goes in and what comes out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 2, 3), (4, 5, 2, 3), (1, 1, 1), (0, 2, 3), (0, 5, 2, 3)])
def test_array_in_array_out(layer, shape, dtype):
    x = sample(*shape).astype(dtype)
    kept = x.copy()
    y = layer(x)
    assert (type(y), y.dtype) == (np.ndarray, dtype)
    np.testing.assert_allclose(y, expected(x, layer), rtol=RTOL[dtype])
    same(x, kept)


def test_dtypes_and_layouts_are_those_of_the_function(layer):
    x = sample(4, 5, 3, 2) * 3
    views = [np.asfortranarray(x), x[::-1, :, ::-1], x.transpose(0, 3, 1, 2), x[:, ::2]]
    for array in (*(x.astype(t) for t in (np.float16, np.int32, bool, ">f4")), *views):
        y, direct = layer(array), lrnorm.local_response_norm(array, spec=layer.spec)
        assert (y.dtype, y.strides) == (direct.dtype, direct.strides)
        same(y, direct)


@pytest.mark.parametrize("kind", [list, tuple])
def test_list_of_arrays_gives_a_list(layer, kind):
    items = [sample(5, 2, 3), sample(7, 3, 2).astype(np.float32), sample(1, 4, 4)]
    ys = layer(kind(items))
    assert type(ys) is list
    assert [y.dtype for y in ys] == [x.dtype for x in items]
    for x, y in zip(items, ys, strict=True):
        same(y, layer(x))


def test_list_items_must_fit_the_layer():
    layer = Layer(input=(5, None, 3))
    assert [y.shape for y in layer([sample(5, 2, 3), sample(5, 9, 3)])] == [(5, 2, 3), (5, 9, 3)]
    text = r"port 'Input' \(item 1\) expects .* = \(5, None, 3\), got \(5, 2, 4\)"
    with pytest.raises(ShapeError, match=text):
        layer([sample(5, 2, 3), sample(5, 2, 4)])
    for rank in (0, 1, 2, 4, 5):
        with pytest.raises(
            ShapeError, match=rf"\(item 1\) .* rank 3, .* = \(5, None, 3\), got rank {rank}"
        ):
            layer([sample(5, 2, 3), np.ones((5,) * rank)])


def test_nested_lists_of_one_example(layer):
    x = sample(5, 2, 3)
    y = layer(x).tolist()
    assert layer(x.tolist()) == y
    assert layer(tuple(tuple(map(tuple, rows)) for rows in x.tolist())) == y
    assert layer([list(rows) for rows in x]) == y  # the innermost lists are arrays


def test_nested_lists_of_several_examples(layer):
    one, other = sample(5, 2, 3), sample(4, 1, 3)
    assert layer([one.tolist()]) == [layer(one).tolist()]
    assert layer([one.tolist(), (-one).tolist()]) == [layer(one).tolist(), layer(-one).tolist()]
    ragged = layer((one.tolist(), other.tolist()))
    assert ragged == [layer(one).tolist(), layer(other).tolist()]
    assert type(ragged) is list
    mixed = layer([one.tolist(), other])  # each of its own kind
    assert mixed[0] == layer(one).tolist()
    same(mixed[1], layer(other))


@pytest.mark.parametrize(
    ("x", "text"),
    [
        ([], "port 'Input' expects at least one example, got an empty list"),
        ([1.0, 2.0], r"port 'Input' expects an array of rank 3.* got rank 1, shape \(2,\)"),
        ([[1.0, 2.0]], "got rank 2"),
        ([np.ones((2, 3))] * 5, r"port 'Input' \(item 0\) expects an array of rank 3.* got rank 2"),
        ([[[1.0, 2.0]], [[1.0]]], "port 'Input' must be nested lists of one length at each level"),
        ([[[[1.0]]], [[[1.0, 2], [1]]]], r"port 'Input' \(item 1\) must be nested lists of one"),
        ([[[[1.0]]], [[1.0]]], r"\(item 1\) expects an array of rank 3.* got rank 2"),
        (np.ones((5, 2)), r"rank 3, .*, or a batch of them of rank 4, got rank 2, shape \(5, 2\)"),
        (np.ones((1, 1, 5, 2, 1)), r"got rank 5, .* lrnorm.local_response_norm\(x, axis=…\)"),
    ],
)
def test_ranks_that_do_not_fit(layer, x, text):
    with pytest.raises(ShapeError, match=text):
        layer(x)


def test_sizes_that_do_not_fit():
    layer = Layer(input=(5, 2, None))
    for x in (np.ones((5, 3, 1)), np.ones((6, 4, 2, 1)), np.ones((2, 5, 1)).tolist()):
        text = f"got {re.escape(str(np.shape(x)[-3:]))}. .*layer.replace"
        with pytest.raises(ShapeError, match=rf"port 'Input' expects .* = \(5, 2, None\).*{text}"):
            layer(x)
    assert layer(np.ones((9, 5, 2, 8))).shape == (9, 5, 2, 8)


def test_unknown_sizes_stay_unknown(layer):
    assert [layer(sample(*shape)).shape for shape in ((5, 2, 3), (7, 1, 1))] == [
        (5, 2, 3),
        (7, 1, 1),
    ]
    assert layer.input == UNKNOWN


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.ones((5, 2, 3), complex), "port 'Input' must hold .*, got complex128"),
        (np.full((5, 2, 3), "1"), "port 'Input' must hold .*, got <U1"),
        (np.ones((5, 2, 3), object), "port 'Input' must hold .*, got object"),
        (np.ones((5, 2, 3), np.longdouble), "port 'Input' must hold .*, got "),
        ([np.ones((5, 2, 3)), np.ones((5, 2, 3), "c8")], r"\(item 1\) must hold .*, got complex64"),
        ([[["1.0"]]], "port 'Input' must hold .*, got <U3"),
        ([[[2**80]]], "port 'Input' must hold .*, got object"),
        (3.0, "port 'Input' must be an array or nested lists of numbers, got builtins.float"),
        (np.ma.ones((5, 2, 3)), "port 'Input' must be an array .* x.filled"),
    ],
)
@pytest.mark.parametrize("precision", [None, "Real32"])
def test_kinds_that_cannot_be_used(layer, x, text, precision):
    with pytest.raises(KindError, match=text):
        layer(x, working_precision=precision)


def test_no_input_changes_with_its_batch(layer):
    one, wild = sample(5, 2, 3), np.full((5, 2, 3), np.nan)
    wild[0], wild[1, 0] = 1e200, np.inf
    for batch in (np.stack([one, wild]), np.stack([one, one * 1e9]), np.stack([one])):
        same(layer(batch)[0], layer(one))
    assert layer([one.tolist(), wild.tolist()])[0] == layer(one).tolist()
    # numbers of another type in a neighbour do not lend theirs
    narrow = [[[np.float32(1) / 3]]]
    assert layer([narrow, [[[0.5]]]])[0] == layer(narrow)


def test_input_by_the_name_of_its_port(layer):
    x = sample(5, 2, 3)
    same(layer({"Input": x}), layer(x))
    assert layer({"Input": x.tolist()}) == layer(x.tolist())
    assert [y.shape for y in layer({"Input": [x, x]})] == [(5, 2, 3)] * 2
    for names, unknown in ((["input"], "input"), (["Output"], "Output"), (["Input", "b"], "b")):
        text = f"the ports .'Input'. take .*there is no port '{unknown}' to feed"
        with pytest.raises(ParameterError, match=text):
            layer(dict.fromkeys(names, x))
    with pytest.raises(ParameterError, match="got an empty mapping"):
        layer({})


# Derivatives


@pytest.mark.parametrize("shape", [(5, 2, 3), (4, 5, 2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_agree_with_the_oracle(layer, shape, dtype):
    x, other = sample(*shape).astype(dtype), sample(*shape, seed=1).astype(dtype)
    axis, tolerance = x.ndim - 3, {"rtol": 10 * RTOL[dtype], "atol": 10 * RTOL[dtype]}
    dx, dy = layer.vjp(x, other), layer.jvp(x, other)
    np.testing.assert_allclose(dx, reference.vjp(x, other, layer.spec, axis), **tolerance)
    np.testing.assert_allclose(dy, reference.jvp(x, other, layer.spec, axis), **tolerance)
    assert dx.dtype == dy.dtype == dtype
    ones = reference.vjp(x, np.ones(shape), layer.spec, axis)
    np.testing.assert_allclose(layer.vjp(x), ones, **tolerance)


def test_derivatives_take_what_the_call_takes(layer):
    x, g = sample(5, 2, 3), sample(5, 2, 3, seed=1)
    other, along = sample(4, 3, 1), sample(4, 3, 1, seed=1)
    for derivative, port in ((layer.vjp, "Output"), (layer.jvp, "Input")):
        one, two = derivative(x, g), derivative(other, along)
        assert derivative(x.tolist(), g.tolist()) == one.tolist()
        same(derivative({"Input": x}, {port: g}), one)
        for lists in (derivative([x, other], [g, along]), derivative((x, other), (g, along))):
            same(lists[0], one)
            same(lists[1], two)
        nested = derivative([x.tolist(), other.tolist()], [g.tolist(), along.tolist()])
        assert nested == [one.tolist(), two.tolist()]
        same(derivative([x, x], np.stack([g, -g]))[1], derivative(x, -g))
        same(derivative(np.stack([x, x]), [g, -g])[1], derivative(x, -g))
    assert [d.shape for d in layer.vjp([x, other])] == [(5, 2, 3), (4, 3, 1)]
    whole = np.arange(30).reshape(5, 2, 3)
    same(layer.vjp(whole), layer.vjp(whole.astype(float)))
    assert layer.vjp(x.astype(np.float16), g).dtype == np.float16


@pytest.mark.parametrize(
    ("verb", "where"),
    [("vjp", "the gradient at port 'Output'"), ("jvp", "the tangent at port 'Input'")],
)
def test_errors_of_derivatives_name_the_port(layer, verb, where):
    x = sample(5, 2, 3)
    for sizes, a, b, kind, text in [
        (None, x[0], x[0], ShapeError, "port 'Input' expects an array of rank 3"),
        ((4, None, 3), x, x, ShapeError, r"port 'Input' expects .* = \(4, None, 3\), .*got"),
        (None, x + 0j, x, KindError, "port 'Input' must hold .*complex128"),
        (None, x, x[1:], ShapeError, rf"{where} expects the shape .* \(5, 2, 3\), got \(4, 2, 3\)"),
        (None, [x, x], [x, x[1:]], ShapeError, rf"{where} \(item 1\) expects the shape"),
        (None, [x, x], [x], ShapeError, rf"{where} expects a list of 2, .* got 1\."),
        (None, [x, x], x, ShapeError, f"{where} expects a list of 2, .* got one ndarray"),
        (None, x, x + 0j, KindError, f"{where} must hold .*complex128"),
        (None, x, "ones", KindError, f"{where} must be an array .*builtins.str"),
        (None, x, {"x": x}, ParameterError, f"{where.split(' port')[0]} the ports .*no port 'x'"),
    ]:
        with pytest.raises(kind, match=f"^{text}"):
            getattr(layer.replace(input=sizes), verb)(a, b)
    with pytest.raises(KindError, match="the tangent at port 'Input' must be an array"):
        layer.jvp(x, None)
