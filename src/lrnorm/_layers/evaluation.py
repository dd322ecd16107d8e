"""The evaluator of layers and nets: ports, examples, batches, lists and pieces.

What is fed becomes one operand for each port; a list of examples is computed one by one, and an
array is one example or a batch by its rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np

from lrnorm._function.dispatch import Front, front_of
from lrnorm._function.lists import array_of_lists
from lrnorm._layers.devices import gpu_number
from lrnorm._layers.options import PRECISIONS, check_evaluation
from lrnorm._layers.shapes import Shape, contradict
from lrnorm._spec.errors import LRNormError, ParameterError, ShapeError

GRADIENT, TANGENT = "the gradient at ", "the tangent at "
IMAGE_RANK = 3  # of one example at a port of unknown shape
Verb = Callable[..., Any]


class Run(NamedTuple):
    """Settings of one evaluation."""

    training: bool | None = False  # None leaves each layer as it is
    seed: int | str | None = None
    gpu: int | None = None
    dtype: str | None = None  # what is computed in; None leaves it to the input
    result: str | None = None  # what comes back; None leaves it as computed
    batch_size: int | None = None
    batched: bool = False
    home: Any = None  # the rules of the framework that the input is of; None for NumPy

    @classmethod
    def of(cls, options: tuple[Any, ...]) -> Self:
        """The run of the evaluation options, in their order, each checked."""
        check_evaluation(*options)
        batch_size, mode, seed, device, precision = options
        return cls(mode == "Train", seed, gpu_number(device), *PRECISIONS[precision], batch_size)


class Operand(NamedTuple):
    """A value at a port: the input, or the gradient or tangent that goes with it."""

    value: Any
    port: str
    shape: Shape | None  # of one example, as far as it is known
    role: str = ""
    item: str = ""

    @property
    def where(self) -> str:
        return f"{self.role}port {self.port!r}{self.item}"

    @property
    def rank(self) -> int:
        return IMAGE_RANK if self.shape is None else len(self.shape)

    def holds_examples(self) -> bool:
        """True if the value is a list of examples. With arrays among its items it is; nested lists
        are one example at as many levels as its rank, and several at one more."""
        inner, levels = self.value, 0
        if not isinstance(inner, (list, tuple)):
            return False
        if not inner:
            raise ShapeError(self.where, "expects at least one example", got="an empty list")
        if any(getattr(item, "ndim", 0) for item in inner):
            return True
        while isinstance(inner, (list, tuple)):
            inner, levels = inner[0] if inner else None, levels + 1
        return levels + int(getattr(inner, "ndim", 0)) == self.rank + 1

    def examples(self, count: int) -> list[Operand]:
        """One operand for each example of a list, of which there must be `count`."""
        value = self.value
        batch = isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == self.rank + 1
        if not batch or len(value) != count:
            got = str(len(value)) if batch else f"one {type(value).__name__}"
            raise ShapeError(self.where, f"expects a list of {count}, as the input is", got=got)
        return [self._replace(value=v, item=f" (item {i})") for i, v in enumerate(value)]

    @contextmanager
    def named(self, subject: str = "x") -> Iterator[None]:
        """Errors about the subject name the port instead."""
        try:
            yield
        except LRNormError as error:
            if error.subject != subject:
                raise
            raise error.about(self.where) from error

    def unlisted(self) -> Operand:
        """With the array that nested lists are."""
        if not isinstance(self.value, (list, tuple)):
            return self
        with self.named():
            return self._replace(value=array_of_lists(self.value))

    def front(self) -> Front:
        """The front that computes with the array."""
        with self.named():
            front = front_of(self.value)
        assert front is not None  # lists have become arrays
        return front

    def forms(self, way_out: str) -> set[bool]:
        """The forms that fit the port: one example (False), a batch (True), or both."""
        shape = _sizes(self.value)
        possible = {False, True} if shape and not self.item else {False}
        fitting = {form for form in possible if not contradict(self.shape, shape[form:])}
        if fitting:
            return fitting
        sizes = self.shape or ()
        names = ", (channels, height, width)" if len(sizes) == IMAGE_RANK else ""
        known = f" = {sizes}" if set(sizes) - {None} or not names else ""
        batch = "" if self.item else f", or a batch of them of rank {len(sizes) + 1}"
        rank = f"an array of rank {len(sizes)}{names}{known}{batch}"
        fits = len(shape) - len(sizes) in possible
        got = f"{shape[len(shape) - len(sizes) :]}" if fits else f"rank {len(shape)}, shape {shape}"
        raise ShapeError(self.where, f"expects {rank}", got=got, way_out=way_out)


def operands(value: Any, ports: Mapping[str, Shape | None], role: str = "") -> list[Operand]:
    """One operand for each port. Gradients may be left out."""
    names, subject = list(ports), f"{role}the ports {list(ports)}"
    if type(value) is np.ndarray or not isinstance(value, Mapping):
        if len(names) != 1:
            got = type(value).__name__
            way_out = f"Feed a dict: {{{names[0]!r}: …}}."
            raise ParameterError(subject, "take one value each", got=got, way_out=way_out)
        value = {names[0]: value}
    unknown = [name for name in value if name not in names]
    missing = [name for name in names if name not in value] if not role else []
    if unknown or missing:
        what = f"there is no port {unknown[0]!r} to feed" if unknown else f"{missing} are missing"
        got = "an empty mapping" if not value else str(list(value))
        raise ParameterError(subject, f"take {{{names[0]!r}: …}}: {what}", got=got)
    return [Operand(value[p], p, shape, role) for p, shape in ports.items() if p in value]


class Evaluated:
    """Base class of layers and nets, which take one example, a batch, or a list of examples."""

    inputs: Mapping[str, Shape | None]
    outputs: Mapping[str, Shape | None]
    _any_shape = ""  # the way out where a shape does not fit

    def _map(
        self, verb: Verb, run: Run, x: Any, along: Any = None, ports: Any = None, role: str = ""
    ) -> Any:
        """verb(arrays, …) of what is fed, and of what goes along with it at `ports`."""
        if isinstance(x, (list, tuple)) and x and all(isinstance(item, Mapping) for item in x):
            if along is not None and (not isinstance(along, (list, tuple)) or len(along) != len(x)):
                raise ShapeError(f"{role}the ports", f"must be a list of {len(x)}, as x is")
            others = [None] * len(x) if along is None else along
            both = zip(x, others, strict=True)
            return [self._map(verb, run, one, other, ports, role) for one, other in both]
        given = operands(x, self.inputs)
        count = len(given)
        if along is not None:
            given += operands(along, ports, role)
        if not any(one.holds_examples() for one in given[:count]):
            return self._one(verb, run, given)
        lists = [one.examples(len(given[0].value)) for one in given]
        return [self._one(verb, run, list(each)) for each in zip(*lists, strict=True)]

    def _one(self, verb: Verb, run: Run, given: list[Operand]) -> Any:
        arrays = [one.unlisted() for one in given]
        fed = [one for one in arrays if not one.role]
        result = self._evaluated(verb, run._replace(batched=self._batched(fed)), arrays)
        return each(result, as_list) if isinstance(given[0].value, (list, tuple)) else result

    def _evaluated(self, verb: Verb, run: Run, given: list[Operand]) -> Any:
        """The verb of arrays that fit the ports."""
        raise NotImplementedError

    def _batched(self, fed: list[Operand]) -> bool:
        """True if batches were fed: the form that fits every port, and the net where both would."""
        shapes: dict[str, Shape] = {}
        forms: dict[str, set[bool]] = {}
        for one in fed:
            if hasattr(one.value, "shape"):
                shapes[one.port] = _sizes(one.value)
                forms[one.port] = one.forms(self._any_shape)
            elif one.shape is not None:
                one.front()
        choices = {False, True}.intersection(*forms.values())
        if not choices:
            batch = next(port for port, fitting in forms.items() if False not in fitting)
            one_example = next(port for port, fitting in forms.items() if True not in fitting)
            raise ShapeError(
                f"port {batch!r}",
                f"must get one example, as port {one_example!r} does",
                got="a batch",
                way_out="Feed batches of one length to all ports, or one example to each.",
            )
        batched = bool(shapes) and self._rather(shapes, choices)
        counts = {port: shape[0] for port, shape in shapes.items()} if batched else {}
        if len({*counts.values()} - {None}) > 1:
            raise ShapeError("batches", "must have one length at all ports", value=counts)
        return batched

    def _rather(self, shapes: Mapping[str, Shape], choices: set[bool]) -> bool:
        """True if arrays of these shapes are taken as batches, of the `choices` that fit."""
        return min(choices)


def _sizes(array: Any) -> Shape:
    """The shape of an array; None for a size that a trace leaves open."""
    return tuple(n if isinstance(n, int) else None for n in array.shape)


def each(result: Any, verb: Callable[[Any], Any]) -> Any:
    """The verb of a value, or of all that a dict, tuple or list of them holds."""
    if isinstance(result, dict):
        return {key: each(value, verb) for key, value in result.items()}
    if isinstance(result, (tuple, list)):
        parts = [each(value, verb) for value in result]
        named = hasattr(result, "_fields")
        return type(result)(*parts) if named else type(result)(parts)
    return verb(result)


def as_list(value: Any) -> Any:
    """Nested lists of an array."""
    return value.tolist() if hasattr(value, "tolist") else value
