"""A real trained net: GoogLeNet's guesses with the right LRN, with ours, and with other readings.

The weights are no part of lrnorm; examples/googlenet.py says where they are looked for.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")
data = pytest.importorskip("skimage.data")

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "examples").is_dir():
    pytest.skip("the examples are not in the source distribution", allow_module_level=True)
sys.path.append(str(ROOT / "examples"))  # as when one of them is run
import eight_conventions  # noqa: E402
import googlenet  # noqa: E402

import lrnorm.torch  # noqa: E402

LRN = LRNSpec(scale=1e-4 / 5, beta=0.75, bias=1.0, before=2, after=2)
# The figures known of these weights; the preparation of the pictures moves the third digit.
GUESSES = {
    "chelsea": ("Egyptian cat", 0.495),
    "coffee": ("espresso", 0.901),
    "rocket": ("missile", 0.357),
}


@pytest.fixture(scope="module")
def place() -> Path:
    try:
        found: Path = googlenet.folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return found


@pytest.fixture(scope="module")
def loaded(place: Path) -> Any:
    return googlenet.load(place)


@pytest.fixture
def net(loaded: Any) -> Any:
    return copy.deepcopy(loaded)


@pytest.fixture(scope="module")
def names(place: Path) -> list[str]:
    found: list[str] = googlenet.labels(place)
    return found


def picture(name: str) -> Any:
    return googlenet.prepared(getattr(data, name)())


def guess(names: list[str], probabilities: Any) -> tuple[str, float]:
    p, i = probabilities.max(dim=1)
    return names[i], float(p)


@pytest.mark.parametrize("change", [lambda net: net, lrnorm.torch.replace], ids=["torch", "lrnorm"])
@pytest.mark.parametrize("name", GUESSES)
def test_the_trained_net_knows_the_pictures(
    net: Any, names: list[str], name: str, change: Callable[[Any], Any]
) -> None:
    label, p = guess(names, googlenet.probabilities(change(net), picture(name)))
    assert (label, pytest.approx(p, abs=0.01)) == GUESSES[name]


@pytest.mark.parametrize("name", GUESSES)
def test_all_probabilities_stay_when_lrn_is_replaced(net: Any, name: str) -> None:
    x = picture(name)
    before = googlenet.probabilities(net, x)
    assert lrnorm.torch.replace(net) is net
    assert {type(net.norm1), type(net.norm2)} == {lrnorm.torch.LocalResponseNorm}
    torch.testing.assert_close(googlenet.probabilities(net, x), before, rtol=0, atol=1e-5)


def test_gradients_by_the_picture_stay_when_lrn_is_replaced(net: Any) -> None:
    x = picture("chelsea").requires_grad_()
    (before,) = torch.autograd.grad(net(x).max(), x)
    (after,) = torch.autograd.grad(lrnorm.torch.replace(net)(x).max(), x)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4 * float(before.abs().max()))


def test_find_reads_both_layers(net: Any) -> None:
    assert lrnorm.torch.find(net) == {"norm1": LRN, "norm2": LRN}
    assert lrnorm.torch.find(lrnorm.torch.replace(net)) == {"norm1": LRN, "norm2": LRN}


def test_without_lrn_the_cat_is_a_stethoscope(net: Any, names: list[str]) -> None:
    without = googlenet.without_lrn(net)
    label, p = guess(names, googlenet.probabilities(without, picture("chelsea")))
    assert (label, p) == ("stethoscope", pytest.approx(0.956, abs=0.01))


# The same readings in PyTorch's words and with PyTorch's own function.
def of_torch(size: int, alpha: float, beta: float, k: float) -> Callable[[Any], Any]:
    return lambda x: torch.nn.functional.local_response_norm(x, size, alpha, beta, k)


IN_TORCH = {
    "As trained: alpha / 5": of_torch(5, 1e-4, 0.75, 1.0),
    "Alpha divided twice": of_torch(5, 2e-5, 0.75, 1.0),
    "Alpha not divided": of_torch(5, 5e-4, 0.75, 1.0),
    "k = 2, as in AlexNet": of_torch(5, 1e-4, 0.75, 2.0),
    "Size 5 taken for a radius": of_torch(11, 1e-4, 0.75, 1.0),
    "Channels taken to be last": lambda x: of_torch(5, 1e-4, 0.75, 1.0)(
        x.transpose(1, 3).contiguous()
    ).transpose(1, 3),
    "TensorFlow's defaults": of_torch(11, 11.0, 0.5, 1.0),
    "No LRN at all": lambda x: x,
}


class Call(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


@pytest.mark.parametrize("reading", eight_conventions.READINGS, ids=lambda reading: reading.text)
def test_each_reading_drawn_is_what_pytorch_makes_of_it(net: Any, reading: Any) -> None:
    x = picture("chelsea")
    drawn = eight_conventions.probabilities(net, reading, x)
    net.norm1 = net.norm2 = Call(IN_TORCH[reading.text])
    torch.testing.assert_close(googlenet.probabilities(net, x), drawn, rtol=0, atol=1e-5)


def test_the_formulas_drawn() -> None:
    formulas = [reading.formula for reading in eight_conventions.READINGS]
    assert formulas[0] == "x / (1 + 2e-05 × sum of x² over 5 channels) ^ 0.75"
    assert formulas[-2:] == ["x / (1 + 1 × sum of x² over 11 channels) ^ 0.5", "x, as it came"]


def test_the_picture_is_drawn_small(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "eight.png"
    monkeypatch.setattr(sys, "argv", ["eight_conventions.py", str(path)])
    eight_conventions.main()
    assert 20_000 < path.stat().st_size <= 200_000
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[-2:]] == [["No", "LRN"], ["wrote", str(path)]]
    assert "stethoscope" in lines[-2]


def test_the_program_prints_a_line_for_each_way(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(googlenet, "ROUNDS", 1)
    googlenet.main()
    _, theirs, ours, without = capsys.readouterr().out.splitlines()
    for line in (theirs, ours):
        assert all(guess in line for guess in ("Egyptian cat 0.4", "espresso 0.9", "missile 0.3"))
    assert "stethoscope" in without


def test_a_picture_is_prepared_blue_first_less_the_mean() -> None:
    plain = np.full((300, 400, 3), (10, 20, 30), np.uint8)  # red, green, blue
    x = googlenet.prepared(plain)
    assert x.shape == (1, 3, 224, 224)
    assert x[0, :, 100, 100].tolist() == [30 - 104, 20 - 117, 10 - 123]


def test_a_picture_is_cut_in_its_centre() -> None:
    wide = np.zeros((256, 512, 3), np.uint8)
    wide[:, 256:] = 255
    x = googlenet.prepared(wide)[0, 0]
    assert x[0].tolist() == [-104.0] * 112 + [151.0] * 112


def test_missing_weights_say_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRNORM_GOOGLENET", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="Set LRNORM_GOOGLENET to the folder that has"):
        googlenet.folder()
