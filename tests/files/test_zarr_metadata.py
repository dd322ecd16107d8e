""".zarr made from a .zarr: everything but the values, and what another dtype changes of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from on_disk import stored, times

import lrnorm
from lrnorm import cli, files

zarr = pytest.importorskip("zarr")

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.parametrize("version", [2, 3])
def test_everything_but_the_values_is_kept(x, version):
    from zarr.codecs import BloscCodec, GzipCodec, TransposeCodec

    how = {
        2: {"order": "F", "fill_value": None},
        3: {
            "shards": (2, 12, 4, 9),
            "filters": [TransposeCodec(order=(3, 2, 1, 0))],
            "compressors": [BloscCodec(cname="lz4"), GzipCodec(level=2)],
            "dimension_names": ["n", "c", "y", "x"],
            "chunk_key_encoding": {"name": "v2", "separator": "."},
            "fill_value": float("nan"),
        },
    }[version]
    attributes = {"units": "mV", "nested": {"a": [1, 2]}}
    stored("x.zarr", x, zarr_format=version, attributes=attributes, **how)
    files.apply("x.zarr", "y.zarr")
    kept = ["zarr.json"] if version == 3 else [".zarray", ".zattrs"]
    for name in kept:
        x_says, y_says = (json.loads(Path(f, name).read_text()) for f in ("x.zarr", "y.zarr"))
        assert x_says == y_says
    assert times("y.zarr").keys() == times("x.zarr").keys()
    assert zarr.open_array("y.zarr", mode="r").attrs.asdict() == attributes


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ["int32", "bool", "uint8", ">f4", "float64"])
def test_another_dtype_keeps_the_rest(x, version, kind):
    values = (x * 9).astype(kind)
    stored("x.zarr", values, zarr_format=version, attributes={"units": "mV"}, chunks=(1, 5, 4, 9))
    wanted = "float16" if kind == "float64" else None
    files.apply("x.zarr", "y.zarr", dtype=wanted)
    y = zarr.open_array("y.zarr", mode="r")
    expected = lrnorm.local_response_norm(values, dtype=wanted)
    assert y.dtype.newbyteorder("=") == expected.dtype
    np.testing.assert_array_equal(y[...], expected)
    source = zarr.open_array("x.zarr", mode="r")
    assert (y.chunks, y.attrs.asdict()) == (source.chunks, source.attrs.asdict())
    assert [type(c) for c in y.compressors] == [type(c) for c in source.compressors]


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
@pytest.mark.parametrize("version", [2, 3])
def test_a_filter_for_the_old_dtype_is_left_out(x, version):
    import numcodecs
    from zarr.codecs import BloscCodec
    from zarr.codecs import numcodecs as filters

    values = (x * 9).astype("int32")
    delta = numcodecs.Delta("<i4") if version == 2 else filters.Delta(dtype="<i4")
    packed = numcodecs.Blosc() if version == 2 else BloscCodec(typesize=4)
    stored("x.zarr", values, zarr_format=version, filters=[delta], compressors=packed)
    files.apply("x.zarr", "y.zarr")
    np.testing.assert_array_equal(files.read("y.zarr"), lrnorm.local_response_norm(values))
    assert not zarr.open_array("y.zarr", mode="r").filters


def test_codecs_in_shards_are_told_of_another_dtype(x):
    from zarr.codecs import BloscCodec

    how = {"chunks": (1, 12, 2, 9), "shards": (1, 12, 4, 9), "fill_value": 7}
    packed = BloscCodec(typesize=1, shuffle="shuffle")
    stored("x.zarr", (x * 9).astype("uint8"), compressors=packed, **how)
    files.apply("x.zarr", "y.zarr")
    document = json.loads(Path("y.zarr/zarr.json").read_text())
    order, pack = document["codecs"][0]["configuration"]["codecs"]
    assert order == {"name": "bytes", "configuration": {"endian": "little"}}
    assert pack["configuration"]["typesize"] == 8
    assert repr(document["fill_value"]) == "7.0"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("fill", "kept"),
    [(1e30, np.inf), (-1e30, -np.inf), (65504, 65504), (0.1, np.float16(0.1))],
)
def test_a_fill_value_beyond_the_dtype_is_infinite(x, version, fill, kept):
    """As every value of the array would be."""
    stored("x.zarr", x, zarr_format=version, fill_value=fill)
    files.apply("x.zarr", "y.zarr", dtype="float16")
    assert zarr.open_array("y.zarr", mode="r").fill_value == kept
    np.testing.assert_array_equal(
        files.read("y.zarr"), lrnorm.local_response_norm(x, dtype="float16")
    )


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
def test_what_a_codec_refuses_is_one_line(x, capsys):
    """Here to keep more bits than the new dtype has."""
    from zarr.codecs.numcodecs import BitRound

    stored("x.zarr", x, filters=[BitRound(keepbits=20)])
    assert cli.main(["apply", "x.zarr", "-o", "y.zarr", "--dtype", "float16"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "y.zarr.partial cannot be written: Keepbits too large for given dtype." in err
