"""out=: where a result may be written, and what a call allocates."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from layouts import LAYOUTS, big_endian, field, misaligned, odd_stride_of_one, permuted, strided

import lrnorm
from lrnorm import KindError, LRNormError, LRNSpec, OutputError

forward = lrnorm.local_response_norm
vjp = lrnorm.local_response_norm_vjp
jvp = lrnorm.local_response_norm_jvp

SHAPE, DEEP = (2, 7, 3, 5), (3, 19, 2, 4)  # in DEEP, vectors may run along the channels
SPEC = LRNSpec(0.3, 0.75, 1.1, 2, 1)
WRITABLE = [name for name in LAYOUTS if name not in ("read-only", "odd stride")]


def along(x: Any) -> Any:
    """A second array for x, of its shape and dtype."""
    shape = np.shape(x)
    values = np.random.default_rng(1).normal(size=shape)
    return values.astype(x.dtype.newbyteorder("=")) if hasattr(x, "dtype") else values.tolist()


def forward_of(x: Any, **words: Any) -> Any:
    return forward(x, **words)


def vjp_of(x: Any, **words: Any) -> Any:
    return vjp(x, along(x), **words)


def jvp_of(x: Any, **words: Any) -> Any:
    return jvp(x, along(x), **words)


def vjp_with_parameters_of(x: Any, **words: Any) -> Any:
    return vjp(x, along(x), parameters=True, **words)[0]


VERBS = {
    "forward": forward_of,
    "vjp": vjp_of,
    "jvp": jvp_of,
    "vjp with parameters": vjp_with_parameters_of,
}
DERIVATIVES = {"vjp": (vjp, "g"), "jvp": (jvp, "t")}


@pytest.fixture(params=VERBS.values(), ids=VERBS.keys())
def verb(request: Any) -> Callable[..., Any]:
    """Each function, with a second array for the derivatives."""
    chosen: Callable[..., Any] = request.param
    return chosen


@pytest.fixture(params=DERIVATIVES.values(), ids=DERIVATIVES.keys())
def derivative(request: Any) -> tuple[Callable[..., Any], str]:
    """A derivative, and the name of its second array."""
    chosen: tuple[Callable[..., Any], str] = request.param
    return chosen


def sample(dtype: Any, shape: tuple[int, ...] = SHAPE) -> Any:
    return (np.random.default_rng(0).normal(size=shape) * 1.5).astype(dtype)


def same_bits(a: Any, b: Any) -> bool:
    native = a.dtype.newbyteorder("=")
    return bool(a.shape == b.shape and a.astype(native).tobytes() == b.astype(native).tobytes())


@pytest.mark.parametrize("layout", WRITABLE)
def test_written_and_returned(
    verb: Callable[..., Any], isa: str, dtype: np.dtype[Any], layout: str
) -> None:
    """The bits that a call without out= gives, in whatever layout, and the very object."""
    for x in (sample(dtype), sample(dtype, DEEP)):
        for axis in range(4):
            expected = verb(x, spec=SPEC, axis=axis)
            for source in (x, permuted(0, 2, 3, 1)(x), strided(x)):
                out = LAYOUTS[layout](np.full_like(x, 7))
                assert verb(source, spec=SPEC, axis=axis, out=out) is out
                assert same_bits(out, expected)
                assert same_bits(source, x)


@pytest.mark.parametrize("layout", WRITABLE)
def test_in_place(verb: Callable[..., Any], isa: str, dtype: np.dtype[Any], layout: str) -> None:
    for shape in (SHAPE, DEEP):
        for axis in range(4):
            expected = verb(sample(dtype, shape), spec=SPEC, axis=axis)
            x = LAYOUTS[layout](sample(dtype, shape))
            assert verb(x, spec=SPEC, axis=axis, out=x) is x
            assert same_bits(x, expected)


@pytest.mark.parametrize("window", [(2, 1), (0, 6), (40, 40), (20, 21)])
def test_in_place_at_every_length(
    verb: Callable[..., Any], isa: str, dtype: np.dtype[Any], window: Any
) -> None:
    """Where results replace inputs that later windows still need."""
    for shape, axis in (((70, 33), 0), ((33, 70), 1), ((3, 90, 300), 1), ((2, 700, 70), 2)):
        for beta in (0.75, 0.6):
            x = sample(dtype, shape)
            words: dict[str, Any] = {"beta": beta, "channel_window_size": window, "axis": axis}
            expected = verb(x, **words)
            verb(x, **words, out=x)
            assert same_bits(x, expected)


BOXES: list[tuple[tuple[int, ...], Any]] = [
    ((2, 3), 2),
    ((1, 3), [(2, 0), 1]),
    ((1, 2, 3), [1, (0, 2), 1]),
    ((0, 3), 40),
    ((1, 2), [(40, 40), (1, 2)]),
]


@pytest.mark.parametrize("lay", [np.copy, np.asfortranarray, permuted(0, 2, 3, 1), strided])
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_in_place_over_boxes(
    verb: Callable[..., Any], isa: str, dtype: np.dtype[Any], box: Any, lay: Callable[[Any], Any]
) -> None:
    axes, sizes = box
    for beta in (0.75, 0.6):
        x = lay(sample(dtype, (3, 9, 20, 6)))
        words = {"beta": beta, "channel_window_size": sizes, "axis": axes}
        expected = verb(x, **words)
        assert verb(x, **words, out=x) is x
        assert same_bits(x, expected)


def rare(dtype: Any, shape: tuple[int, ...]) -> Any:
    """Values of which some are computed again one by one: large, nan and inf."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=shape)
    odd = rng.random(shape) < 0.05
    large = float(ml_dtypes.finfo(dtype).max) / 3
    x[odd] = rng.choice([large, -large, 1 / large, np.nan, np.inf], size=odd.sum())
    with np.errstate(all="ignore"):
        return x.astype(dtype)


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 1), (1, 2), (0, 2)], ids=str)
@pytest.mark.parametrize("window", [(2, 2), (0, 3), (4, 3), (60, 60)], ids=str)
def test_in_place_beyond_the_trusted_range(
    verb: Callable[..., Any], isa: str, dtype: np.dtype[Any], axis: Any, window: Any
) -> None:
    """Elements that are computed again after their neighbours were written."""
    words: dict[str, Any] = {"beta": 0.75, "channel_window_size": window, "axis": axis}
    x = rare(dtype, (21, 18, 40))
    expected = verb(x, **words)
    verb(x, **words, out=x)
    assert same_bits(x, expected)


