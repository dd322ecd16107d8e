"""lrnorm.xarray: along a dimension by name, with everything that a DataArray carries."""

import numpy as np
import pytest

import lrnorm

xr = pytest.importorskip("xarray")

import lrnorm.xarray  # noqa: E402


@pytest.fixture
def x(rng):
    return xr.DataArray(
        rng.normal(size=(4, 12, 5, 6)),
        dims=("time", "channel", "lat", "lon"),
        coords={
            "channel": list("abcdefghijkl"),
            "lat": np.linspace(-1, 1, 5),
            "area": (("lat", "lon"), rng.random((5, 6))),
            "run": 7,
        },
        name="response",
        attrs={"units": "spikes/s"},
    )


@pytest.mark.parametrize("chunks", [None, {"time": 2}, {"channel": 5, "lon": 3}])
@pytest.mark.parametrize("order", ["tcyx", "cxyt"])
def test_everything_it_carries_is_kept(x, chunks, order):
    names = {"t": "time", "c": "channel", "y": "lat", "x": "lon"}
    x = x.transpose(*map(names.get, order))
    axis = order.index("c")
    expected = lrnorm.local_response_norm(x.values, axis=axis, beta=0.75)
    x = x if chunks is None else x.chunk(chunks)
    y = lrnorm.xarray.local_response_norm(x, beta=0.75)
    np.testing.assert_allclose(y.values, expected, rtol=1e-14)
    xr.testing.assert_identical(y.copy(data=x.values), x.compute())  # labels, name, attributes
    assert y.chunks == x.chunks
    xr.testing.assert_identical(lrnorm.local_response_norm(x, axis=axis, beta=0.75), y)


def test_without_an_axis_the_rule_is_that_of_arrays(x):
    y = lrnorm.local_response_norm(x)
    xr.testing.assert_identical(y, lrnorm.xarray.local_response_norm(x, "channel"))
    with pytest.raises(lrnorm.ShapeError, match="axis can be left out for"):
        lrnorm.local_response_norm(x[0, 0])


def test_over_dask_it_is_lazy(x):
    dask = pytest.importorskip("dask")

    def refuse(*_, **__):
        raise AssertionError("something was computed")

    lazy = x.astype("float32").chunk(time=1, channel=5)
    with dask.config.set(scheduler=refuse):
        y = lrnorm.xarray.local_response_norm(lazy, dtype="float16")
        dx, by = lrnorm.xarray.local_response_norm_vjp(lazy, lazy, parameters=True)
        dy = lrnorm.xarray.local_response_norm_jvp(lazy, lazy)
        assert lrnorm.LocalResponseNormalizationLayer()(lazy).chunks == lazy.chunks
    assert y.chunks == dx.chunks == dy.chunks == lazy.chunks
    assert (y.dtype, dx.dtype) == ("float16", "float32")
    total = lrnorm.local_response_norm_vjp(x.astype("f4").values, x.astype("f4").values, axis=1)
    np.testing.assert_allclose(dx.values, total, rtol=1e-5, atol=1e-6)
    assert by["beta"].compute().shape == ()


def test_derivatives_take_the_other_in_any_order(x, rng):
    g = x.copy(data=rng.normal(size=x.shape))
    dx, by = lrnorm.xarray.local_response_norm_vjp(
        x, g.transpose("lon", "channel", "time", "lat"), parameters=True
    )
    expected, total = lrnorm.local_response_norm_vjp(x.values, g.values, parameters=True)
    xr.testing.assert_identical(dx, x.copy(data=expected))
    assert by == total
    dy = lrnorm.xarray.local_response_norm_jvp(x, g.values)
    expected = lrnorm.local_response_norm_jvp(x.values, g.values)
    xr.testing.assert_identical(dy, x.copy(data=expected))


def test_how_it_was_stored_is_not_kept(x):
    x.encoding = {"dtype": "int16", "scale_factor": 0.1}
    assert lrnorm.xarray.local_response_norm(x).encoding == {}
    assert x.encoding


def test_nothing_is_shared_with_the_input(x):
    y = lrnorm.xarray.local_response_norm(x)
    y.attrs["units"] = "none"
    y[:] = 0
    assert x.attrs == {"units": "spikes/s"} and x.values.any()


