"""The Triton kernels: on the card where there is one, else in Triton's interpreter, which is asked
for by TRITON_INTERPRET=1 before Python starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import exact
import ml_dtypes
import numpy as np
import pytest
from whole_range import COEFFICIENTS, inputs

from lrnorm import LRNSpec
from lrnorm._spec import reference

torch = pytest.importorskip("torch")
pytest.importorskip("triton.language")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip(
        "no card, and TRITON_INTERPRET is not 1: the kernels have nothing to run on",
        allow_module_level=True,
    )

from lrnorm._fronts.torch.triton import launch  # noqa: E402

# The interpreter computes with NumPy, which warns where a card would not.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

WINDOWS = [(0, 0), (2, 2), (2, 1), (0, 3), (30, 20), (100, 100)]
BETAS = [0.25, 0.5, 0.75, 1.0, 0.6, 2.0, -0.5]
EDGES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65]
DERIVATIVE_BOUND = 8.0


def tensor(x: Any) -> Any:
    """To the device; NumPy knows bfloat16 only by its bits."""
    if x.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16).to(DEVICE)
    return torch.from_numpy(x).to(DEVICE)


def array(t: Any) -> Any:
    t = t.cpu()
    if t.dtype == torch.bfloat16:
        return t.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return t.numpy()


def numbers(spec: LRNSpec) -> tuple[float, float, float, int, int]:
    assert spec.before is not None and spec.after is not None
    return spec.scale, spec.beta, spec.bias, spec.before, spec.after


def forward_bound(dtype: np.dtype[Any], beta: float) -> float:
    if dtype == ml_dtypes.bfloat16 and DEVICE == "cpu":
        return 1 + 2**-7  # the interpreter cuts off what a card rounds
    return 1 if dtype.itemsize == 2 else max(4, 3 + 2 * abs(beta))


def check(x: Any, g: Any, spec: LRNSpec, axis: int = 0, lay: Callable[[Any], Any] = lambda t: t,
          verbs: str = "forward vjp jvp") -> None:  # fmt: skip
    """Every verb is within its bound of the long double formula, and lies in memory as PyTorch
    would have it."""
    a, b = lay(tensor(x)), lay(tensor(g))
    first, second = np.moveaxis(x, axis, 0), np.moveaxis(g, axis, 0)
    for verb in verbs.split():
        y = getattr(launch, verb)(*([a] if verb == "forward" else [a, b]), *numbers(spec), axis)
        assert y.dtype == a.dtype
        assert y.shape == a.shape
        assert y.stride() == torch.empty_like(a).stride()
        result = np.moveaxis(array(y), axis, 0)
        if verb == "forward":
            worst = exact.worst_ulp(result, exact.forward(first, spec))
            assert worst <= forward_bound(x.dtype, spec.beta), (verb, spec)
        else:
            worst = exact.worst_ulp(result, *getattr(exact, verb)(first, second, spec))
            assert worst <= DERIVATIVE_BOUND, (verb, spec)


def pair(dtype: Any, *shape: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)


def permuted(*order: int) -> Callable[[Any], Any]:
    back = [order.index(i) for i in range(len(order))]
    return lambda t: t.permute(order).contiguous().permute(back)


def strided(t: Any) -> Any:
    """Every second or third element of something larger, with nan between."""
    whole = torch.full([2 * n + 1 for n in t.shape], float("nan"), dtype=t.dtype, device=t.device)
    part = whole[tuple(slice(1, None, 2) for _ in t.shape)]
    part.copy_(t)
    return part


LAYOUTS = {
    "channels first": lambda t: t,
    "channels last": permuted(0, 2, 3, 1),
    "channels first of all": permuted(1, 0, 2, 3),
    "mixed": permuted(2, 0, 3, 1),
    "strided": strided,
    "strided channels last": lambda t: strided(t.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", [(2, 1), (12, 9)])
def test_every_layout_is_within_the_bounds(dtype: Any, window: Any, layout: str) -> None:
    x, g = pair(dtype, 2, 13, 2, 3)
    check(x, g, LRNSpec(0.3, 0.75, 1.1, *window), 1, LAYOUTS[layout])


@pytest.mark.parametrize("window", WINDOWS)
def test_every_window_is_within_the_bounds(dtype: Any, window: Any) -> None:
    x, g = pair(dtype, 9 if max(window) < 5 else 35, 7)
    check(x, g, LRNSpec(0.3, 0.5, 1.1, *window))


@pytest.mark.parametrize("beta", BETAS)
def test_every_beta_is_within_the_bounds(dtype: Any, beta: float) -> None:
    x, g = pair(dtype, 24, 40)
    check(x, g, LRNSpec(0.3, beta, 1.1, 2, 1))
    check(x, g, LRNSpec(0.3, beta, 1.1, 10, 8), verbs="forward")


@pytest.mark.parametrize("beta", [0.75, 1.0])
def test_a_long_run_of_elements_is_within_the_bounds(dtype: Any, beta: float) -> None:
    """Enough of them to come near the largest error, by rows of pixels and by pixels of rows."""
    x, g = pair(dtype, 32, 250)
    spec = LRNSpec(1.0, beta, 0.01, 2, 2)
    check(x, g, spec)
    check(np.ascontiguousarray(x.T), np.ascontiguousarray(g.T), spec, 1, verbs="forward")


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_wide_windows_of_float32_lose_nothing_in_the_sum(beta: float) -> None:
    x, _ = pair(np.float32, 70, 60)
    spec = LRNSpec(1.0, beta, 0.01, 30, 20)
    y = array(launch.forward(tensor(x), *numbers(spec), 0))
    assert exact.worst_ulp(y, exact.forward(x, spec)) <= 0.51


def test_wide_windows_of_float64_keep_what_additions_round_off() -> None:
    """Plain sums of so many come to 9 units where 7 are promised."""
    x, g = pair(np.float64, 130, 150)
    check(x, g, LRNSpec(1.0, 2.0, 0.0, 60, 50), verbs="forward")


@pytest.mark.parametrize("edge", EDGES)
def test_edges_of_tiles(dtype: Any, edge: int) -> None:
    spec = LRNSpec(0.4, 0.75, 0.8, 2, 1)
    for shape in ((5, edge), (edge, 5)):
        x, g = pair(dtype, *shape, seed=edge)
        check(x, g, spec, 0, verbs="forward vjp")


@pytest.mark.parametrize("channels", [170, 300])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_window_of_three_digits_is_within_the_bounds(kind: Any, channels: int) -> None:
    """Sums of sums of sixteen: the axis is shorter than the window, and longer."""
    x, g = pair(kind, channels, 3)
    check(x, g, LRNSpec(0.02, 0.6, 0.8, 150, 140), verbs="forward jvp")


@pytest.mark.parametrize("width", [1, 5, 16, 17, 32, 51, 201, 256, 257, 4096, 70000])
def test_the_digits_of_a_width_make_it(width: int) -> None:
    digits = launch._digits(width)
    assert sum(digit * 16**place for place, digit in enumerate(digits)) == width
    assert max(digits) <= 16


def test_ranks_axes_and_wide_windows_are_taken_as_they_come() -> None:
    for shape in ((5,), (1, 5), (2, 3, 4), (2, 3, 2, 2, 3), (1, 1, 1)):
        x, g = pair(np.float32, *shape)
        for axis in range(len(shape)):
            check(x, g, LRNSpec(0.3, 0.5, 1.1, 10**12, 1), axis)


def test_a_broadcast_input_is_read_where_it_lies() -> None:
    x, g = (np.repeat(a, 3, 0) for a in pair(np.float32, 1, 6, 5))
    check(x, g, LRNSpec(0.3, 0.75, 1.1, 2, 1), 1, lambda t: t[:1].expand(3, 6, 5))


@pytest.mark.parametrize("shape", [(0,), (0, 3, 2, 2), (2, 0, 2, 2), (2, 3, 0, 2)])
def test_nothing_in_gives_nothing_out(dtype: Any, shape: tuple[int, ...]) -> None:
    x = tensor(np.zeros(shape, dtype))
    spec = (0.3, 0.75, 1.0, 2, 2, len(shape) > 1)
    for y in (launch.forward(x, *spec), launch.vjp(x, x, *spec), launch.jvp(x, x, *spec)):
        assert y.shape == shape
        assert y.dtype == x.dtype
    totals = launch.parameters(x, x, *spec)
    assert totals.tolist() == [0, 0, 0]
    assert totals.dtype == torch.float64


@pytest.mark.parametrize(("width", "beta"), [(1, 0.6), (3, 0.75), (6, 0.5)])
def test_inputs_of_every_size_are_within_the_bounds(dtype: Any, width: int, beta: float) -> None:
    """From subnormal to the largest, with coefficients from 1e-30 to 1e28."""
    others = inputs(dtype, 4, 20, seed=1)
    for name, x in inputs(dtype, 4, 20, seed=width).items():
        if dtype == ml_dtypes.bfloat16 and DEVICE == "cpu" and name in ("smallest", "subnormal"):
            continue  # the interpreter's own conversions of subnormal bfloat16 are wrong
        g = others[name] if name in ("by pixel", "by element", "sparse") else others["normal"]
        for scale, bias in COEFFICIENTS[:: 3 if width == 3 else 1]:
            spec = LRNSpec(scale / width, beta, bias, width // 2, (width - 1) // 2)
            check(x, g, spec, verbs="forward vjp jvp" if width == 3 else "forward")


def test_products_that_overflow_before_they_are_scaled_are_within_the_bounds() -> None:
    """D can be trusted, x * g and x * t cannot."""
    x, g = pair(np.float64, 8, 9)
    check(x * 1e54, g * 1e300, LRNSpec(1e-57, 0.75, 1.0, 1, 1), verbs="vjp jvp")


def test_rare_elements_in_a_wide_window_are_within_the_bounds() -> None:
    x, g = pair(np.float64, 24, 3)
    x[::7] *= 1e200
    check(x, g, LRNSpec(0.3, 0.75, 1.1, 12, 9), verbs="forward jvp")
    check(x, g, LRNSpec(0.3, 0.75, 1.1, 4, 2), verbs="vjp")
    x = x.astype(np.float32)
    x[::5, 1] = 3e30
    check(x, g.astype(np.float32), LRNSpec(0.3, 0.6, 1.1, 12, 9), verbs="forward jvp")


@pytest.mark.parametrize(
    ("kind", "x", "spec", "expected"),
    [
        (np.float32, 1e20, LRNSpec(1, 0.5, 1, 0, 0), 1.0),
        (np.float32, 1e-30, LRNSpec(0, 3, 1e-20, 0, 0), 1e30),
        (np.float64, 1e300, LRNSpec(1, 0.75, 1, 0, 0), 1e-150),
        (np.float64, 1e200, LRNSpec(1, 0.5, 1, 0, 0), 1.0),
        (ml_dtypes.bfloat16, 1e30, LRNSpec(1, 0.5, 1, 0, 0), 1.0),
        (np.float32, 1.5, LRNSpec(1e60, 0.5, 0, 0, 0), 1 / 1e30),
        (np.float32, 1e18, LRNSpec(1e-45, 0.5, 1e-9, 0, 0), 1e18 / np.sqrt(2e-9)),
        (np.float32, 1e-21, LRNSpec(1e30, 0.5, 1e-15, 0, 0), 1e-21 / np.sqrt(1e-12 + 1e-15)),
        (np.float64, 1.0, LRNSpec(1, 400, 0.5, 0, 0), 1.5**-400),
        (np.float64, 1.0, LRNSpec(0, 1e300, 1, 0, 0), 1.0),
    ],
)
def test_squares_and_powers_beyond_the_type(
    kind: Any, x: float, spec: LRNSpec, expected: float
) -> None:
    y = array(launch.forward(tensor(np.full(3, x, kind)), *numbers(spec), 0))
    tolerance = 1e-2 if np.dtype(kind).itemsize == 2 else 1e-6 if kind == np.float32 else 1e-13
    np.testing.assert_allclose(y.astype(np.float64), expected, rtol=tolerance)


def same_bits(a: Any, b: Any) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize(("window", "axis"), [((2, 1), 0), ((2, 1), 1), ((12, 9), 0)])
@pytest.mark.parametrize("poison", [np.nan, -np.inf, "largest"])
def test_poison_stays_in_its_windows(dtype: Any, poison: Any, window: Any, axis: int) -> None:
    """Outputs whose windows are clean keep their bits, in value and in both derivatives."""
    before, after = window
    size = 48 if before > 5 else 12
    x, g = pair(dtype, size, 3)
    bad = x.copy()
    bad[size // 2, 1] = ml_dtypes.finfo(dtype).max if poison == "largest" else poison
    spec = (1.0, 0.75, 1.0, before, after, axis)
    verbs = ["forward"] if before > 5 else ["forward", "jvp", "vjp"]
    for verb in verbs:
        results = []
        for a in (x, bad):
            turned = [np.ascontiguousarray(np.moveaxis(v, 0, axis)) for v in (a, g)]
            arguments = [tensor(v) for v in turned[: 1 if verb == "forward" else 2]]
            results.append(np.moveaxis(array(getattr(launch, verb)(*arguments, *spec)), axis, 0))
        low, high = (before + after,) * 2 if verb == "vjp" else (after, before)
        outside = np.ones(x.shape, bool)
        outside[max(0, size // 2 - low) : size // 2 + high + 1, 1] = False
        assert same_bits(results[0][outside], results[1][outside]), verb
        if poison is np.nan:
            assert np.isnan(results[1][size // 2, 1].astype(float))


def test_infinity_divides_its_neighbours_away(dtype: Any) -> None:
    x = np.ones((7, 3), dtype)
    x[3] = np.inf
    y = array(launch.forward(tensor(x), 1.0, 0.5, 1.0, 1, 1, 0)).astype(float)
    assert np.isnan(y[3]).all()  # inf / inf
    assert (y[[2, 4]] == 0).all()
    assert np.isfinite(y[[0, 1, 5, 6]]).all()


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0, -1.0, 0.3, -0.5])
def test_opposed_signs_follow_ieee(dtype: Any, beta: float) -> None:
    """D of any sign and zero: what the formula gives."""
    x = np.array([[1.0, 2.0, 0.0, 3.0, 0.5]] * 2, dtype).T
    for scale, bias in ((-1.0, 4.0), (-1.0, 0.5), (1.0, -4.0), (1.0, 0.0), (0.0, 0.0)):
        spec = LRNSpec(scale, beta, bias, 0, 0)
        y = array(launch.forward(tensor(x), *numbers(spec), 0)).astype(np.float64)
        expected = reference.forward(x, spec, 0)
        np.testing.assert_allclose(y, expected, rtol=1e-2 if dtype.itemsize == 2 else 1e-6)


@pytest.mark.parametrize(("scale", "beta"), [(0.0, 0.5), (1.0, 0.0), (0.0, 2.0)])
def test_where_no_energy_enters_nothing_is_spoiled(dtype: Any, scale: float, beta: float) -> None:
    """scale = 0 or beta = 0: the largest number, and an infinite gradient, stay where they are."""
    x = np.ones((20, 3), dtype)
    x[7, 1] = ml_dtypes.finfo(dtype).max
    ones, g = np.ones_like(x), np.ones_like(x)
    spec = (scale, beta, 1.0, 2, 2, 0)
    assert same_bits(array(launch.forward(tensor(x), *spec)), x)
    g[7, 1] = np.inf
    assert same_bits(array(launch.vjp(tensor(ones), tensor(g), *spec)), g)
    assert same_bits(array(launch.jvp(tensor(ones), tensor(g), *spec)), g)


def test_windows_of_zeros_without_bias_are_nan(dtype: Any) -> None:
    x = np.zeros((30, 5), dtype)
    x[20:] = 1
    y = array(launch.forward(tensor(x), 1.0, 0.75, 0.0, 2, 2, 0)).astype(float)
    assert np.isnan(y[:18]).all()
    assert np.isfinite(y[18:]).all()


@pytest.mark.parametrize("window", [(2, 2), (20, 3)])
@pytest.mark.parametrize("verb", ["forward", "vjp", "jvp"])
def test_bits_depend_on_neither_batch_nor_tile(dtype: Any, verb: str, window: Any) -> None:
    """All together, one by one, some pixels of them, and with the channels last."""
    x, g = pair(dtype, 3, 7, 9, 16)
    x[1] *= dtype.type(100)
    spec = (0.3, 0.6, 0.9, *window, 1)

    def run(a: Any, b: Any) -> Any:
        return array(getattr(launch, verb)(*([a] if verb == "forward" else [a, b]), *spec))

    a, b = tensor(x), tensor(g)
    together = run(a, b)
    assert same_bits(run(a[1:2], b[1:2]), together[1:2])
    assert same_bits(np.ascontiguousarray(run(a[:, :, 3:5], b[:, :, 3:5])), together[:, :, 3:5])
    last = permuted(0, 2, 3, 1)
    assert same_bits(np.ascontiguousarray(run(last(a), last(b))), together)


def parameter_terms(x: Any, g: Any, spec: LRNSpec) -> tuple[Any, Any]:
    """The three sums in long doubles, and those of the magnitudes of their terms."""
    x, g = x.astype(exact.Real), g.astype(exact.Real)
    energy, before, after = exact._energy(x, spec)
    beta = exact.Real(spec.beta)
    slope = -beta * g * x * energy ** (-beta - 1)
    by = slope * exact._sums(x * x, before, after), -g * x * energy**-beta * np.log(energy), slope
    return [term.sum() for term in by], [np.abs(term).sum() for term in by]


@pytest.mark.parametrize("size", [1.0, 1e-20, 1e20, 1e160])
@pytest.mark.parametrize("window", [(2, 1), (12, 9)])
@pytest.mark.parametrize("beta", [0.75, 0.6, -0.5])
def test_gradients_of_the_parameters(dtype: Any, beta: float, window: Any, size: float) -> None:
    if size > float(ml_dtypes.finfo(dtype).max) or size < float(ml_dtypes.finfo(dtype).tiny):
        pytest.skip("beyond the type")
    x, g = pair(dtype, 2, 21, 3)
    x = (x.astype(float) * size).astype(dtype)
    spec = LRNSpec(0.3, beta, 1.1, *window)
    totals = array(launch.parameters(tensor(x), tensor(g), *numbers(spec), 1))
    sums, sizes = parameter_terms(np.moveaxis(x, 1, 0), np.moveaxis(g, 1, 0), spec)
    for total, expected, magnitude in zip(totals, sums, sizes, strict=True):
        if magnitude > np.finfo(np.float64).max:
            assert not np.isfinite(total)
            continue
        assert abs(total - expected) <= 100 * exact.spacing(magnitude, np.float64)
    if size == 1:
        oracle = reference.parameter_gradients(x, g, spec, 1)
        np.testing.assert_allclose(totals, list(oracle.values()), rtol=1e-9, atol=1e-12)


def test_gradients_of_the_parameters_have_the_same_bits_each_time() -> None:
    x, g = (tensor(a) for a in pair(np.float32, 2, 33, 40))
    first, second = (launch.parameters(x, g, 0.3, 0.6, 1.1, 2, 2, 1) for _ in range(2))
    assert same_bits(array(first), array(second))


def test_offsets_beyond_32_bits() -> None:
    """Channels a gigabyte apart; the pages between are never touched."""
    step = 2**30
    if DEVICE == "cuda" and torch.cuda.mem_get_info()[0] < 3 * 2**30:
        pytest.skip("needs 3 GB on the card")
    x, _ = pair(np.float16, 3, 5)
    whole = torch.empty(2 * step + 8, dtype=torch.float16, device=DEVICE)

    def lay(t: Any) -> Any:
        place = whole[: 2 * step + 5].as_strided(t.shape, (step, 1))
        return place.copy_(t)

    check(x, x, LRNSpec(0.3, 0.75, 1.1, 1, 1), lay=lay, verbs="forward")