@pytest.mark.parametrize("axis", [1, -1, (2, 3), (1, 2, 3)], ids=str)
def test_in_place_by_several_threads(
    verb: Callable[..., Any], dtype: np.dtype[Any], axis: Any, threads: None
) -> None:
    for size in (2, 9, 200):
        words: dict[str, Any] = {"beta": 0.75, "channel_window_size": size, "axis": axis}
        x = sample(dtype, (5, 24, 40, 30))
        lrnorm.set_num_threads(1)
        expected = verb(x, **words)
        lrnorm.set_num_threads(3)
        verb(x, **words, out=x)
        assert same_bits(x, expected)


@pytest.mark.parametrize("axis", [1, (1, 2)], ids=str)
def test_parameter_gradients_are_those_of_x_before_it_is_overwritten(
    dtype: np.dtype[Any], axis: Any
) -> None:
    for values in (sample(dtype), rare(dtype, SHAPE)):
        x, g = values.copy(), along(values)
        dx, expected = vjp(x, g, axis=axis, parameters=True)
        result, gradients = vjp(x, g, axis=axis, parameters=True, out=x)
        assert result is x
        assert same_bits(x, dx)
        assert np.array_equal(list(gradients.values()), list(expected.values()), equal_nan=True)
        assert gradients.keys() == expected.keys()


def test_a_second_array_that_is_x_too(
    derivative: tuple[Callable[..., Any], str], dtype: np.dtype[Any]
) -> None:
    """x, the second array and out all in the same places."""
    verb, _ = derivative
    for values in (sample(dtype, (4, 20, 30)), rare(dtype, (4, 20, 30))):
        for axis in (0, 1, 2, (1, 2)):
            for window in (2, 7, 50):
                words = {"axis": axis, "channel_window_size": window}
                expected = verb(values, values, **words)
                x = values.copy()
                assert verb(x, x[...], **words, out=x) is x
                assert same_bits(x, expected)
    # A view that the core reads, of elements that it does not read as x.
    same = sample(dtype, (1, 40, 30))
    x = np.lib.stride_tricks.as_strided(same, same.shape, (7, *same.strides[1:]))
    expected = verb(same, same, spec=SPEC, axis=1)
    assert verb(x, same, spec=SPEC, axis=1, out=same) is same
    assert same_bits(same, expected)


