"""The modules: PyTorch's own layer, and the layer of lrnorm as a module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lrnorm._layers.layer import LocalResponseNormalizationLayer as Layer
from lrnorm._layers.options import learnable_names
from lrnorm._spec.spec import LRNSpec
from lrnorm.torch import functional


class _Learning(nn.Module):
    """A module whose numbers may be parameters, each float32 of shape (1,)."""

    def __init__(self, numbers: Mapping[str, Any], learnable: bool | str | Iterable[str]) -> None:
        super().__init__()
        self._learned = learnable_names(learnable, tuple(numbers))
        for name, value in numbers.items():
            if name in self._learned:
                value = nn.Parameter(torch.tensor([float(value)], dtype=torch.float32))
            setattr(self, name, value)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **more: Any
    ) -> None:
        # A checkpoint of the layer without parameters leaves the initial values.
        for name in self._learned:
            state_dict.setdefault(prefix + name, getattr(self, name).detach())
        super()._load_from_state_dict(state_dict, prefix, *rest, **more)

    def _numbers_text(self, names: Iterable[str]) -> str:
        return ", ".join(f"{name}={_shown(getattr(self, name))}" for name in names)

    def _learned_text(self) -> str:
        return f", learnable={self._learned!r}" if self._learned else ""


def _float(value: Any) -> float:
    return value.item() if isinstance(value, Tensor) else float(value)


def _shown(value: Any) -> Any:
    if isinstance(value, Tensor):
        return f"{value.item():.6g}" if value.device.type != "meta" else "?"
    return value


class LocalResponseNorm(_Learning):
    """`torch.nn.LocalResponseNorm`: right, many times faster, and able to learn.

        y[c] = x[c] * (k + alpha/size * sum(x[j]**2 for j in c-size//2 … c+(size-1)//2)) ** -beta

    Input and output: (batch, channels, …) of rank 3 or more, any floating-point dtype.

    `learnable=True`, or the names of some numbers, makes parameters of alpha, beta and k: float32
    tensors of shape (1,) that begin at the values given. A checkpoint without them still loads
    strictly, and leaves them there. Errors are those of `lrnorm.torch.local_response_norm`.

    Source: torch.nn.LocalResponseNorm; Krizhevsky et al. (2012), section 3.3.

    >>> import torch
    >>> from lrnorm.torch import LocalResponseNorm
    >>> layer = LocalResponseNorm(3, alpha=2.0, k=0.5, learnable="beta")
    >>> layer
    LocalResponseNorm(3, alpha=2.0, beta=0.75, k=0.5, learnable=('beta',))
    >>> layer(torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1)).flatten().detach()
    tensor([0.3650, 0.3602, 0.5695])
    """

    # As TorchScript wants it: it knows neither an LRNSpec nor annotations of Any.
    __constants__ = ["size"]  # noqa: RUF012
    __jit_unused_properties__ = ["spec"]  # noqa: RUF012
    if TYPE_CHECKING:
        alpha: Any
        beta: Any
        k: Any

    def __init__(
        self,
        size: int,
        alpha: float = 0.0001,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        learnable: bool | str | Iterable[str] = False,
        **foreign: Any,
    ) -> None:
        if foreign:
            known = ("size", "alpha", "beta", "k", "learnable")
            raise functional.explain_words("LocalResponseNorm", foreign, known)
        functional.window_of(size)
        functional.coefficients_of(1, alpha, beta, k, "k")
        super().__init__({"alpha": alpha, "beta": beta, "k": k}, learnable)
        self.size = size

    def forward(self, input: Tensor) -> Tensor:
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return functional.scripted(input, self.size, self.alpha, self.beta, self.k)
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, {self._numbers_text(('alpha', 'beta', 'k'))}{self._learned_text()}"

    @property
    def spec(self) -> LRNSpec:
        """The five numbers, as they are now."""
        window = functional.window_of(self.size)
        alpha, beta, k = map(_float, (self.alpha, self.beta, self.k))
        return LRNSpec(alpha / self.size, beta, k, window.before, window.after)


class LocalResponseNormalizationLayer(_Learning):
    """`lrnorm.LocalResponseNormalizationLayer` as a module.

        D[c] = bias + alpha/(before + after + 1) * sum(x[j]**2 for j in c-before … c+after)
        y[c] = x[c] * D[c]**-beta

    Takes the arguments of the layer, and tensors of (channels, height, width) or of (batch,
    channels, height, width). `learnable=` makes parameters of alpha, beta and bias, as in
    `lrnorm.torch.LocalResponseNorm`. `.layer` is the layer with the numbers as they are now.

    Errors: those of the layer. Source: Wolfram's LocalResponseNormalizationLayer.

    >>> import torch
    >>> from lrnorm.torch import LocalResponseNormalizationLayer
    >>> layer = LocalResponseNormalizationLayer(input=(5, 1, 1))
    >>> layer(torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(5, 1, 1)).flatten()
    tensor([-1.4142, -0.6742,  0.0000,  0.6742,  1.4142])
    """

    __jit_unused_properties__ = ["layer", "spec"]  # noqa: RUF012
    if TYPE_CHECKING:
        alpha: Any
        beta: Any
        bias: Any

    def __init__(self, *, learnable: bool | str | Iterable[str] = False, **arguments: Any) -> None:
        layer = Layer(**arguments)
        numbers = {"alpha": layer.alpha, "beta": layer.beta, "bias": layer.bias}
        super().__init__(numbers, learnable)
        self.channel_window_size = layer.channel_window_size
        self.input = layer.input
        # The same for TorchScript, whose lists have one type.
        self._sizes = [-1 if size is None else size for size in layer.input]
        ends = layer.channel_window_size
        self._ends = list(ends) if isinstance(ends, tuple) else [ends, ends]

    @property
    def layer(self) -> Layer:
        """The layer of lrnorm with the numbers as they are now."""
        return Layer(
            alpha=_float(self.alpha),
            beta=_float(self.beta),
            bias=_float(self.bias),
            channel_window_size=self.channel_window_size,
            input=self.input,
        )

    @property
    def spec(self) -> LRNSpec:
        """The five numbers, as they are now."""
        return self.layer.spec

    def forward(self, input: Tensor) -> Tensor:
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return functional.scripted_layer(
                input, self._sizes, self._ends, self.alpha, self.beta, self.bias
            )
        return functional.layer_response_norm(
            input, self.input, self.channel_window_size, self.alpha, self.beta, self.bias
        )

    def extra_repr(self) -> str:
        shape = "" if self.input == (None, None, None) else f", input={self.input!r}"
        return (
            f"{self._numbers_text(('alpha', 'beta', 'bias'))}, "
            f"channel_window_size={self.channel_window_size!r}{shape}{self._learned_text()}"
        )