def test_the_layer_takes_and_gives_data_arrays(x):
    layer = lrnorm.LocalResponseNormalizationLayer(beta=0.75)
    for y in (layer(x), layer(x, batch_size=3)):
        xr.testing.assert_identical(y, lrnorm.local_response_norm(x, beta=0.75))
    assert layer(x, working_precision="Real32").dtype == "float32"
    assert layer.vjp(x).dims == x.dims


def test_of_a_dataset_each_variable(x):
    ds = xr.Dataset({"a": x, "b": 2 * x})
    for call in (lrnorm.xarray.local_response_norm, lrnorm.local_response_norm):
        with pytest.raises(TypeError, match=r"map\(lrnorm\.xarray\.local_response_norm, dim="):
            call(ds)
    y = ds.map(lrnorm.xarray.local_response_norm, dim="channel", alpha=2.0)
    np.testing.assert_array_equal(y["b"], lrnorm.local_response_norm(2 * x, alpha=2.0))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda x: lrnorm.xarray.local_response_norm(x, "depth"),
            lrnorm.ShapeError,
            "one of 'time', 'channel', 'lat', 'lon', got 'depth'",
        ),
        (
            lambda x: lrnorm.xarray.local_response_norm(x[0, 0, 0, 0]),
            lrnorm.ShapeError,
            "one of none, as it is a single number, got 'channel'",
        ),
        (
            lambda x: lrnorm.xarray.local_response_norm(x, axis=1),
            lrnorm.KindError,
            r"got axis=1\. Pass dim=NAME, one of 'time', 'channel', 'lat', 'lon'",
        ),
        (
            lambda x: lrnorm.xarray.local_response_norm(x.values),
            lrnorm.KindError,
            r"must be an xarray\.DataArray, got numpy\.ndarray",
        ),
        (
            lambda x: lrnorm.local_response_norm(x, out=x),
            lrnorm.OutputError,
            "out cannot be given for a DataArray",
        ),
        (
            lambda x: lrnorm.local_response_norm_vjp(x, x, out=x),
            lrnorm.OutputError,
            r"out cannot be given for a DataArray\. .*_vjp\(x\.data, g\.data, out=dx\.data\)",
        ),
        (
            lambda x: lrnorm.xarray.local_response_norm_jvp(x, x, out=x),
            lrnorm.OutputError,
            r"out cannot be given for a DataArray\. .*_jvp\(x\.data, t\.data, out=dy\.data\)",
        ),
        (
            lambda x: lrnorm.local_response_norm(x * 1j),
            lrnorm.KindError,
            "got complex128. Normalize the real",
        ),
        (
            lambda x: lrnorm.xarray.local_response_norm_vjp(x, x.isel(channel=slice(3))),
            lrnorm.ShapeError,
            r"g must have the sizes and labels of x: .*'channel'.* Pass g\.reindex_like\(x\)",
        ),
        (
            lambda x: lrnorm.xarray.local_response_norm_jvp(x, x.rename(lon="x")),
            lrnorm.ShapeError,
            r"t must have the dimensions of x, \('time'.*'lon'\), got .*'x'\)",
        ),
        (
            lambda x: lrnorm.xarray.local_response_norm_vjp(x, x.chunk()),
            lrnorm.KindError,
            r"kind of array that x holds, numpy\.ndarray, got dask\..*Array\. Pass x\.chunk\(\)",
        ),
    ],
)
def test_what_is_wrong_is_said(x, call, kind, message):
    with pytest.raises(kind, match=message):
        call(x)


def test_without_an_axis_the_dimension_called_channel_is_taken(x):
    last = x.transpose("time", "lat", "lon", "channel")
    expected = lrnorm.xarray.local_response_norm(x)
    xr.testing.assert_allclose(lrnorm.local_response_norm(last).transpose(*x.dims), expected)
    by_number = lrnorm.local_response_norm(last, axis=1)  # a number counts, whatever its name
    xr.testing.assert_allclose(by_number, lrnorm.xarray.local_response_norm(last, dim="lat"))


def test_without_that_name_the_channels_are_third_from_last(x):
    renamed = x.rename(channel="band")
    by_name = lrnorm.xarray.local_response_norm(renamed, dim="band")
    xr.testing.assert_allclose(lrnorm.local_response_norm(renamed), by_name)
