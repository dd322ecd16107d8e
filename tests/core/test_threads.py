"""The pool: settings, forks, many callers, the end of the process, the lock of the interpreter.

What could hang runs in a process of its own, which is given a minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import KindError, LRNSpec, ParameterError, _core

forward = lrnorm.local_response_norm
sanitizer_in_the_way = pytest.mark.skipif(
    "san" in os.environ.get("LD_PRELOAD", ""),
    reason="a sanitizer has threads and memory of its own",
)
linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")


def run(code: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """`code` after a preamble that defines x, its result on one thread, and right()."""
    preamble = """
        import os, sys, threading, time
        import numpy as np
        import lrnorm
        x = np.random.default_rng(0).standard_normal((4, 40, 60, 60), np.float32)
        def compute(): return lrnorm.local_response_norm(x, beta=0.6, channel_window_size=3)
        threads = lrnorm.show_config()["threads"]
        lrnorm.set_num_threads(1)
        expected = compute()
        lrnorm.set_num_threads(threads)
        def right(): return np.array_equal(compute(), expected)
    """
    return subprocess.run(
        [sys.executable, "-c", "\n".join(map(textwrap.dedent, (before, preamble, code)))],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def succeed(code: str, before: str = "", **environment: str) -> str:
    done = run(code, before, **environment)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert done.stderr == ""
    return done.stdout.strip()


# Settings


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("n", [1, 3, np.int64(2), 1024])
def test_number_of_threads(n: int) -> None:
    lrnorm.set_num_threads(n)
    assert lrnorm.show_config()["threads"] == _core.thread_count() == n


@pytest.mark.usefixtures("threads")
def test_any_number_of_threads_is_taken() -> None:
    lrnorm.set_num_threads(10**30)
    assert 1 < lrnorm.show_config()["threads"] < 10**5
    x = np.random.default_rng(0).standard_normal((3, 30, 40, 50))
    assert np.isfinite(forward(x)).all()


@pytest.mark.parametrize(
    ("n", "kind"),
    [
        *((wrong, KindError) for wrong in (True, 2.0, "2", None)),
        *((wrong, ParameterError) for wrong in (0, -1)),
    ],
)
def test_numbers_of_threads_that_are_none(n: Any, kind: type[Exception]) -> None:
    before = lrnorm.show_config()["threads"]
    with pytest.raises(kind, match=f"^the number of threads must be a positive integer, got {n!r}"):
        lrnorm.set_num_threads(n)
    assert lrnorm.show_config()["threads"] == before


def test_environment_sets_the_threads() -> None:
    show = 'print(lrnorm.show_config()["threads"])'
    for value, threads in (("3", "3"), (" 2 ", "2"), ("1", "1")):
        assert succeed(show, LRNORM_NUM_THREADS=value) == threads
    everyone = 'c = lrnorm.show_config(); print(c["threads"] == c["processors"])'
    assert succeed(everyone, LRNORM_NUM_THREADS="") == "True"


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "2 3"])
def test_environment_with_a_bad_number(value: str) -> None:
    done = run("", LRNORM_NUM_THREADS=value)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "lrnorm.ParameterError: LRNORM_NUM_THREADS must be a positive integer, "
        f"got {value!r}. Leave it unset to use every processor."
    )


@pytest.mark.parametrize("isa", _core.isa_names())
def test_environment_chooses_the_instruction_set(isa: str) -> None:
    show = 'print(lrnorm.show_config()["isa"])'
    assert succeed(show, LRNORM_ISA=isa) == isa


def test_environment_with_an_unknown_instruction_set() -> None:
    done = run("", LRNORM_ISA="mmx")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "lrnorm.ParameterError: LRNORM_ISA must be one of "
        f"{', '.join(_core.isa_names())} "
        "on this processor, got 'mmx'. Leave it unset for the best one."
    )
    assert succeed('print(lrnorm.show_config()["isa"])', LRNORM_ISA="") == _core.isa_names()[-1]


def test_configuration() -> None:
    config = lrnorm.show_config()
    assert config["isa"] in config["isa_available"] == _core.isa_names()
    assert config["isa_available"][0] == "baseline"
    assert config["processors"] >= 1
    assert config["numpy"] == np.__version__
    assert config["python"] == ".".join(map(str, sys.version_info[:3]))


# Results


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("axis", range(4))
def test_bits_do_not_depend_on_the_number(isa: str, axis: int) -> None:
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((4, 21, 35, 43)) for _ in range(2))
    spec = LRNSpec(0.3, 0.6, 0.9, 3, 1)
    results = []
    for n in (1, 2, 7, 64):
        lrnorm.set_num_threads(n)
        dx, gradients = lrnorm.local_response_norm_vjp(x, g, spec=spec, axis=axis, parameters=True)
        dy = lrnorm.local_response_norm_jvp(x, g, spec=spec, axis=axis)
        out = forward(x, spec=spec, axis=axis)
        results.append((dx.tobytes(), gradients, dy.tobytes(), out.tobytes()))
    assert all(result == results[0] for result in results[1:])


@pytest.mark.usefixtures("threads")
def test_many_python_threads_at_once() -> None:
    """One of them has the pool, the others compute alone; settings change under them."""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((3, 8 + i, 60, 70)).astype(np.float32) for i in range(6)]
    lrnorm.set_num_threads(1)
    expected = [(forward(x), lrnorm.local_response_norm_vjp(x, x)) for x in inputs]
    start = threading.Barrier(6)

    def work(i: int) -> bool:
        start.wait()
        right = True
        for turn in range(30):
            lrnorm.set_num_threads(1 + (i + turn) % 5)
            k = (i + turn) % len(inputs)
            y, dx = expected[k]
            right &= np.array_equal(forward(inputs[k]), y)
            right &= np.array_equal(lrnorm.local_response_norm_vjp(inputs[k], inputs[k]), dx)
        return right

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))


@pytest.mark.usefixtures("threads")
def test_threads_that_come_and_go() -> None:
    lrnorm.set_num_threads(3)
    x = np.random.default_rng(0).standard_normal((2, 30, 50, 50))
    expected, wrong = forward(x), []

    def work() -> None:
        if not np.array_equal(forward(x), expected):
            wrong.append(threading.get_ident())

    for _ in range(50):
        callers = [threading.Thread(target=work) for _ in range(3)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert wrong == []


FORK = """
def child(what):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if what() else 3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
QUIET = {"PYTHONWARNINGS": "ignore"}  # Python 3.12 warns of every fork beside threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "code",
    [
        "assert right() and [child(right) for _ in range(20)] == [0] * 20",
        "assert child(right) == 0 and right()",  # before the parent ever had a pool
        # a child, whose child computes, and then itself
        "assert right() and child(lambda: right() and child(right) == 0 and right()) == 0",
        # other numbers of threads on either side
        "def other(): lrnorm.set_num_threads(7); return right()\n"
        "assert right() and child(other) == 0 and right()",
    ],
)
def test_a_forked_child_computes(code: str) -> None:
    succeed(FORK + code, LRNORM_NUM_THREADS="4", **QUIET)


