"""LRN as a Keras layer, on the PyTorch, JAX and TensorFlow backends.

    y[c] = x[c] * (bias + alpha/(before + after + 1) * sum(x[j]**2)) ** -beta

`import lrnorm.keras` is all that loading a saved model needs.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable
from typing import Any

from lrnorm._fronts.window_sums import window_sum
from lrnorm._function.foreign_names import explain_foreign
from lrnorm._function.keywords import ALPHA, BETA, BIAS, NUMBERS, RADIUS, spec_of
from lrnorm._layers.options import learnable_names
from lrnorm._spec.errors import KindError, ParameterError, ShapeError, missing
from lrnorm._spec.spec import LRNSpec, WindowSize, is_integer, resolve_axes, window_in

try:
    import keras
except ImportError as error:
    needs = "Keras 3 and the backend that KERAS_BACKEND names: torch, jax or tensorflow"
    raise missing("lrnorm.keras", needs, "'lrnorm[keras]' and the backend") from error

__all__ = ["LocalResponseNormalization"]

_LEARNABLE = ("alpha", "beta", "bias")
_FIELDS = tuple(field.name for field in dataclasses.fields(LRNSpec))
_WORDS_OF_LAYERS = ("name", "dtype", "trainable", "autocast", "activity_regularizer")

# (x, (scale, beta, bias), spec, axes) → y. The three numbers are floats or tensors without axes;
# the window is that of the spec.
_Normalized = Callable[[Any, tuple[Any, Any, Any], LRNSpec, tuple[int, ...]], Any]


def _on_torch() -> _Normalized:
    from lrnorm._fronts.torch.formula import Window
    from lrnorm.torch.functional import coefficients_of, normalized

    def y(x: Any, numbers: tuple[Any, Any, Any], spec: LRNSpec, axis: tuple[int, ...]) -> Any:
        window = Window(*window_in(x.shape, spec, axis))
        return normalized(x, coefficients_of(1, *numbers, "bias"), window)

    return y


def _on_jax() -> _Normalized:
    from lrnorm._fronts.jax.front import Coefficients, normalized

    def y(x: Any, numbers: tuple[Any, Any, Any], spec: LRNSpec, axis: tuple[int, ...]) -> Any:
        return normalized(x, Coefficients(*numbers), spec, axis, None)

    return y


def _in_operations() -> _Normalized:
    """The formula in Keras's own operations, in float64, whose range no square and no power of a
    smaller dtype leaves."""
    from keras import ops

    def y(x: Any, numbers: tuple[Any, Any, Any], spec: LRNSpec, axis: tuple[int, ...]) -> Any:
        wide = ops.cast(x, "float64")
        # Not ops.cast, which rounds a number to float32 on the way.
        scale, beta, bias = (ops.convert_to_tensor(number, dtype="float64") for number in numbers)
        energy = bias + scale * _window_sum(wide * wide, spec, axis)
        return ops.cast(wide * ops.power(energy, -beta), x.dtype)

    def _window_sum(v: Any, spec: LRNSpec, axes: tuple[int, ...]) -> Any:
        window = window_in(v.shape, spec, axes).within(v.shape)
        for before, after, axis in zip(*window, strict=True):
            v = _sum_along(v, before, after, axis)
        return v

    def _sum_along(v: Any, before: int, after: int, axis: int) -> Any:
        sides = [(0, 0)] * len(v.shape)
        sides[axis] = (before, after)

        def part(of: Any, start: int, stop: int) -> Any:
            return of[(slice(None),) * axis + (slice(start, stop),)]

        return window_sum(ops.pad(v, sides), v.shape[axis], before + after + 1, part, operator.add)

    return y


_BACKENDS = {"torch": _on_torch, "jax": _on_jax}
_normalized = _BACKENDS.get(keras.backend.backend(), _in_operations)()


@keras.saving.register_keras_serializable(package="lrnorm")
class LocalResponseNormalization(keras.layers.Layer):  # type: ignore[misc]
    """Divide each value by the energy of its neighbouring channels.

        D[c] = bias + alpha/(before + after + 1) * sum(x[j]**2 for j in c-before … c+after)
        y[c] = x[c] * D[c]**-beta

    Input and output: any shape with a batch axis in front and channels along `axis`, by default
    the last one as in Keras; the number of channels is known when the layer is built, the other
    sizes need not be. The output has the compute dtype of the layer's policy: float16, bfloat16,
    float32 or float64. Masks go through.

    Arguments are those of `lrnorm.local_response_norm`. `learnable=True`, or the names of some
    numbers, makes float32 weights of shape (1,) of alpha, beta and bias, initialized with the
    values given; `spec` holds their current values. Any argument of a Keras layer may follow.

    On PyTorch and JAX these are the library's own kernels and gradients; on TensorFlow the formula
    in Keras's operations, in float64; float64 inputs must have squares in the range of float64.

    Errors: ShapeError, ParameterError (ValueErrors) and KindError (a TypeError), at construction
    for the numbers, when built for the shape.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 3.3; the parameters are those of
    Wolfram's LocalResponseNormalizationLayer.

    >>> import keras
    >>> from lrnorm.keras import LocalResponseNormalization
    >>> layer = LocalResponseNormalization(alpha=2.0, beta=0.75, bias=0.5, channel_window_size=1)
    >>> y = layer(keras.ops.array([[1.0, 2.0, 3.0]]))
    >>> [round(float(value), 4) for value in y[0]]
    [0.365, 0.3602, 0.5695]
    """

    def __init__(
        self,
        alpha: float = ALPHA,
        beta: float = BETA,
        bias: float = BIAS,
        channel_window_size: WindowSize = RADIUS,
        spec: LRNSpec | None = None,
        axis: int | tuple[int, ...] = -1,
        learnable: bool | str | Iterable[str] = False,
        **words: Any,
    ) -> None:
        name = "LocalResponseNormalization"
        foreign = {word: value for word, value in words.items() if word not in _WORDS_OF_LAYERS}
        if foreign:
            known = (*NUMBERS, "spec", "axis", "learnable", *_WORDS_OF_LAYERS)
            raise explain_foreign(name, foreign, known)
        self._spec = spec_of(name, alpha, beta, bias, channel_window_size, spec, {}, axis)
        self.axis = _axis_as_written(axis)
        learned = learnable_names(learnable, _LEARNABLE)
        self._width = self._spec.width
        if "alpha" in learned and self._width is None:
            raise ParameterError(
                "learnable alpha",
                "is divided by the window size",
                value=spec,
                got=f"a window that reaches to the end of the axis: {spec!r}",
                way_out="Give before and after as numbers.",
            )
        super().__init__(**words)
        self.supports_masking = True
        self.learnable = learned
        # Once the layer is built, learned numbers are weights. _made_of holds the arguments that
        # make the same layer again, in plain numbers.
        self.alpha: Any
        self.beta: Any = self._spec.beta
        self.bias: Any = self._spec.bias
        self._made_of: dict[str, Any]
        if spec is None:
            self.alpha = float(alpha)
            # Lists alone: what a saved file makes of tuples would mean something else for a box.
            before, after = self._spec.before, self._spec.after
            window: Any = before if before == after else [before, after]
            if isinstance(before, tuple) and isinstance(after, tuple):
                window = [list(ends) for ends in zip(before, after, strict=True)]
            self._made_of = {name: getattr(self, name) for name in _LEARNABLE}
            self._made_of["channel_window_size"] = window
        else:
            self.alpha = spec.scale * self._width if self._width else None
            self._made_of = {"spec": [getattr(spec, field) for field in _FIELDS]}

    def __call__(self, x: Any, *arguments: Any, **words: Any) -> Any:
        if "complex" in str(getattr(x, "dtype", "")):  # Keras would drop the imaginary part
            way_out = "Normalize the real and the imaginary part, or abs(x), as the model means."
            rule, dtype = "must hold real numbers", x.dtype
            raise KindError("x", rule, value=dtype, got=str(dtype), way_out=way_out)
        return super().__call__(x, *arguments, **words)

    def build(self, input_shape: Any) -> None:
        self._check_shape(input_shape)
        for name in self.learnable:
            weight = self.add_weight(
                name=name,
                shape=(1,),
                dtype="float32",
                initializer=keras.initializers.Constant(getattr(self, name)),
                autocast=False,
            )
            setattr(self, name, weight)
        self.built = True

    def _check_shape(self, shape: Any) -> tuple[int, ...]:
        """The axes of the window, counted from 0."""
        axes = resolve_axes(self.axis, len(shape))
        if 0 in axes:
            raise ShapeError(
                "axis",
                "must be that of the channels",
                value=self.axis,
                got=f"{self.axis} for the shape {tuple(shape)}, which is the batch",
                way_out="Pass another, for example axis=-1.",
            )
        if any(shape[axis] is None for axis in axes):
            raise ShapeError(
                "the number of channels",
                "must be known",
                value=tuple(shape),
                got=f"the shape {tuple(shape)} with axis {self.axis}",
                way_out="Give that size, for example in keras.Input.",
            )
        return axes

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        self._check_shape(input_shape)
        return tuple(input_shape)

    def call(self, inputs: Any) -> Any:
        x = keras.ops.cast(inputs, self.compute_dtype)
        axis = self._check_shape(x.shape)
        numbers = self._numbers(_tensor)
        return _normalized(x, numbers, self._spec, axis)

    def _numbers(self, of_weight: Callable[[Any], Any]) -> tuple[Any, Any, Any]:
        """scale, beta and bias; `of_weight` turns the weight of a learned one into a number."""
        learned = {name: of_weight(getattr(self, name)) for name in self.learnable}
        scale = learned["alpha"] / self._width if "alpha" in learned else self._spec.scale
        return scale, learned.get("beta", self._spec.beta), learned.get("bias", self._spec.bias)

    @property
    def spec(self) -> LRNSpec:
        """The five numbers, with the current values of the weights."""
        if not self.built:
            return self._spec
        numbers = self._numbers(lambda weight: float(keras.ops.stop_gradient(_tensor(weight))))
        return LRNSpec(*numbers, self._spec.before, self._spec.after)

    def get_config(self) -> dict[str, Any]:
        own = {"axis": self.axis, "learnable": list(self.learnable)}
        return {**super().get_config(), **self._made_of, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LocalResponseNormalization:
        if config.get("spec") is not None:
            config = {**config, "spec": LRNSpec(*config["spec"])}
        return cls(**config)


def _axis_as_written(axis: Any) -> int | tuple[int, ...]:
    """Checked; a list is what a saved configuration makes of a tuple."""
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    if not axes or not all(map(is_integer, axes)):
        several = " or a tuple of integers" if isinstance(axis, (tuple, list)) else ""
        rule = f"must be an integer{several}"
        raise KindError("axis", rule, value=axis, way_out="Write axis=-1.")
    return tuple(map(int, axes)) if isinstance(axis, (tuple, list)) else int(axis)


def _tensor(weight: Any) -> Any:
    """A weight as a tensor without axes."""
    return keras.ops.reshape(keras.ops.convert_to_tensor(weight), ())
