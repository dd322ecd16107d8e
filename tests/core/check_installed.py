"""What every wheel must do before it is uploaded. Needs NumPy alone:

    python tests/core/check_installed.py

The compiled core is in use; under every instruction set that this processor has, values and
derivatives agree with the formula in 60 decimal digits; threads do not change a bit, neither those
of the core nor several callers at once. A Python without the global interpreter lock keeps it off.
"""

from __future__ import annotations

import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, localcontext
from itertools import product
from typing import Any

import numpy as np

import lrnorm
from lrnorm import LRNSpec, _core

DIGITS = 60
CHANNELS = 11


def formula(x: Any, g: Any, spec: LRNSpec) -> tuple[list[Decimal], ...]:
    """y and dx of one column, and the sizes of the terms of dx."""
    before, after = spec.ends(len(x))
    xs, gs = ([Decimal(float(v)) for v in values] for values in (x, g))
    scale, beta, bias = (Decimal(float(v)) for v in (spec.scale, spec.beta, spec.bias))
    window = [range(max(0, c - before), min(len(xs), c + after + 1)) for c in range(len(xs))]
    energy = [bias + scale * sum(xs[j] * xs[j] for j in near) for near in window]
    power = [d**-beta for d in energy]
    through = [g_ * x_ * p / d for g_, x_, p, d in zip(gs, xs, power, energy, strict=True)]
    shares = [[through[m] for m in range(len(xs)) if c in window[m]] for c in range(len(xs))]
    factors = [2 * scale * beta * x_ for x_ in xs]
    direct = [g_ * p for g_, p in zip(gs, power, strict=True)]
    terms = list(zip(direct, factors, shares, strict=True))
    y = [x_ * p for x_, p in zip(xs, power, strict=True)]
    dx = [d - f * sum(s) for d, f, s in terms]
    return y, dx, [abs(d) + abs(f) * sum(map(abs, s)) for d, f, s in terms]


def check(holds: Any, what: str) -> None:
    if not holds:
        raise SystemExit(f"FAILED: {what}")


def check_values(dtype: str, size: float, beta: float, width: int) -> None:
    rng = np.random.default_rng(1)
    spec = LRNSpec(1 / width, beta, 1e-3, width // 2, (width - 1) // 2)
    x = (rng.uniform(0.5, 1, CHANNELS) * rng.choice([-1, 1], CHANNELS) * size).astype(dtype)
    g = rng.uniform(0.5, 1, CHANNELS).astype(dtype)
    y, dx, sizes = formula(x, g, spec)
    info = np.finfo(dtype)
    epsilon, tiny = Decimal(float(info.eps)), Decimal(float(info.smallest_subnormal))
    wide = np.repeat(x[:, None], 5, axis=1)
    for result, true, of, bound in (
        (lrnorm.local_response_norm(wide, spec=spec, axis=0)[:, 3], y, y, max(4, 3 + 2 * beta)),
        (lrnorm.local_response_norm_vjp(x, g, spec=spec, axis=0), dx, sizes, 8),
    ):
        for a, b, scale in zip(result, true, of, strict=True):
            error = abs(Decimal(float(a)) - b) / max(abs(scale) * epsilon, tiny)
            check(error <= bound, f"{dtype}, size {size}, beta {beta}: {a} for {b:.20g}")


def main() -> None:
    config = lrnorm.show_config()
    print(config)
    check(config["core"] == "compiled", f"the core is not in use: {config['core']}")
    sizes = {"float32": (1e-30, 1.0, 1e25), "float64": (1e-200, 1.0, 1e220), "float16": (1.0,)}
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = DIGITS, 10**6, -(10**6)
        for name in _core.isa_names():
            _core.choose_isa(name)
            for dtype, beta, width in product(sizes, (0.5, 0.6, 0.75, 2.0), (1, 4, 5, 9)):
                for size in sizes[dtype]:
                    check_values(dtype, size, beta, width)
            x = np.random.default_rng(2).standard_normal((3, 32, 64, 64)).astype("float32")
            lrnorm.set_num_threads(1)
            alone = lrnorm.local_response_norm(x)
            lrnorm.set_num_threads(3)
            check(np.array_equal(alone, lrnorm.local_response_norm(x)), "threads change the bits")
            with ThreadPoolExecutor(4) as callers:
                results = callers.map(lrnorm.local_response_norm, [x] * 40)
                check(all(np.array_equal(alone, y) for y in results), "callers change the bits")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        check(not sys._is_gil_enabled(), "an import took the global interpreter lock back")
    print(f"right under {', '.join(_core.isa_names())}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
