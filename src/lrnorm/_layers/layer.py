"""The layer of the seed: the normalization of (channels, height, width) with named ports.

    y[c] = x[c] * (bias + alpha/(2r+1) * sum(x[j]**2 for j in c-r … c+r)) ** -beta

Ports, options and derivatives are handled here; the fronts compute.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

from lrnorm._function.dispatch import Front
from lrnorm._layers.devices import on_gpu
from lrnorm._layers.evaluation import GRADIENT, TANGENT, Evaluated, Operand, Run
from lrnorm._layers.frozen import Frozen
from lrnorm._layers.options import EVALUATION_OPTIONS, explain_option
from lrnorm._layers.shapes import Shape, contradict, merged, sizes_of
from lrnorm._layers.structure import Leaf, Link, Structure
from lrnorm._layers.tables import Tabled
from lrnorm._spec.errors import ShapeError
from lrnorm._spec.spec import LRNSpec, spec_from_keywords, window_ends

__all__ = ["LocalResponseNormalizationLayer"]

_CONSTRUCTION = {"alpha": 1.0, "beta": 0.5, "bias": 1.0, "channel_window_size": 2, "input": None}
_WORDS = (*_CONSTRUCTION, "output")
UNKNOWN: Shape = (None, None, None)

_SIZES = "expects three sizes (channels, height, width), None for an unknown one"

# What the function takes and a layer has no need of: the way there.
_AXIS = (
    "The channels of a layer come first. For others: lrnorm.local_response_norm(x, axis={value!r})"
)
_SPEC = "Write channel_window_size=(before, after), alpha=scale * (before + after + 1)"
_ELSEWHERE = {
    **dict.fromkeys(("axis", "dim", "channel_axis"), _AXIS),
    **dict.fromkeys(("spec", "scale", "before", "after"), _SPEC),
}


_IN_FRONTS = {"": "x", GRADIENT: "g", TANGENT: "t"}  # what the fronts call an operand


class LocalResponseNormalizationLayer(Frozen, Tabled, Evaluated):
    """A net layer that divides each value by the energy of its neighbouring channels.

        D[c] = bias + alpha/(before + after + 1) * sum(x[j]**2 for j in c-before … c+after)
        y[c] = x[c] * D[c]**-beta

    Channels beyond either end count as zero; the divisor of alpha stays the same there.

    Parameters
    ----------
    alpha, beta, bias : float
        Any finite numbers.
    channel_window_size : int or (int, int)
        A radius: 2 averages over 5 channels. A pair (before, after) gives a window that leans.
    input, output : (int or None, int or None, int or None)
        (channels, height, width) at the ports "Input" and "Output", None for an unknown size,
        which is free. Both ports have one shape: either says it, and both given must agree.

    A layer is immutable, equal by value, hashable and picklable; its repr evaluates back.
    `layer.spec` is its LRNSpec; `layer.input`, `layer.output` and `layer.ports` tell shapes.

    Errors: ParameterError, ShapeError (ValueErrors) and KindError (a TypeError).

    Source: Wolfram's LocalResponseNormalizationLayer; Krizhevsky et al. (2012), section 3.3.

    >>> import numpy as np
    >>> from lrnorm import LocalResponseNormalizationLayer
    >>> layer = LocalResponseNormalizationLayer(input=(5, 1, 1))
    >>> layer
    LocalResponseNormalizationLayer(alpha=1.0, beta=0.5, bias=1.0, channel_window_size=2, \
input=(5, 1, 1))
    >>> layer(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(5, 1, 1)).ravel().round(4)
    array([-1.4142, -0.6742,  0.    ,  0.6742,  1.4142])
    >>> layer.replace(alpha=0.0, input=None)([[[3.0]]])
    [[[3.0]]]
    """

    alpha: float
    beta: float
    bias: float
    channel_window_size: int | tuple[int, int]
    spec: LRNSpec
    input: Shape

    _axis = 0
    _in_batch = True
    _instead = "layer.replace(alpha=2.0) gives another layer."
    _any_shape = (
        "lrnorm.local_response_norm(x, axis=…) takes any rank, layer.replace(input=None) any size."
    )
    _construction_options = _CONSTRUCTION
    _evaluation_options = EVALUATION_OPTIONS

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 0.5,
        bias: float = 1.0,
        channel_window_size: int | tuple[int, int] = 2,
        input: tuple[int | None, ...] | None = None,
        output: tuple[int | None, ...] | None = None,
        **foreign: Any,
    ) -> None:
        if foreign:
            raise explain_option(type(self).__name__, foreign, _WORDS, (), _ELSEWHERE)
        spec = spec_from_keywords(alpha, beta, bias, channel_window_size)
        before, after = window_ends(channel_window_size)
        self.__dict__.update(
            alpha=float(alpha),
            beta=spec.beta,
            bias=spec.bias,
            channel_window_size=before if before == after else (before, after),
            spec=spec,
            input=_one_shape(input, output),
        )

    @classmethod
    def _along(cls, spec: LRNSpec, axis: int, in_batch: bool) -> Self:
        """The layer of an LRN node: along `axis` of an example of any rank, which stands one
        further in a batch if `in_batch` says so."""
        layer = cls.__new__(cls)
        before, after = spec.ends(0) if spec.numbers is None else spec.numbers[3:]
        layer.__dict__.update(
            alpha=spec.scale * (before + after + 1),
            beta=spec.beta,
            bias=spec.bias,
            channel_window_size=before if before == after else (before, after),
            spec=spec,
            input=None,
            _axis=axis,
            _in_batch=in_batch,
        )
        return layer

    @classmethod
    def from_convention(cls, name: str, /, *, input: Any = None, **words: Any) -> Self:
        """The layer for these words of a framework, as `lrnorm.conventions.read` takes them.

        >>> from lrnorm import LocalResponseNormalizationLayer
        >>> LocalResponseNormalizationLayer.from_convention("torch", size=4, alpha=1.0)
        LocalResponseNormalizationLayer(alpha=1.0, beta=0.75, bias=1.0, channel_window_size=(2, 1))
        """
        from lrnorm.conventions.translation import (
            layer_arguments,  # the table is loaded where it is asked for
        )

        return cls(**layer_arguments(name, words), input=input)

    def _arguments(self) -> dict[str, Any]:
        """The keywords that build this layer."""
        arguments = {name: getattr(self, name) for name in _CONSTRUCTION}
        if self.input == UNKNOWN:
            del arguments["input"]
        return arguments

    def __repr__(self) -> str:
        words = ", ".join(f"{name}={value!r}" for name, value in self._arguments().items())
        return f"{type(self).__name__}({words})"

    def _key(self) -> Any:
        return (*self._arguments().items(), self._axis, self._in_batch)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.__dict__)

    def replace(self, **changes: Any) -> Self:
        """Another layer, with these arguments of the class in place of its own.

        `input` and `output` are one shape: either replaces it, and None forgets it.

        >>> from lrnorm import LocalResponseNormalizationLayer
        >>> LocalResponseNormalizationLayer().replace(alpha=2.0)
        LocalResponseNormalizationLayer(alpha=2.0, beta=0.5, bias=1.0, channel_window_size=2)
        """
        arguments = self._arguments()
        if "output" in changes or self.input is None:
            arguments.pop("input", None)
        layer = type(self)(**(arguments | changes))
        anywhere = self.input is None and layer.input == UNKNOWN
        return self._along(layer.spec, self._axis, self._in_batch) if anywhere else layer

    @property
    def output(self) -> Shape:
        """The shape of the port "Output", which is that of "Input"."""
        return self.input

    @property
    def inputs(self) -> dict[str, Shape]:  # type: ignore[override]
        """{"Input": shape}, as a net has it."""
        return {"Input": self.input}

    @property
    def outputs(self) -> dict[str, Shape]:  # type: ignore[override]
        """{"Output": shape}, as a net has it."""
        return {"Output": self.input}

    @property
    def ports(self) -> dict[str, Shape]:
        """Name → shape of each port, None for an unknown size; "Input" first."""
        return self.inputs | self.outputs

    def _structure(self) -> Structure:
        name = type(self).__name__
        # Adding 0.0 makes -0.0, which is equal to 0.0, the same text.
        numbers: dict[str, Any] = {n: getattr(self, n) + 0.0 for n in ("alpha", "beta", "bias")}
        numbers["channel_window_size"] = [self.spec.before, self.spec.after]
        if self.input is None:
            numbers["axis"] = self._axis
        return Structure(
            type=name,
            expression=repr(self),
            leaves={(): Leaf(self, name, numbers)},
            links=(
                Link(None, (), "Input", "Input", self.input),
                Link((), None, "Output", "Output", self.output),
            ),
            arrays={},
            input_ports=self.inputs,
            output_ports=self.outputs,
        )

    def __call__(
        self,
        x: Any,
        *,
        batch_size: int | None = None,
        net_evaluation_mode: str = "Test",
        random_seeding: int | str | None = None,
        target_device: str | tuple[str, int] = "CPU",
        working_precision: str | None = None,
        **foreign: Any,
    ) -> Any:
        """y[c] = x[c] * (bias + alpha/(before + after + 1) * sum(x[j]**2))**-beta

        x is one of

            an array of rank 3, (channels, height, width)           → an array of its kind, dtype
            an array of rank 4: a batch                             → an array
            a list or tuple of arrays of rank 3, sizes may differ   → a list of arrays
            nested lists of three levels, or of four: a batch       → nested lists
            {"Input": any of these}                                 → the same as without

        and each example gives what it gives alone.

        Options
        -------
        batch_size : int or None
            Compute an array of rank 4 in pieces of that many: memory beyond the output is that of
            one piece. None: at once. Lists go one by one in any case.
        net_evaluation_mode : "Test" or "Train"
            Both compute the same: this layer does nothing else while training.
        random_seeding : None, int, "Inherited" or "Automatic"
            Has no effect: nothing here is random.
        target_device : "CPU", "GPU" or ("GPU", n)
            A GPU computes through PyTorch, which takes NumPy arrays, lists and tensors there and
            the result back. A DeviceError (a RuntimeError) where there is none.
        working_precision : None, "Real16", "Real32", "Real64" or "Mixed"
            None is the input's own. A name converts the input, then computes and returns in that
            type; "Mixed" returns 16 bits from 32-bit arithmetic.

        Errors: ShapeError (a ValueError) for a rank or size, KindError (a TypeError) for a dtype,
        both with the port's name; ParameterError (a ValueError) for an option.

        >>> import numpy as np
        >>> from lrnorm import LocalResponseNormalizationLayer
        >>> x = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
        >>> [y.round(4).ravel().tolist() for y in LocalResponseNormalizationLayer()([x, -x])]
        [[0.513, 1.026, 1.539], [-0.513, -1.026, -1.539]]
        """
        if foreign:
            raise explain_option("layer", foreign, tuple(EVALUATION_OPTIONS), _WORDS, _ELSEWHERE)
        options = batch_size, net_evaluation_mode, random_seeding, target_device, working_precision
        run = Run.of(options)

        def forward(front: Front, axis: int, x: Any) -> Any:
            if run.dtype is not None:
                x = front.converted(x, run.dtype)
            return front.forward(x, self.spec, axis, dtype=run.result, out=None)

        def in_pieces(front: Front, axis: int, x: Any) -> Any:
            if batch_size is None or x.ndim == 3 or x.shape[0] <= batch_size:
                return forward(front, axis, x)
            n = x.shape[0]  # the array API leaves a slice beyond it undefined
            cuts = ((i, min(i + batch_size, n)) for i in range(0, n, batch_size))
            pieces = (forward(front, axis, x[start:stop, ...]) for start, stop in cuts)
            return front.joined(pieces, x)

        return self._map(in_pieces if run.gpu is None else on_gpu(in_pieces, run.gpu), run, x)

    def vjp(self, x: Any, grad_output: Any = None, **foreign: Any) -> Any:
        """dx[c] = g[c] D[c]**-beta - 2 s beta x[c] sum(g[m] x[m] D[m]**(-beta-1))

        with s = alpha/(before + after + 1) and m over the mirrored window: the gradient of
        sum(g * layer(x)). g is `grad_output`, of the form and shape of x; {"Output": g} is g, and
        None stands for ones. x, errors, and the form, kind and dtype of dx are those of a call.
        Source: the derivative of the formula; Wolfram's NetPortGradient["Input"].

        >>> from lrnorm import LocalResponseNormalizationLayer
        >>> dx = LocalResponseNormalizationLayer().vjp([[[1.0]], [[2.0]], [[3.0]]])
        >>> [round(row[0][0], 4) for row in dx]
        [0.351, 0.189, 0.027]
        """
        if foreign:
            raise explain_option("layer.vjp", foreign, ("x", "grad_output"), _WORDS, _ELSEWHERE)

        def backward(front: Front, axis: int, x: Any, g: Any = None) -> Any:
            return front.vjp(x, front.ones_like(x) if g is None else g, self.spec, axis)

        return self._map(backward, Run(), x, grad_output, self.outputs, GRADIENT)

    def jvp(self, x: Any, tangent: Any, **foreign: Any) -> Any:
        """dy[c] = t[c] D[c]**-beta - 2 s beta x[c] D[c]**(-beta-1) sum(x[j] t[j])

        with s = alpha/(before + after + 1) and j over the window of c: the derivative of layer(x)
        along t, the `tangent`, of the form and shape of x; {"Input": t} is t. x, errors, and the
        form, kind and dtype of dy are those of a call. Source: the derivative of the formula.

        >>> from lrnorm import LocalResponseNormalizationLayer
        >>> x, t = [[[1.0]], [[2.0]], [[3.0]]], [[[1.0]], [[1.0]], [[1.0]]]
        >>> [round(row[0][0], 4) for row in LocalResponseNormalizationLayer().jvp(x, t)]
        [0.351, 0.189, 0.027]
        """
        if foreign:
            raise explain_option("layer.jvp", foreign, ("x", "tangent"), _WORDS, _ELSEWHERE)
        along = {"Input": None} if tangent is None else tangent

        def forward(front: Front, axis: int, x: Any, t: Any) -> Any:
            return front.jvp(x, t, self.spec, axis)

        return self._map(forward, Run(), x, along, self.inputs, TANGENT)

    def _in_net(self, name: str, batched: bool, *arrays: Any) -> Any:
        """The verb of a front, of arrays that were fed to a net."""

        def verb(front: Front, axis: int, *arrays: Any) -> Any:
            more = {"dtype": None, "out": None} if name == "forward" else {}
            return getattr(front, name)(*arrays, self.spec, axis, **more)

        roles = ("Input", ""), ("Output", GRADIENT)
        given = [Operand(a, p, self.input, r) for a, (p, r) in zip(arrays, roles, strict=False)]
        if self.input is None:
            return self._evaluated(verb, Run(batched=batched), given)
        return self._one(verb, Run(), given)

    def _evaluated(self, verb: Callable[..., Any], run: Run, given: list[Operand]) -> Any:
        front, *_ = [one.front() for one in given]
        x, *others = given
        for one in others:
            if (shape := tuple(one.value.shape)) != tuple(x.value.shape):
                rule = f"expects the shape of the input, {tuple(x.value.shape)}"
                raise ShapeError(one.where, rule, got=str(shape))
        axis = self._axis + (run.batched and self._in_batch)
        with ExitStack() as stack:
            for one in given:
                stack.enter_context(one.named(_IN_FRONTS[one.role]))
            if run.dtype is not None or run.gpu is not None:  # before a conversion loses anything
                front.forward(x.value[:0, ...], self.spec, 0, dtype=None, out=None)
            return verb(front, axis, *(one.value for one in given))


def _restored(kind: Any, attributes: dict[str, Any]) -> Any:
    layer = kind.__new__(kind)
    layer.__dict__.update(attributes)
    return layer


def _one_shape(input: Any, output: Any) -> Shape:
    """The shape of both ports, from what is said of either."""
    said = [
        sizes_of(port, value, _SIZES, 3) or UNKNOWN
        for port, value in (("Input", input), ("Output", output))
    ]
    if contradict(*said):
        raise ShapeError(
            "ports 'Input' and 'Output'",
            "have one shape",
            got=f"{said[0]} for 'Input' and {said[1]} for 'Output'",
            way_out="Give one of the two, or None for sizes to be taken from the other.",
        )
    return merged(*said) or UNKNOWN


LocalResponseNormalizationLayer.__module__ = "lrnorm"