def test_a_second_array_is_never_overwritten(derivative: tuple[Callable[..., Any], str]) -> None:
    verb, name = derivative
    text = rf"out overlaps {name}, so elements .* Pass a new array with memory of its own\."
    whole = np.arange(24.0)
    x = np.ones(12)
    for other, out in (
        (whole[:12], whole[:12]),
        (whole[:12], whole[1:13]),
        (whole[:12], whole[11::-1]),
        (whole[:12].view(">f8"), whole[:12]),
        (whole[:12].view("i8"), whole[:12]),
    ):
        with pytest.raises(OutputError, match=text) as caught:
            verb(x, other, axis=0, out=out)
        assert isinstance(caught.value, ValueError)
    with pytest.raises(OutputError, match=text):
        verb(whole[:12], whole[11::-1], axis=0, out=whole[:12])
    assert np.array_equal(whole, np.arange(24.0))
    both = np.arange(24.0)
    expected = verb(x, both[::2].copy(), axis=0)
    verb(x, both[::2], axis=0, out=both[1::2])
    assert same_bits(both[1::2].copy(), expected)
    assert np.array_equal(both[::2], np.arange(0, 24.0, 2))


@pytest.mark.parametrize("kind", ["i4", "?", "f2", "f4", ">f8", ml_dtypes.bfloat16])
@pytest.mark.parametrize("second", ["i4", "f2", "f4", "f8"])
def test_a_derivative_of_two_dtypes_into_out(
    derivative: tuple[Callable[..., Any], str], kind: Any, second: Any
) -> None:
    verb, _ = derivative
    x, other = (sample("f8") * 3).astype(kind), (sample("f8")[::-1] * 2).astype(second)
    expected = verb(x, other, spec=SPEC)
    for lay in (np.copy, big_endian, field, strided):
        out = lay(np.zeros_like(expected))
        assert verb(x, other, spec=SPEC, out=out) is out
        assert same_bits(out, expected)


@pytest.mark.parametrize("lay", [np.copy, strided, np.asfortranarray])
def test_a_view_of_the_same_elements_is_x_itself(
    verb: Callable[..., Any], lay: Callable[[Any], Any]
) -> None:
    x = lay(sample("f4"))
    expected = verb(x, spec=SPEC)
    assert verb(x, spec=SPEC, out=x[...]).base is not None
    assert same_bits(x, expected)
    one = lay(sample("f4"))[:1]
    expected = verb(one, spec=SPEC)
    verb(one, spec=SPEC, out=one[::-1])  # an axis of one has no order
    assert same_bits(one, expected)


def overlapping() -> dict[str, tuple[Any, Any]]:
    """x and out: memory that they share otherwise than element by element."""
    line, square = np.arange(12.0), np.arange(36.0).reshape(6, 6)
    swapped = np.arange(12, dtype=">f8")
    one_byte_on = np.zeros(49, np.uint8)
    return {
        "shifted": (line[:8], line[1:9]),
        "shifted far": (line[:7], line[5:]),
        "reversed": (line, line[::-1]),
        "reversed, of the owner": (line[::-1], line),
        "transposed": (square, square.T),
        "other byte order": (swapped, swapped.view("<f8")),
        "strided over dense": (line[::2], line[:6]),
        "crossing strides": (line[::3], line[2:10:2]),
        "half an element on": (
            one_byte_on[:40].view("f8"),
            one_byte_on[4:44].view("f8"),
        ),
    }


@pytest.mark.parametrize("name", overlapping())
def test_any_other_overlap_is_refused(verb: Callable[..., Any], name: str) -> None:
    x, out = overlapping()[name]
    kept = x.copy()
    with pytest.raises(OutputError, match=r"out overlaps x without being x itself.*Pass out=x"):
        verb(x, axis=0, out=out)
    assert np.array_equal(x, kept)


def test_interleaved_is_no_overlap(verb: Callable[..., Any]) -> None:
    both = np.arange(14, dtype=np.float32)
    x, out = both[::2], both[1::2]
    expected = verb(x.copy(), axis=0)
    verb(x, axis=0, out=out)
    assert same_bits(out, expected)
    assert np.array_equal(x, np.arange(0, 14, 2))
    pixels = np.arange(20, dtype=np.float64).reshape(5, 4)
    x, out = pixels[:, :2], pixels[:, 2:]
    expected = verb(x.copy(), axis=0)
    assert same_bits(verb(x, axis=0, out=out), expected)


