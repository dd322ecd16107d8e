"""lrnorm.dask: lazy, right for any chunks, and as NumPy to the last bit where it can be."""

import os
import pickle
import signal
import time

import numpy as np
import pytest
from tolerances import assert_close, for_forward

import lrnorm

da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")
cloudpickle = pytest.importorskip("cloudpickle")

import lrnorm.dask  # noqa: E402

SHAPE = (4, 12, 5, 6)
WHOLE = [(1, 12, 5, 6), (3, -1, 2, 4)]
CUT = [(4, 3, 5, 6), (2, 1, 5, 3), (4, (5, 1, 6), 5, 6), (2, (1, 0, 9, 2), 5, 6)]


@pytest.fixture
def x(rng):
    return rng.normal(size=SHAPE)


@pytest.fixture
def g(rng):
    return rng.normal(size=SHAPE)


@pytest.fixture(autouse=True)
def one_thread():
    """Whatever is lazy is computed by the thread that asks, unless a test says otherwise."""
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def never():
    """Within it, computing anything is an error."""

    def refuse(*_, **__):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        yield


# The function


@pytest.mark.parametrize("chunks", WHOLE)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_chunks_with_all_channels_give_numpys_bits(x, g, spec, chunks, dtype):
    x, g = x.astype(dtype), g.astype(dtype)
    lazy, lazy_g = (da.from_array(a, chunks=chunks) for a in (x, g))
    y = lrnorm.local_response_norm(lazy, spec=spec)
    dx = lrnorm.local_response_norm_vjp(lazy, lazy_g, spec=spec)
    dy = lrnorm.local_response_norm_jvp(lazy, lazy_g, spec=spec)
    assert y.chunks == dx.chunks == dy.chunks == lazy.chunks
    np.testing.assert_array_equal(y, lrnorm.local_response_norm(x, spec=spec))
    np.testing.assert_array_equal(dx, lrnorm.local_response_norm_vjp(x, g, spec=spec))
    np.testing.assert_array_equal(dy, lrnorm.local_response_norm_jvp(x, g, spec=spec))


@pytest.mark.parametrize("chunks", CUT)
def test_chunks_along_the_channels_change_nothing(x, g, spec, chunks):
    lazy, lazy_g = da.from_array(x, chunks=chunks), da.from_array(g, chunks=(2, 5, 5, 4))
    y = lrnorm.local_response_norm(lazy, spec=spec)
    dx = lrnorm.local_response_norm_vjp(lazy, lazy_g, spec=spec)
    dy = lrnorm.local_response_norm_jvp(lazy, lazy_g, spec=spec)
    assert y.chunks == dx.chunks == dy.chunks == lazy.chunks
    expected = lrnorm.local_response_norm(x, spec=spec)
    assert_close(y.compute(), expected, for_forward(x.dtype, spec.beta))
    size = np.abs(g) + 10 * np.abs(x) * np.abs(g * x).sum(axis=1, keepdims=True)
    for lazily, function in (
        (dx, lrnorm.local_response_norm_vjp),
        (dy, lrnorm.local_response_norm_jvp),
    ):
        assert_close(lazily.compute(), function(x, g, spec=spec), "derivative", size)


@pytest.mark.parametrize("ends", [(0, 2), (2, 0), (1, 3)])
def test_a_leaning_window_takes_the_edge_of_its_own_side(ends):
    """One channel alone differs from zero: which outputs see it is the window, and no chunk."""
    spec = lrnorm.LRNSpec(0.3, 0.75, 1.1, *ends)
    x, g = np.ones((12, 2)), np.zeros((12, 2))
    x[6], g[6] = 3, 1
    lazy = da.from_array(x, chunks=(3, 2))
    for lazily, function, other in (
        (lrnorm.dask.local_response_norm, lrnorm.local_response_norm, []),
        (lrnorm.dask.local_response_norm_vjp, lrnorm.local_response_norm_vjp, [g]),
        (lrnorm.dask.local_response_norm_jvp, lrnorm.local_response_norm_jvp, [g]),
    ):
        expected = function(x, *other, spec=spec, axis=0)
        np.testing.assert_allclose(
            lazily(lazy, *other, spec=spec, axis=0), expected, rtol=1e-14, atol=1e-15
        )


