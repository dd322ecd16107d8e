"""LRN layers of published packages, measured: what they compute beside what the original has.

Only the layer is taken from a package: a class or an expression of its source file, so that its
dependencies are not needed. The packages are found as installed distributions, or unpacked in the
folder of LRNORM_PACKAGES: pip download --no-deps pretrainedmodels==0.7.4 torch-lucent==0.1.8
deepface==0.0.103.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import os
from pathlib import Path
from typing import Any

import pytest

import lrnorm
from lrnorm import IdentificationError, LRNSpec, conventions


def source_of(package: str, file: str) -> ast.Module:
    """A file of a package, parsed."""
    places = []
    if folder := os.environ.get("LRNORM_PACKAGES"):
        places = [Path(folder) / file, *Path(folder).glob(f"*/{file}")]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        places.append(Path(str(importlib.metadata.distribution(package).locate_file(file))))
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        pytest.skip(f"{package} is not installed")
    return ast.parse(found.read_text())


def defined(tree: ast.Module, name: str, known: dict[str, Any]) -> Any:
    """One class or function of a file, without the rest of it."""
    [node] = [n for n in tree.body if getattr(n, "name", None) == name]
    exec(compile(ast.Module([node], []), "<package>", "exec"), known)
    return known[name]


def calls(tree: ast.Module, name: str, known: dict[str, Any]) -> list[Any]:
    """Each call of a function in a file, as a function of its first argument."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) == name:
            node.args[0] = ast.Name("x", ast.Load())
            one = ast.fix_missing_locations(
                ast.Expression(
                    ast.Lambda(ast.arguments([], [ast.arg("x")], None, [], [], None, []), node)
                )
            )
            found.append(eval(compile(one, "<package>", "eval"), known))
    return found


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def vggm(torch: Any, **words: Any) -> Any:
    tree = source_of("pretrainedmodels", "pretrainedmodels/models/vggm.py")
    return defined(tree, "SpatialCrossMapLRN", {"nn": torch.nn})(**words)


def test_pretrainedmodels_across_channels(torch: Any) -> None:
    layer = vggm(torch, local_size=5, alpha=0.0005, beta=0.75, k=2)
    found = lrnorm.identify(layer)
    assert found.spec == LRNSpec(0.0001, 0.75, 2.0, 2, 2)
    assert found.words["caffe"] == {"local_size": 5, "alpha": 0.0005, "beta": 0.75, "k": 2.0}
    model = lrnorm.torch.replace(torch.nn.Sequential(layer), probe=True)
    assert type(model[0]) is lrnorm.torch.LocalResponseNorm


def test_pretrainedmodels_within_a_channel_is_refused(torch: Any) -> None:
    layer = vggm(torch, local_size=3, alpha=0.9, ACROSS_CHANNELS=False)
    with pytest.raises(IdentificationError, match="other pixels") as caught:
        lrnorm.identify(layer)
    assert caught.value.code == "other_pixels"


def test_lucent(torch: Any) -> None:
    """Inception v1 of TensorFlow has radius 5, alpha 1e-4 undivided, beta 0.5 and bias 2."""
    tree = source_of("torch-lucent", "lucent/modelzoo/inceptionv1/InceptionV1.py")
    found = [
        lrnorm.identify(f).spec
        for f in calls(tree, "local_response_norm", {"F": torch.nn.functional})
    ]
    assert len(found) == 2
    for spec in found:
        assert spec.isclose(LRNSpec(1e-4 / 9, 0.5, 1.0, 4, 4))
    original = conventions.read("tensorflow", depth_radius=5, alpha=1e-4, beta=0.5, bias=2.0)
    assert not found[0].isclose(original, rel_tol=0.5)


# OpenFace was trained with SpatialCrossMapLRN(5, 1e-4, 0.75): a window of 5, alpha divided by 5.
OPENFACE = LRNSpec(1e-4, 0.75, 1.0, 5, 5)


def test_deepface_in_pytorch(torch: Any) -> None:
    tree = source_of("deepface", "deepface/models/facial_recognition/pytorch/OpenFace.py")
    known = {"F": torch.nn.functional, "Tensor": torch.Tensor}
    assert lrnorm.identify(defined(tree, "lrn", known)).spec == OPENFACE


def test_deepface_in_tensorflow() -> None:
    tf = pytest.importorskip("tensorflow")
    tree = source_of("deepface", "deepface/models/facial_recognition/tf/OpenFace.py")
    found = calls(tree, "lrn", {"tf": tf})
    assert len(found) == 2
    for f in found:
        assert lrnorm.identify(f, axis=-1).spec == OPENFACE
    torch7 = conventions.read("caffe", local_size=5, alpha=1e-4, beta=0.75)
    assert not OPENFACE.isclose(torch7, rel_tol=0.5)
