"""The compiled core under XLA: threads, the interpreter's lock, errors, other versions."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec, _core

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jaxes import same_bits, sample  # noqa: E402

import lrnorm.jax  # noqa: E402
from lrnorm._fronts.jax import ffi  # noqa: E402

ours = lrnorm.jax.local_response_norm
X = sample((2, 5, 3), "float32")
ATTRIBUTES: dict[str, Any] = {
    "scale": np.float64(0.2),
    "beta": np.float64(0.5),
    "bias": np.float64(1),
    "before": np.array([2]),
    "after": np.array([2]),
    "axes": np.array([1]),
}


def call(verb: str = "forward", *operands: Any, like: Any = X, **changes: Any) -> Any:
    """A handler, by itself."""
    assert ffi.are_available()
    attributes = {k: v for k, v in (ATTRIBUTES | changes).items() if v is not None}
    result = jax.ShapeDtypeStruct(like.shape, like.dtype)
    return jax.ffi.ffi_call(f"lrnorm_{verb}", result)(*operands, **attributes).block_until_ready()


def test_operands_stand_for_missing_attributes() -> None:
    expected = ours(X, axis=1)
    assert same_bits(call("forward", X), expected)
    assert same_bits(call("forward", X, np.float32(0.5), beta=None), expected)
    swapped = call("forward", X, np.float32(0.5), np.float32(1), beta=None, bias=None)
    assert same_bits(swapped, expected)


WRONG: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "a number is missing": ((X,), {"scale": None}),
    "an operand too many": ((X, X), {}),
    "a number of integers": ((X, np.int32(1)), {"bias": None}),
    "a number with an axis": ((X, np.ones(1, "float32")), {"bias": None}),
    "a window that ends before it begins": ((X,), {"before": np.array([-1])}),
    "an axis that is not there": ((X,), {"axes": np.array([3])}),
    "an attribute of another type": ((X,), {"axes": np.array([2], np.int32)}),
    "one number in place of an array": ((X,), {"axes": np.int64(1)}),
    "an axis without a window": ((X,), {"axes": np.array([1, 2])}),
    "elements of another type": ((X.astype("int32"),), {}),
}


@pytest.mark.parametrize(("operands", "changes"), WRONG.values(), ids=WRONG)
def test_wrong_calls_are_errors_of_xla(operands: Any, changes: Any) -> None:
    with pytest.raises(Exception, match="lrnorm: the operands or attributes are not those of this"):
        call("forward", *operands, **changes)


def test_wrong_arrays_are_errors_of_xla() -> None:
    fit = "INVALID_ARGUMENT: lrnorm: the arrays differ in type or shape"
    with pytest.raises(Exception, match=fit):
        call("forward", X, like=X[0])
    with pytest.raises(Exception, match=fit):
        call("forward", X, like=X.astype("float16"))
    with pytest.raises(Exception, match=fit):
        call("vjp", X, X[:1])
    with pytest.raises(Exception, match="lrnorm: the result must be three numbers"):
        call("parameters", X, X)


def test_any_number_of_threads_gives_the_same_bits(threads: None) -> None:
    x = sample((4, 24, 40, 40), "float32")
    results = []
    for count in (1, 2, 3):
        lrnorm.set_num_threads(count)
        results.append(np.asarray(ours(x)))
    assert same_bits(results[0], results[1]) and same_bits(results[0], results[2])


def test_programs_may_run_at_the_same_time() -> None:
    """Handlers hold no lock of the interpreter, and one thread's call waits for no other's."""
    x = [sample((2, 24, 40, 40), "float32", seed) for seed in range(4)]
    alone = [np.asarray(ours(each)) for each in x]
    program = jax.jit(ours)
    wrong = []

    def work(i: int) -> None:
        for _ in range(10):
            if not same_bits(program(x[i]), alone[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_names_of_handlers() -> None:
    handlers = [_core.xla_handler(verb) for verb in ffi.VERBS]
    assert {type(handler).__name__ for handler in handlers} == {"PyCapsule"}


STRANGER = """
import ctypes, logging, sys
import numpy as np
import jax, lrnorm.jax
from lrnorm import _core
from lrnorm._fronts.jax import ffi

class Extension(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("kind", ctypes.c_int), ("next", ctypes.c_void_p),
                ("metadata", ctypes.POINTER(ctypes.c_int64))]

class Frame(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("extension", ctypes.POINTER(Extension))]

@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(Frame))
def handler(frame):
    metadata = frame.contents.extension.contents.metadata
    major, minor = MAJOR, MINOR
    metadata[3] = major | minor << 32  # behind three words: sizes, and a list that is empty
    return None

logging.basicConfig(stream=sys.stdout)
ffi._core = type("Core", (), {"xla_handler": staticmethod(
    lambda verb: jax.ffi.pycapsule(ctypes.cast(handler, ctypes.c_void_p).value))})
x = np.random.default_rng(0).standard_normal((2, 5, 3, 3), dtype="f")
text = jax.jit(lrnorm.jax.local_response_norm).lower(x).compile().as_text()
print("program of the core:", "lrnorm_forward" in text)
for beta in (0.5, 0.75):
    theirs = lrnorm.jax.local_response_norm(x, beta=beta)
    print(abs(theirs - lrnorm.local_response_norm(x, beta=beta)).max() < 1e-6)
"""


@pytest.mark.parametrize(("major", "minor"), [(0, 9), (1, 0)])
def test_another_version_of_the_interface_means_plain_operations(major: int, minor: int) -> None:
    code = STRANGER.replace("MAJOR", str(major)).replace("MINOR", str(minor))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "program of the core: False" in done.stdout
    assert done.stdout.count("True") == 2
    said = re.findall("WARNING:lrnorm:.*", done.stdout)
    assert len(said) == 1
    assert "lrnorm.jax computes with plain JAX, because XLA refuses the core" in said[0]


def test_a_first_call_that_fails_means_plain_operations(monkeypatch: Any, caplog: Any) -> None:
    def fails() -> None:
        raise RuntimeError("no such platform")

    monkeypatch.setattr(ffi, "_try_one", fails)
    assert not ffi.are_available.__wrapped__()
    assert "XLA refuses the core: no such platform" in caplog.text


def test_a_first_call_that_is_wrong_means_plain_operations(monkeypatch: Any, caplog: Any) -> None:
    monkeypatch.setattr(ffi, "call", lambda verb, x, **_: x)
    assert not ffi.are_available.__wrapped__()
    assert "2 was expected of a first call, 1.0 came back" in caplog.text


def test_importing_starts_no_backend() -> None:
    code = """
import lrnorm.jax, jax
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
jax.numpy.ones(1)
assert xla_bridge.backends_are_initialized()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_that_change_compile_once() -> None:
    compiled = 0

    @jax.jit
    def normalized(x: Any, alpha: Any) -> Any:
        nonlocal compiled
        compiled += 1
        return ours(x, alpha=alpha)

    x = jnp.asarray(sample((2, 5, 3, 3), "float32"))
    for alpha in (0.5, 1.0, 2.0):
        expected = ours(x, spec=LRNSpec.from_keywords(alpha))
        np.testing.assert_allclose(normalized(x, alpha), expected, 1e-6)
    assert compiled == 1