def test_only_edges_are_fetched_and_small_chunks_merged():
    x = da.ones((40, 8), chunks=(10, 8))
    seen = []

    def note(block, block_info=None):
        seen.append(block_info[0]["array-location"][0])
        return block

    y = lrnorm.local_response_norm(x.map_blocks(note, meta=x._meta), axis=0)
    y[:10].compute()
    assert sorted(seen) == [(0, 10), (10, 20)]  # of four
    assert lrnorm.dask._merged((1,) * 14, 4) == [4, 4, 6]
    assert lrnorm.dask._merged((10,) * 3, 4) == [10] * 3
    assert lrnorm.dask._merged((10,) * 3, 58) == [30]


@pytest.mark.parametrize("chunks", [(1, 12, 5, 6), (2, 5, 5, 3)])
@pytest.mark.parametrize("bias", [1.1, 0.0, -0.5])
def test_gradients_of_the_numbers_are_sums_over_chunks(x, g, chunks, bias):
    x = x + 3 * np.sign(x)
    x[:, 4] = 0
    spec = lrnorm.LRNSpec(0.3, 0.75, bias, 1, 2)
    lazy, lazy_g = da.from_array(x, chunks=chunks), da.from_array(g, chunks=(4, 3, 5, 6))
    dx, by = lrnorm.local_response_norm_vjp(lazy, lazy_g, spec=spec, parameters=True)
    expected_dx, expected = lrnorm.local_response_norm_vjp(x, g, spec=spec, parameters=True)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-11, atol=1e-13)
    assert {name: total.shape for name, total in by.items()} == dict.fromkeys(expected, ())
    for name, total in by.items():
        assert total.dtype == "float64"
        np.testing.assert_allclose(float(total), expected[name], rtol=1e-12)
    _, by = lrnorm.local_response_norm_vjp(lazy, g, alpha=2.0, parameters=True)
    _, expected = lrnorm.local_response_norm_vjp(x, g, alpha=2.0, parameters=True)
    np.testing.assert_allclose(float(by["alpha"]), expected["alpha"], rtol=1e-12)


def test_nothing_is_computed_until_asked(never):
    x = da.ones((4, 12, 5, 6), chunks=(2, 5, 5, 3), dtype="int16")
    y = lrnorm.local_response_norm(x, dtype="float32")
    assert isinstance(y, da.Array) and y.dtype == "float32" and y._meta.dtype == "float32"
    dx, by = lrnorm.local_response_norm_vjp(x, da.ones_like(x), parameters=True)
    assert dx.dtype == "float64" and all(isinstance(total, da.Array) for total in by.values())
    lrnorm.local_response_norm_jvp(x, x)
    layer = lrnorm.LocalResponseNormalizationLayer(input=(12, 5, 6))
    assert layer(x).shape == layer(x, batch_size=1).shape == x.shape
    with pytest.raises(AssertionError, match="something was computed"):
        y.compute()


