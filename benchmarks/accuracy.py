"""Prints the largest errors found in a wide sweep, as the table of csrc/README.md.

    python benchmarks/accuracy.py [ISA …]

in an environment with lrnorm[test]; some fifteen minutes for three instruction sets.

Each figure is the maximum over betas 0.1 … 3, windows 1 … 255 and inputs of all sizes, in units
in the last place of the exact result (forward) or of the sum of the magnitudes of its terms.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ml_dtypes
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/helpers"))
import exact
from whole_range import COEFFICIENTS, ends, forward_bound, inputs

import lrnorm
from lrnorm import LRNSpec, _core

DTYPES = tuple(map(np.dtype, (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)))
BETAS = (0.1, 0.25, 0.3, 0.5, 0.6, 0.75, 0.9, 1.0, 1.5, 2.0, 3.0)
CLASSES = {"≤ 5": (1, 2, 3, 4, 5), "> 5": (6, 15, 63, 255)}


def worst(dtype: np.dtype, widths: tuple[int, ...], seed: int) -> dict[str, tuple[float, str]]:
    """verb → (the largest error by its bound, how it reads)"""
    found = {}

    def note(verb: str, error: float, bound: float, beta: float) -> None:
        if not error / bound <= found.get(verb, (0.0, ""))[0]:
            found[verb] = (error / bound, f"{error:.2f} of {bound:g} (beta {beta:g})")

    for width in widths:
        channels = min(width + 20, 275)
        pixels = 400 if width <= 15 else 60
        arrays = inputs(dtype, channels, pixels, seed)
        for x in arrays.values():
            for scale, bias in COEFFICIENTS:
                for beta in BETAS:
                    spec = LRNSpec(scale / width, beta, bias, *ends(width))
                    y = lrnorm.local_response_norm(x, spec=spec, axis=0)
                    error = exact.worst_ulp(y, exact.forward(x, spec))
                    note("forward", error, forward_bound(dtype, beta), beta)
                    if beta not in (0.5, 0.75, 1.0, 3.0):
                        continue
                    part, g = x[:, :100], arrays["by element"][:, :100]
                    for verb in ("vjp", "jvp"):
                        true, size = getattr(exact, verb)(part, g, spec)
                        compute = getattr(lrnorm, f"local_response_norm_{verb}")
                        result = compute(part, g, spec=spec, axis=0)
                        note(verb, exact.worst_ulp(result, true, size), 8, beta)
    return found


def main() -> None:
    print("| set | type | window | forward | vjp | jvp |\n|---|---|---|---|---|---|")
    for isa in sys.argv[1:] or _core.isa_names():
        _core.choose_isa(isa)
        for dtype in DTYPES:
            for label, widths in CLASSES.items():
                found = worst(dtype, widths, seed=11)
                cells = " | ".join(found[verb][1] for verb in ("forward", "vjp", "jvp"))
                print(f"| {isa} | {dtype.name} | {label} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