@pytest.mark.skipif(
    "tsan" in os.environ.get("LD_PRELOAD", ""),
    reason="ThreadSanitizer confuses threads of a forked child",
)
@pytest.mark.skipif(
    hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled(),
    reason="without the GIL, Python 3.13 alone can hang there: docs/platforms.md",
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_other_threads_compute() -> None:
    code = """
        stop, wrong = threading.Event(), []
        def work():
            while not stop.is_set():
                if not right(): wrong.append(1)
        workers = [threading.Thread(target=work) for _ in range(3)]
        for w in workers: w.start()
        codes = [child(lambda: right() and right()) for _ in range(40)]
        stop.set()
        for w in workers: w.join()
        assert codes == [0] * 40, codes
        assert not wrong and right()
    """
    succeed(FORK + textwrap.dedent(code), LRNORM_NUM_THREADS="4", **QUIET)


@linux
@sanitizer_in_the_way
@pytest.mark.parametrize("parent", ["right()", "None"])
def test_a_forked_child_has_workers_of_its_own(parent: str) -> None:
    """It would compute right without: its parent's are lost to it."""
    code = f"""
        def tasks(): return len(os.listdir("/proc/self/task"))
        {parent}
        assert child(lambda: tasks() == 1 and right() and tasks() == 4) == 0
    """
    succeed(FORK + textwrap.dedent(code), LRNORM_NUM_THREADS="4", **QUIET)


# The end


def test_exit_while_workers_sleep() -> None:
    succeed("assert right()", LRNORM_NUM_THREADS="8")
    succeed("assert right(); time.sleep(0.05); sys.exit(0)", LRNORM_NUM_THREADS="8")


@pytest.mark.parametrize("callers", [1, 3])
def test_exit_while_a_daemon_thread_computes(callers: int) -> None:
    """The interpreter goes while a call is under way without its lock."""
    code = f"""
        begun = threading.Barrier({callers} + 1)
        def work():
            begun.wait()
            while True: compute()
        for _ in range({callers}): threading.Thread(target=work, daemon=True).start()
        begun.wait()
        time.sleep(0.05)
    """
    for _ in range(3):
        succeed(code, LRNORM_NUM_THREADS="4")


def test_exit_in_a_thread_that_has_computed() -> None:
    succeed("""
        t = threading.Thread(target=lambda: right() or os._exit(5))
        t.start(); t.join()
    """)


# The lock of the interpreter


@pytest.mark.parametrize(
    "call",
    [
        "lrnorm.local_response_norm(x, out=y)",
        "lrnorm.local_response_norm_vjp(x, x)",
        "lrnorm.local_response_norm_jvp(x, x)",
        "lrnorm.numpy.parameter_gradients(x, x, lrnorm.LRNSpec(1, 0.6, 1, 2, 2))",
        "lrnorm.local_response_norm(x.astype('>f4'), out=y)",
    ],
)
@pytest.mark.parametrize("threads", ["1", "3"])
def test_other_python_threads_go_on_meanwhile(call: str, threads: str) -> None:
    """With a switch interval of hours a thread gets the lock only where another lets go of it:
    a call that kept it would leave the count as it was, however long the call and the wait."""
    code = f"""
        sys.setswitchinterval(10_000)
        y = np.empty_like(x)
        ticks, stop = 0, False
        def tick():
            global ticks
            while not stop:
                ticks += 1
                time.sleep(0.0005)
        ticker = threading.Thread(target=tick)
        ticker.start()
        before = ticks
        for _ in range(500):
            {call}
            if ticks > before + 2: break
        went_on = ticks - before
        stop = True
        ticker.join()
        print(went_on > 2)
    """
    assert succeed(code, LRNORM_NUM_THREADS=threads) == "True"


# Little to compute with


@linux
def test_one_processor_for_many_threads() -> None:
    before = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    show = """
        config = lrnorm.show_config()
        assert (config["processors"], config["threads"]) == (1, 1), config
        for n in (1, 2, 8):
            lrnorm.set_num_threads(n)
            assert all(right() for _ in range(5))
    """
    succeed(show, before)


@linux
@sanitizer_in_the_way  # it needs address space
def test_no_more_threads_to_be_had() -> None:
    """Stacks larger than the memory a process may have: the caller computes alone."""
    before = """
        import os, resource, sys
        if "again" not in os.environ:
            hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
            wanted = 1 << 36
            if hard != resource.RLIM_INFINITY and hard < wanted:
                sys.exit(0)  # this system does not let us
            resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
            code = open(f"/proc/{os.getpid()}/cmdline").read().split("\\0")[2]
            os.execve(sys.executable, [sys.executable, "-c", code], {**os.environ, "again": "1"})
        resource.setrlimit(resource.RLIMIT_AS, (1 << 35, 1 << 35))
    """
    code = """
        try:
            threading.Thread(target=print).start()
            print("there was one")
        except RuntimeError:
            assert right() and right()
            print("right")
    """
    assert succeed(code, before, LRNORM_NUM_THREADS="4") in ("right", "")