def read_only() -> Any:
    out = np.zeros((5, 2, 1))
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "kind", "text"),
    [
        (np.zeros((5, 2)), OutputError, "the shape of x, (5, 2, 1), got (5, 2)."),
        (np.zeros((5, 2, 2)), OutputError, "the shape of x, (5, 2, 1), got (5, 2, 2)."),
        (np.zeros((1, 5, 2, 1)), OutputError, "the shape of x, (5, 2, 1), got (1, 5, 2, 1)."),
        (np.zeros((1, 2, 5)), OutputError, "the shape of x, (5, 2, 1), got (1, 2, 5)."),
        (
            np.zeros((5, 2, 1), "f4"),
            OutputError,
            "the dtype of the result, float64, got float32. Pass dtype='float32' for a result",
        ),
        (np.zeros((5, 2, 1), ">f4"), OutputError, "Pass dtype='float32' for a result"),
        (np.zeros((5, 2, 1), ml_dtypes.bfloat16), OutputError, "Pass dtype='bfloat16'"),
        (np.zeros((5, 2, 1), "i8"), OutputError, "dtype of the result, float64, got int64."),
        (np.zeros((5, 2, 1), "O"), OutputError, "dtype of the result, float64, got object."),
        (np.zeros((5, 2, 1), "c16"), OutputError, "result, float64, got complex128."),
        (read_only(), OutputError, "out must be writable, got a read-only array."),
        (np.broadcast_to(np.zeros((5, 1, 1)), (5, 2, 1)), OutputError, "got a read-only array"),
        (
            np.lib.stride_tricks.as_strided(np.zeros(5), (5, 2, 1), (8, 0, 0)),
            OutputError,
            "out must have a place of its own for every element, got a broadcast array or a view",
        ),
        ([[[0.0], [0.0]]] * 5, KindError, "out must be a NumPy array, got builtins.list."),
        (bytearray(80), KindError, "out must be a NumPy array, got builtins.bytearray."),
        (True, KindError, "out must be a NumPy array, got builtins.bool."),
        (np.ma.zeros((5, 2, 1)), KindError, "got numpy.ma"),
        (np.zeros((5, 2, 1)).view(np.recarray), KindError, "recarray."),
    ],
)
def test_what_cannot_take_the_result(
    verb: Callable[..., Any], out: Any, kind: type[LRNormError], text: str
) -> None:
    if verb is not forward_of:  # a derivative has no dtype=
        text = text.replace("Pass dtype='float32' for a result", "Pass out of the dtype float64.")
        text = text.replace("Pass dtype='bfloat16'", "Pass out of the dtype float64.")
    with pytest.raises(kind, match=re.escape(text)) as caught:
        verb(np.ones((5, 2, 1)), out=out)
    assert isinstance(caught.value, TypeError if kind is KindError else ValueError)
    assert out is True or not np.any(out)


def test_x_itself_is_checked_too(verb: Callable[..., Any]) -> None:
    x = np.ones((5, 2, 1))
    x.flags.writeable = False
    with pytest.raises(OutputError, match="read-only"):
        verb(x, out=x)
    repeated = np.lib.stride_tricks.as_strided(np.ones(5), (5, 2, 1), (8, 0, 0))
    with pytest.raises(OutputError, match="a place of its own"):
        verb(repeated, out=repeated)
    integers = np.ones((5, 2, 1), int)
    with pytest.raises(OutputError, match="dtype of the result, float64, got int64"):
        verb(integers, out=integers)


def test_x_itself_does_not_fit_another_dtype() -> None:
    with pytest.raises(OutputError, match="dtype of the result, float32, got float64"):
        forward(np.ones((5, 2, 1)), out=np.ones((5, 2, 1)), dtype="f4")


@pytest.mark.parametrize("kind", ["i4", "?", "f4", "f2", ml_dtypes.bfloat16, ">f8"])
@pytest.mark.parametrize("asked", ["f2", "f4", "f8", ml_dtypes.bfloat16])
@pytest.mark.parametrize("lay", [np.copy, big_endian, field, strided])
def test_out_together_with_dtype(kind: Any, asked: Any, lay: Callable[[Any], Any]) -> None:
    x = (sample("f8") * 3).astype(kind)
    out = lay(np.zeros(SHAPE, asked))
    assert forward(x, spec=SPEC, dtype=asked, out=out) is out
    assert same_bits(out, forward(x, spec=SPEC, dtype=asked))