def test_sizes_unknown_along_the_batch(x):
    lazy = da.from_array(x, chunks=(2, 5, 5, 3))
    some = lazy[da.from_array(np.array([True, False, True, True]), chunks=2)]
    left = x[[0, 2, 3]]
    assert np.isnan(some.shape[0])
    y = lrnorm.local_response_norm(some)
    np.testing.assert_allclose(y.compute(), lrnorm.local_response_norm(left), rtol=1e-14)
    dx, by = lrnorm.local_response_norm_vjp(some, 2 * some, parameters=True)
    expected, total = lrnorm.local_response_norm_vjp(left, 2 * left, parameters=True)
    np.testing.assert_allclose(dx.compute(), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(float(by["beta"]), total["beta"], rtol=1e-12)
    for other, message in (
        (left, "g must be a Dask array in the chunks of x where their sizes are unknown"),
        (lazy.rechunk({0: 4})[da.ones(4, chunks=4) > 0], "must have the chunks of x where"),
    ):
        with pytest.raises(ValueError, match=message):
            lrnorm.local_response_norm_vjp(some, other)


def test_sizes_unknown_along_the_channels_are_refused(x):
    lazy = da.from_array(x, chunks=(2, 5, 5, 3))
    with pytest.raises(ValueError, match=r"along the channels, axis 1, .*compute_chunk_sizes"):
        lrnorm.local_response_norm(lazy[:, lazy[0, :, 0, 0] > 0])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda x: lrnorm.local_response_norm(x, out=x), ValueError, "out cannot be given for a D"),
        (lambda x: lrnorm.local_response_norm_vjp(x, x, out=x), ValueError, "out cannot be given"),
        (lambda x: lrnorm.dask.local_response_norm_jvp(x, x, out=x), ValueError, "out cannot be "),
        (lambda x: lrnorm.local_response_norm(x, size=5), TypeError, "size is a width in PyTorch"),
        (lambda x: lrnorm.local_response_norm(x, axis=4), ValueError, "axis must lie in -4 … 3"),
        (lambda x: lrnorm.local_response_norm(x[0, 0]), ValueError, "got an array of rank 2"),
        (lambda x: lrnorm.local_response_norm(x, dtype="int8"), TypeError, "dtype must be float16"),
        (lambda x: lrnorm.local_response_norm(x * 1j), TypeError, "got complex128. Normalize the"),
        (lambda x: lrnorm.local_response_norm_vjp(x, x[0]), ValueError, "g must have the shape of"),
        (lambda x: lrnorm.local_response_norm_jvp(x, x[:, 1:]), ValueError, "t must have the shap"),
        (lambda x: lrnorm.dask.local_response_norm(np.ones(3)), TypeError, "must be a Dask array"),
    ],
)
def test_what_is_wrong_is_said_at_once(never, call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        call(da.ones((2, 12, 5, 6), chunks=(2, 5, 5, 3)))
    assert isinstance(caught.value, lrnorm.LRNormError)


@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (2, 0, 3, 3), (2, 4, 3, 0)])
def test_arrays_of_no_element(shape):
    x = da.zeros(shape, chunks=(1, 2, 3, 3))
    for y in (lrnorm.local_response_norm(x), lrnorm.local_response_norm_vjp(x, x)):
        assert y.chunks == x.chunks and y.compute().shape == shape


def test_the_graph_is_small():
    """One function of the module and a spec: what goes to a worker does not grow with the data."""
    x = da.ones((8, 96, 55, 55), chunks=(1, 32, 55, 55))
    y = lrnorm.local_response_norm(x)
    assert len(cloudpickle.dumps(y)) < 30_000
    again = pickle.loads(cloudpickle.dumps(y))
    np.testing.assert_array_equal(again[0, :, 0, 0], y[0, :, 0, 0])


# Elsewhere than in this thread


def test_threads_give_the_same_bits(x, spec):
    y = lrnorm.local_response_norm(da.from_array(x, chunks=(1, 5, 5, 3)), spec=spec)
    one = y.compute()
    with dask.config.set(scheduler="threads", num_workers=4):
        np.testing.assert_array_equal(y.compute(), one)


def slowed(block, folder):
    """The block, after a while in which the worker can be killed; who works is noted."""
    with open(os.path.join(folder, str(os.getpid())), "a") as note:
        note.write(".")
    time.sleep(0.05)
    return block


# A worker that is killed leaves sockets, streams and tasks of the loop behind: that is the test.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_worker_costs_time_only(x, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs="CRITICAL",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        big = np.tile(x, (10, 1, 1, 1))
        lazy = da.from_array(big, chunks=(1, 5, 5, 6)).map_blocks(slowed, str(tmp_path))
        lazy._meta = big[:0]
        future = client.compute(lrnorm.local_response_norm(lazy))
        while sum(os.path.getsize(note) for note in tmp_path.iterdir()) < 20:
            time.sleep(0.01)
        workers = {info["pid"] for info in client.run(lambda: {"pid": os.getpid()}).values()}
        worked = {int(note.name) for note in tmp_path.iterdir()} & workers
        assert len(worked) == 2 and not future.done()
        os.kill(min(worked), signal.SIGKILL)
        result = future.result(timeout=120)
        assert len(list(tmp_path.iterdir())) > 2  # another took its place
    expected = lrnorm.local_response_norm(big)
    np.testing.assert_allclose(result, expected, rtol=1e-14)
