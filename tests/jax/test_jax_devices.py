"""lrnorm.jax over several devices: automatic sharding, shard_map, types that tell shardings.

Run as a program, this file makes the checks on eight devices; the test asks what came of each.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import traceback
from typing import Any

import numpy as np
import pytest

SHAPE = (4, 8, 6, 2)
COMMUNICATION = re.compile(
    "all-gather|all-to-all|all-reduce|collective-permute|reduce-scatter|dynamic-slice"
)
KINDS = ("auto", "explicit")


def sample() -> Any:
    return np.random.default_rng(0).standard_normal(SHAPE).astype("float32")


def functions() -> dict[str, Any]:
    import jax

    import lrnorm.jax
    from lrnorm import LRNSpec

    spec = LRNSpec(0.3, 0.75, 1.1, 2, 1)

    def normalized(x: Any) -> Any:
        return lrnorm.jax.local_response_norm(x, spec=spec)

    def loss(x: Any) -> Any:
        return (normalized(x) ** 2).sum()

    def traced(x: Any) -> Any:
        return lrnorm.jax.local_response_norm(x, alpha=x.sum() * 0 + 2)

    return {
        "forward": normalized,
        "gradient": jax.grad(loss),
        "jvp": lambda x: jax.jvp(normalized, (x,), (x,))[1],
        "second": lambda x: jax.jvp(jax.grad(loss), (x,), (x,))[1],
        "traced": traced,
        "batched": jax.vmap(lambda x: lrnorm.jax.local_response_norm(x, spec=spec)),
    }


def mesh_of(kind: str, **sizes: int) -> Any:
    import jax

    axis_type = {"auto": jax.sharding.AxisType.Auto, "explicit": jax.sharding.AxisType.Explicit}
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), (axis_type[kind],) * len(sizes))


def placed(x: Any, mesh: Any, *spec: Any) -> Any:
    import jax

    return jax.device_put(x, jax.NamedSharding(mesh, jax.P(*spec)))


def compiled(function: Any, *arguments: Any) -> tuple[Any, set[str], str]:
    """What it gives, which communication its program has, and the program."""
    import jax

    program = jax.jit(function).lower(*arguments).compile()
    text = program.as_text()
    return program(*arguments), set(COMMUNICATION.findall(text)), text


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, 2e-6, 2e-6)


def check_batch_and_pixels_stay_where_they_are(kind: str) -> None:
    mesh, x = mesh_of(kind, b=2, h=2, w=2), sample()
    for name, function in functions().items():
        if name == "traced":  # its number is a sum over all devices
            continue
        y, communication, text = compiled(function, placed(x, mesh, "b", None, "h", "w"))
        assert communication == set(), (name, communication)
        assert "lrnorm_" in text, name
        close(y, function(x))
        assert y.sharding.spec[0] == "b" and y.sharding.spec[2:] == ("h", "w"), name
        assert y.addressable_shards[0].data.shape == (2, 8, 3, 1), name


def check_channels_are_gathered(kind: str) -> None:
    mesh, x = mesh_of(kind, b=2, c=4), sample()
    for name, function in functions().items():
        y, communication, text = compiled(function, placed(x, mesh, "b", "c"))
        assert communication, name
        assert "lrnorm_" in text, name
        close(y, function(x))


def check_boxes_leave_batch_and_channels_where_they_are(kind: str) -> None:
    import jax

    import lrnorm.jax
    from lrnorm import LRNSpec

    spec = LRNSpec(0.3, 0.75, 1.1, (1, 1), (2, 0))

    def normalized(x: Any) -> Any:
        return lrnorm.jax.local_response_norm(x, spec=spec, axis=(2, 3))

    slope = jax.grad(lambda x: (normalized(x) ** 2).sum())
    mesh, x = mesh_of(kind, a=2, b=2), sample()
    for function in (normalized, slope):
        y, communication, text = compiled(function, placed(x, mesh, "a", "b"))
        assert communication == set(), communication
        assert "lrnorm_" in text
        close(y, function(x))
        y, communication, _ = compiled(function, placed(x, mesh, "a", None, "b"))
        assert communication
        close(y, function(x))
    with jax.set_mesh(mesh):
        mapped = jax.shard_map(normalized, in_specs=jax.P("a", "b"), out_specs=jax.P("a", "b"))
        close(mapped(placed(x, mesh, "a", "b")), normalized(x))


def check_one_axis_of_the_array_over_two_of_the_mesh(kind: str) -> None:
    mesh, x = mesh_of(kind, a=2, b=2), sample()
    for name in ("forward", "gradient"):
        function = functions()[name]
        y, communication, _ = compiled(function, placed(x, mesh, ("a", "b")))
        assert communication == set(), (name, communication)
        close(y, function(x))


def check_parameter_gradients_are_summed_over_devices(kind: str) -> None:
    import jax

    import lrnorm.jax

    mesh, x = mesh_of(kind, b=2, c=2), sample()

    def loss(alpha: Any, x: Any) -> Any:
        return lrnorm.jax.local_response_norm(x, alpha=alpha).sum()

    slope = jax.grad(loss)
    for spec in (("b",), ("b", "c"), (None, "c"), (None, None, "b")):
        with jax.set_mesh(mesh):
            y, communication, text = compiled(lambda x: slope(2.0, x), placed(x, mesh, *spec))
        assert "lrnorm_parameters" in text
        assert "c" in spec or communication == {"all-reduce"}
        np.testing.assert_allclose(y, slope(2.0, x), 1e-5)


def check_shard_map(kind: str) -> None:
    import jax

    import lrnorm.jax

    mesh, x = mesh_of(kind, b=4), sample()

    def normalized(x: Any, alpha: Any) -> Any:
        return lrnorm.jax.local_response_norm(x, alpha=alpha)

    alpha = np.float32(2)
    with jax.set_mesh(mesh):
        mapped = jax.shard_map(normalized, in_specs=(jax.P("b"), jax.P()), out_specs=jax.P("b"))
        spread = placed(x, mesh, "b")
        y, communication, text = compiled(mapped, spread, placed(alpha, mesh))
        assert communication == set()
        assert "lrnorm_forward" in text
        slopes = jax.grad(lambda x, a: (mapped(x, a) ** 2).sum(), (0, 1))
        dx, da = jax.jit(slopes)(spread, placed(alpha, mesh))
    close(y, normalized(x, alpha))
    expected = jax.grad(lambda x, a: (normalized(x, a) ** 2).sum(), (0, 1))(x, alpha)
    close(dx, expected[0])
    np.testing.assert_allclose(da, expected[1], 1e-5)


def check_shard_map_over_some_axes(kind: str) -> None:
    import jax

    import lrnorm.jax

    mesh, x = mesh_of(kind, a=2, b=2), sample()
    with jax.set_mesh(mesh):
        mapped = jax.shard_map(
            lrnorm.jax.local_response_norm, in_specs=jax.P("a"), out_specs=jax.P("a"),
            axis_names={"a"},
        )  # fmt: skip
        for spec in (("a",), ("a", None, "b"), ("a", "b")):
            y, _, _ = compiled(mapped, placed(x, mesh, *spec))
            close(y, lrnorm.jax.local_response_norm(x))


def check_sharding_asked_of_the_result(kind: str) -> None:
    import jax

    mesh, x = mesh_of("auto", b=2, c=4), sample()
    function = functions()["forward"]
    for spec in (("b",), (None, "c"), ()):
        out = jax.NamedSharding(mesh, jax.P(*spec))
        y = jax.jit(function, out_shardings=out)(placed(x, mesh, None, None, "b"))
        assert y.sharding.is_equivalent_to(out, 4)
        close(y, function(x))


CHECKS = {name: check for name, check in globals().items() if name.startswith("check_")}


def main() -> None:
    outcomes = {}
    for kind in KINDS:
        for name, check in CHECKS.items():
            try:
                check(kind)
                outcomes[f"{name} {kind}"] = ""
            except Exception:
                outcomes[f"{name} {kind}"] = traceback.format_exc()
    print(json.dumps(outcomes))


@pytest.fixture(scope="module", params=["shardy", pytest.param("gspmd", marks=pytest.mark.slow)])
def outcomes(request: Any) -> dict[str, str]:
    """Of every check, with one partitioner of XLA and the other."""
    pytest.importorskip("jax")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    shardy = str(request.param == "shardy").lower()
    done = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_USE_SHARDY_PARTITIONER": shardy},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CHECKS)
def test_devices(outcomes: dict[str, str], name: str, kind: str) -> None:
    failure = outcomes[f"{name} {kind}"]
    assert not failure, failure


if __name__ == "__main__":
    main()