@pytest.mark.parametrize("lay", [odd_stride_of_one, misaligned])
def test_out_where_the_core_cannot_write(
    verb: Callable[..., Any], dtype: np.dtype[Any], lay: Callable[[Any], Any]
) -> None:
    out = lay(np.zeros(SHAPE, dtype))
    x = sample(dtype)[: len(out)]
    assert same_bits(verb(x, spec=SPEC, out=out), verb(x, spec=SPEC))


def test_lists_can_be_written_into_an_array(verb: Callable[..., Any]) -> None:
    out = np.zeros(3)
    assert verb([1, 2, 3], axis=0, out=out) is out
    assert out.tolist() == verb([1, 2, 3], axis=0)


def test_empty_out(verb: Callable[..., Any]) -> None:
    x = np.ones((0, 4, 3))
    assert verb(x, out=x) is x
    out = np.ones((0, 4, 3))
    assert verb(x, out=out) is out


def test_mapped_file_takes_the_result(verb: Callable[..., Any], tmp_path: Any) -> None:
    out = np.memmap(tmp_path / "y", "f4", "w+", shape=SHAPE)
    assert verb(sample("f4"), out=out) is out
    out.flush()
    assert same_bits(np.fromfile(tmp_path / "y", "f4").reshape(SHAPE), verb(sample("f4")))


@pytest.mark.parametrize(
    ("x", "words", "arrays"),
    [
        (sample("f4", (8, 32, 20, 20)), {}, 1),
        (permuted(0, 2, 3, 1)(sample("f4", (8, 32, 20, 20))), {}, 1),
        (strided(sample("f8", (8, 32, 20, 20))), {}, 1),
        (np.ones((8, 32, 20, 20), "i4"), {}, 1),
        (big_endian(sample("f4", (8, 32, 20, 20))), {}, 1),
        (misaligned(sample("f4", (8, 32, 20, 20))), {}, 1),
        (sample("f4", (8, 32, 20, 20)), {"dtype": "f8"}, 1),
        (sample("f4", (8, 32, 20, 20)), {"out": np.zeros((8, 32, 20, 20), "f4")}, 0),
        (strided(sample("f4", (8, 32, 20, 20))), {"out": np.zeros((8, 32, 20, 20), "f4")}, 0),
    ],
)
def test_a_call_allocates_its_output_and_no_other_array(
    x: Any, words: dict[str, Any], arrays: int
) -> None:
    def peak() -> tuple[int, int]:
        tracemalloc.start()
        try:
            y = forward(x, spec=SPEC, **words)
            return tracemalloc.get_traced_memory()[1], y.nbytes
        finally:
            tracemalloc.stop()

    peak()  # what is loaded once
    allocated, output = peak()
    assert allocated <= arrays * output + 10_000
    assert output > 10 * 10_000


@pytest.mark.parametrize("axis", [1, (2, 3)], ids=str)
def test_a_derivative_allocates_no_array_beside_out(
    derivative: tuple[Callable[..., Any], str], axis: Any
) -> None:
    verb, _ = derivative
    x, other, out = (sample("f4", (8, 32, 20, 20)) for _ in range(3))

    def peak(out: Any) -> int:
        tracemalloc.start()
        try:
            verb(x, other, spec=SPEC if axis == 1 else None, axis=axis, out=out)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(out)  # what is loaded once
    assert peak(out) <= 10_000
    # A backward pass into x reads x until the end.
    assert peak(x) <= 10_000 + (x.nbytes if verb is vjp else 0)


def test_an_out_that_overlaps_itself_is_refused(verb: Callable[..., Any]) -> None:
    x = np.lib.stride_tricks.as_strided(np.arange(1.0, 9.0), (4, 4), (8, 8))
    with pytest.raises(OutputError, match="overlaps itself"):
        verb(x, axis=0, out=x)
    crossed = np.zeros((4, 6))[:, ::2].T  # strides of its own for every element, not contiguous
    expected = verb(np.ones((3, 4)), axis=0)
    assert verb(np.ones((3, 4)), axis=0, out=crossed) is crossed
    np.testing.assert_array_equal(crossed, expected)
