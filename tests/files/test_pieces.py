"""How arrays larger than memory are cut."""

from pathlib import Path

import numpy as np
import pytest
from on_disk import stored, times

from lrnorm import LRNSpec
from lrnorm._fronts.core import core
from lrnorm._fronts.numpy import region_for
from lrnorm.files import chunked, zarr_store

pytest.importorskip("zarr")


@pytest.fixture
def x(rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return rng.normal(size=(4, 12, 10, 9)).astype("float32")


def test_every_file_is_in_one_piece(monkeypatch, x):
    for chunks in ((1, 12, 4, 9), (3, 5, 4, 2), (1, 1, 10, 9)):
        for largest in (1, 150, 1000, 10**9):
            monkeypatch.setattr(chunked, "LARGEST", largest)
            stored("x.zarr", x, chunks=chunks, overwrite=True)
            y = zarr_store.Stored(Path("x.zarr"))
            pieces = chunked.pieces_of(y, y, (1,), LRNSpec(1, 1, 1, 2, 1))
            names = [name for piece in pieces for name, _ in piece.files]
            assert len(names) == len(set(names))
            assert set(names) == {n for n in times("x.zarr") if n != "zarr.json"}
            if largest == 10**9:
                assert all(piece.read[1] == slice(0, 12) for piece in pieces)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ends", [(1, 2), (0, 7), (9, 0), (50, 2), (2, 30), (None, 0), (15, 15)])
def test_regions_begin_where_sums_of_the_core_do_and_are_longer_than_the_window(ends, dtype):
    """A sum in blocks that begin elsewhere is rounded otherwise, once in very many elements."""
    spec, dtype = LRNSpec(0.3, 0.6, 1.1, *ends), np.dtype(dtype)
    before, after = (min(end, 40) for end in spec.ends(41))
    period = core.forward_period(dtype.itemsize, 0.3, 0.6, 1.1, before, after)
    for start in range(0, 41, 3):
        wanted = slice(start, min(start + 3, 41))
        read = region_for(wanted, 41, spec, spec.ends(41), dtype)
        assert read.start % period == 0
        assert read.start <= max(0, start - before)
        assert min(41, start + 3 + after) <= read.stop <= 41
        assert read.stop - read.start >= min(41, max(before, after) + 2)


def test_chunks_too_large_for_a_piece_are_cut(monkeypatch, x):
    """Where the target has no chunks of its own."""
    source = zarr_store.Stored(Path(stored("x.zarr", x, chunks=(4, 1, 10, 9))))
    for largest, size in ((10**9, 4 * 12 * 90), (2000, 1080), (300, 240)):
        monkeypatch.setattr(chunked, "PIECE", 1)
        monkeypatch.setattr(chunked, "LARGEST", largest)
        sizes = [np.prod([s.stop - s.start for s in index]) for index in chunked.cut(source, (1,))]
        assert sum(sizes) == x.size and max(sizes) <= min(size, largest)
