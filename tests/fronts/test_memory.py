"""Large results lie in memory that is used again."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lrnorm
from lrnorm import _core
from lrnorm._spec import reference

SHAPE = (16, 256, 320)  # of float32: 5 MB
LARGE = 4 << 20


@pytest.fixture(autouse=True)
def smaller_results_are_large(monkeypatch):
    monkeypatch.setattr("lrnorm._fronts.numpy.LARGE", LARGE)


SPEC = lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2)


def sample(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def normalized(x: np.ndarray) -> np.ndarray:
    return lrnorm.local_response_norm(x, spec=SPEC)


def expected(x: np.ndarray) -> np.ndarray:
    return reference.forward(x.astype(np.float64), SPEC, -3).astype(np.float32)


def test_the_next_result_lies_where_the_last_one_lay():
    x = sample()
    assert x.nbytes >= LARGE
    y = normalized(x)
    place = address(y)
    del y
    assert address(normalized(x)) == place


def test_a_result_that_is_held_is_left_alone():
    x, other = sample(0), sample(1)
    held = [normalized(x), lrnorm.local_response_norm_vjp(x, other, spec=SPEC)]
    copies = [array.copy() for array in held]
    more = [normalized(other) for _ in range(20)]
    del more
    normalized(other)
    for array, as_it_was in zip(held, copies, strict=True):
        np.testing.assert_array_equal(array, as_it_was)


def test_a_view_keeps_the_memory():
    view = normalized(sample())[3, 5:9, ::7]
    as_it_was = view.copy()
    normalized(sample(1))
    np.testing.assert_array_equal(view, as_it_was)


def test_memory_used_again_gives_the_right_numbers():
    for seed in range(4):
        x = sample(seed)
        np.testing.assert_allclose(normalized(x), expected(x), rtol=4e-7)


def test_a_smaller_result_does_not_take_a_much_larger_place():
    large = _core.Memory(64 << 20)
    place = np.frombuffer(large, np.uint8).__array_interface__["data"][0]
    del large
    small = np.frombuffer(_core.Memory(8 << 20), np.uint8)
    nearly = np.frombuffer(_core.Memory(60 << 20), np.uint8)
    assert address(small) != place
    assert address(nearly) == place


def test_memory_tells_whether_it_is_fresh():
    size = 37 << 20  # nothing else here is of that size
    memory = _core.Memory(size)
    assert memory.fresh
    assert len(memoryview(memory)) == size
    del memory
    assert not _core.Memory(size).fresh


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_kept_has_a_limit():
    code = """
import numpy as np, os
from lrnorm import _core
blocks = [_core.Memory(100 << 20) for _ in range(8)]
for block in blocks:
    np.frombuffer(block, np.uint8)[::4096] = 1
del blocks, block
resident = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
print(resident >> 20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 512 + 150


def test_memory_that_cannot_be_had_is_a_memory_error():
    with pytest.raises(MemoryError):
        _core.Memory(1 << 62)
    with pytest.raises(MemoryError):
        _core.Memory((1 << 64) - 1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_memory_order_and_dtype_are_those_of_x(order, dtype):
    x = np.asarray(np.resize(sample(), (32, 256, 320)), dtype, order=order)
    y = normalized(x)
    assert y.dtype == x.dtype and y.strides == x.strides and y.flags.writeable
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y[:, 3:5, :20], normalized(x[:, 3:5, :20].copy()))


@pytest.mark.parametrize(
    ("call", "blocks"),
    [
        (normalized, 1),
        (lambda x: lrnorm.local_response_norm_vjp(x, x, spec=SPEC), 1),
        (lambda x: lrnorm.local_response_norm(x, spec=SPEC, out=x), 0),
        (lambda x: normalized(x[:, ::-1]), 1),
    ],
)
def test_a_large_call_allocates_its_output_and_no_other_array(call, blocks, monkeypatch):
    taken = []
    memory = _core.Memory
    monkeypatch.setattr(_core, "Memory", lambda size: taken.append(size) or memory(size))
    x = sample()
    call(x)  # what is loaded once
    taken.clear()
    tracemalloc.start()
    try:
        call(x)
        elsewhere = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken == [x.nbytes] * blocks
    assert elsewhere <= x.nbytes / x.itemsize + 10_000  # reserved to order the axes, never touched


def test_large_results_pickle_and_copy():
    y = normalized(sample())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(y)), y)
    np.testing.assert_array_equal(copy.deepcopy(y), y)


def test_threads_take_and_give_at_once():
    inputs = [sample(seed) for seed in range(4)]
    wanted = [normalized(x) for x in inputs]

    def many(i: int) -> bool:
        return all(np.array_equal(normalized(inputs[i]), wanted[i]) for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(many, range(4)))


def _in_child(pipe) -> None:
    x = sample(5)
    pipe.send(np.array_equal(normalized(x), normalized(x)))
    pipe.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_goes_on():
    y = normalized(sample())
    as_it_was = y.copy()
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(there,))
    child.start()
    assert here.poll(60) and here.recv()
    child.join()
    np.testing.assert_array_equal(y, as_it_was)


def test_an_array_may_outlive_the_interpreter():
    code = """
import sys, numpy as np, lrnorm
sys.modules["kept"] = lrnorm.local_response_norm(np.ones((16, 800, 800), np.float32))
assert not sys.modules["kept"].flags.owndata
cycle = [lrnorm.local_response_norm(np.ones((16, 800, 800), np.float32))]
cycle.append(cycle)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
