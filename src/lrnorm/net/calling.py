"""Calling a net: what is fed to its ports, what is asked of it, and in which form it comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from lrnorm._function.dispatch import front_of
from lrnorm._layers.devices import device_of_gpu, gpu_number
from lrnorm._layers.facts import Shape
from lrnorm._layers.operand import Operand, told_of
from lrnorm._layers.options import EVALUATION_OPTIONS, PRECISIONS, check_evaluation, explain_option
from lrnorm._spec.errors import DeviceError, KindError, ParameterError, ShapeError
from lrnorm._spec.spec import is_integer
from lrnorm.net.executing import evaluate, gradients
from lrnorm.net.flat import Open
from lrnorm.net.nodes import Run, joined, rules_loaded, rules_of_any
from lrnorm.net.ports import Claim, LayerLookupError, NetPort, Source, unify
from lrnorm.net.shapes import contradict, is_known

_GRADIENT = "the gradient at "
_IMAGE_RANK = 3  # of one example, where a net does not know


def _operands(value: Any, ports: Mapping[str, Shape | None], role: str = "") -> list[Operand]:
    """What is fed to each port."""
    names = list(ports)
    if not isinstance(value, Mapping):
        if len(names) != 1:
            raise ParameterError(
                f"{role}the ports are {names}: feed a dict, {{{names[0]!r}: …}}, "
                f"got {type(value).__name__}."
            )
        value = {names[0]: value}
    unknown = [name for name in value if name not in names]
    missing = [name for name in names if name not in value] if not role else []
    if unknown or missing:
        what = f"there is no port {unknown[0]!r}" if unknown else f"{missing[0]!r} is missing"
        raise ParameterError(f"{role}the ports are {names}: {what}, got {list(value)}.")
    return [
        Operand(value[port], port, role, rank=_IMAGE_RANK if shape is None else len(shape))
        for port, shape in ports.items()
        if port in value
    ]


class Evaluation:
    """How a net is called, and its gradient."""

    _open: Open
    _shapes: Mapping[Source, Shape]
    _first_fitting: Callable[..., bool]  # first_fitting of this net, which remembers

    @property
    def inputs(self) -> dict[str, Shape | None]:
        """Name → shape of the ports that take: None for an unknown size, or a whole one."""
        return {port: self._shapes.get(((), port)) for port in self._open.flat.inputs}

    @property
    def outputs(self) -> dict[str, Shape | None]:
        """Name → shape of the ports that give."""
        return {port: self._shapes.get(s) for port, s in self._open.flat.outputs.items()}

    def __call__(
        self,
        x: Any,
        *,
        port: Any = None,
        batch_size: int | None = None,
        net_evaluation_mode: str = "Test",
        random_seeding: int | str | None = None,
        target_device: str | tuple[str, int] = "CPU",
        working_precision: str | None = None,
        **foreign: Any,
    ) -> Any:
        """Every layer, of what the edges bring to it; a dict of them where outputs are several.

        x is one of

            an array of one example: of the rank of the port, or of rank 3 where it is unknown
            an array of one rank more: a batch
            a list or tuple of examples                    → a list
            nested lists                                   → nested lists
            {"left": …, "right": …}, for several inputs, all of them batches or none

        and each example gives what it gives alone, if no layer makes them meet (as BatchNorm does
        while training). NumPy arrays give NumPy arrays whatever runs inside; tensors give tensors,
        and stay differentiable. A torch.nn.Module always gets a batch, a plain function one
        example after the other, elementwise(function) whatever comes.

        Options
        -------
        port : NetPort, name, or list of these
            What to read in place of the outputs: a port of the net, a layer's output, or, with
            NetPort("block", "conv"), one in a net inside. A list gives a dict. Only what is
            needed for it runs.
        batch_size : int or None
            Compute a batch in pieces of that many.
        net_evaluation_mode : "Test" or "Train"
            In which mode torch.nn.Modules run; afterwards they are as they were.
        random_seeding : None, int, "Inherited" or "Automatic"
            An integer seeds what is random in PyTorch for this call alone.
        target_device : "CPU"
            For a GPU move modules and inputs there: net(x.cuda()).
        working_precision : None, "Real16", "Real32", "Real64" or "Mixed"
            As for the layer: inputs and modules are converted, and outputs come in that type.

        Errors: ShapeError (a ValueError), KindError (a TypeError), with the layer or port they
        arose at; ParameterError (a ValueError) for an option or an unknown port. What a layer
        raises itself passes, with a note that names the layer.
        """
        if foreign:
            known = ("port", *EVALUATION_OPTIONS)
            raise explain_option("net", foreign, known, ("input", "output"), {})
        check_evaluation(
            batch_size, net_evaluation_mode, random_seeding, target_device, working_precision
        )
        if (gpu := gpu_number(target_device)) is not None:
            device = device_of_gpu(gpu)
            raise DeviceError(
                f"target_device={target_device!r}: a net computes where its modules and arrays "
                f"are. Move the modules to {device!r} and pass x.to({device!r})."
            )
        computing, result = PRECISIONS[working_precision]
        run = Run(net_evaluation_mode == "Train", computing, result, batch_size)
        with ExitStack() as stack:
            if is_integer(random_seeding):
                for rules in rules_loaded():
                    stack.enter_context(rules.seeded(int(random_seeding)))  # type: ignore[arg-type]
            return self._forward(x, run, port)

    def _as_it_is(self, x: Any) -> Any:
        """A call in which every layer stays in the mode it is in."""
        return self._forward(x, Run(training=None))

    def _forward(self, x: Any, run: Run, port: Any = None) -> Any:
        wanted = self._wanted(port)
        several = isinstance(port, list) if port is not None else len(wanted) > 1

        def forward(fed: dict[str, Any], _: Any, run: Run) -> Any:
            values = self._in_pieces(fed, set(wanted.values()), run)
            found = {key: _converted(values[source], run.result) for key, source in wanted.items()}
            return found if several else next(iter(found.values()))

        return self._map(forward, x, run)

    def vjp(self, x: Any, grad_output: Any = None, **foreign: Any) -> Any:
        """dx = the gradient by x of the sum of g * net(x), summed over the outputs.

        g is `grad_output`, of the form and shape of the output, a dict where outputs are several;
        None, and what a dict leaves out, stand for ones. With several inputs, dx is a dict. Layers
        of lrnorm and anything with a method vjp(x, g) tell their own gradient, torch.nn.Modules
        have PyTorch's, in "Test" mode.

        Errors: those of a call; KindError (a TypeError) that names a function without a gradient.

        Source: the chain rule; Wolfram's NetPortGradient.

        >>> import numpy as np
        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> layer = LocalResponseNormalizationLayer()
        >>> x = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
        >>> NetChain([layer, layer]).vjp(x).ravel().round(4)
        array([ 0.2477,  0.1062, -0.0354])
        """

        if foreign:
            known = ("x", "grad_output")
            raise explain_option("net.vjp", foreign, known, ("input", "output"), {})

        def backward(fed: dict[str, Any], grads: dict[str, Any], run: Run) -> Any:
            found = gradients(self._open.flat, fed, grads, run)
            return found if len(found) > 1 else next(iter(found.values()))

        return self._map(backward, x, Run(), grad_output)

    def _wanted(self, port: Any) -> dict[Any, Source]:
        """What the result is stored under → where it is made."""
        if port is None:
            return dict(self._open.flat.outputs)
        wanted = {}
        for one in port if isinstance(port, list) else [port]:
            if not isinstance(one, (NetPort, str)) and not is_integer(one):
                raise KindError(
                    f"port must be a NetPort, a name, or a list of these, got {one!r}. "
                    'Write port=NetPort("conv").'
                )
            path = one.path if isinstance(one, NetPort) else (one,)
            if path not in self._open.named:
                ports = [path[0] for path in self._open.named if len(path) == 1]
                raise LayerLookupError(
                    f"there is no port {one!r}: the net has {ports}, and NetPort(layer, port) "
                    "reads a port of a layer."
                )
            wanted[one] = self._open.named[path]
        if not wanted:
            raise ParameterError("port must name at least one port, got an empty list.")
        return wanted

    def _in_pieces(self, fed: dict[str, Any], wanted: set[Source], run: Run) -> dict[Source, Any]:
        flat, size = self._open.flat, run.batch_size
        count = len(next(iter(fed.values()))) if run.batched else 0
        if size is None or count <= size:
            return evaluate(flat, fed, wanted, run)
        pieces = []
        for start in range(0, count, size):
            piece = {port: value[start : start + size] for port, value in fed.items()}
            pieces.append(evaluate(flat, piece, wanted, run))
        return {source: joined([piece[source] for piece in pieces]) for source in wanted}

    def _map(self, verb: Callable[..., Any], x: Any, run: Run, grad: Any = None) -> Any:
        """verb(inputs, gradients, run), example by example where x is a list of them."""
        if isinstance(x, (list, tuple)) and x and all(isinstance(item, Mapping) for item in x):
            if grad is not None and (not isinstance(grad, (list, tuple)) or len(grad) != len(x)):
                raise ShapeError(f"{_GRADIENT}the outputs must be a list of {len(x)}, as x is.")
            grads = [None] * len(x) if grad is None else grad
            both = zip(x, grads, strict=True)
            return [self._map(verb, one, run, own) for one, own in both]
        operands = _operands(x, self.inputs)
        if grad is not None:
            operands += _operands(grad, self.outputs, _GRADIENT)
        if not any(one.holds_examples() for one in operands[: len(self.inputs)]):
            return self._one(verb, operands, run)
        count = len(operands[0].value)
        lists = [operand.examples(count) for operand in operands]
        return [self._one(verb, list(each), run) for each in zip(*lists, strict=True)]

    def _one(self, verb: Callable[..., Any], operands: list[Operand], run: Run) -> Any:
        fed = {one.port: one.unlisted() for one in operands if not one.role}
        grads = {one.port: one.unlisted() for one in operands if one.role}
        batched = self._batched(operands[: len(fed)], fed)
        fed = {port: _converted(value, run.dtype) for port, value in fed.items()}
        with ExitStack() as stack:
            foreign = rules_of_any(fed.values()) is not None
            for rules in () if foreign else rules_loaded():
                stack.enter_context(rules.unrecorded())
            result = verb(fed, grads, run._replace(batched=batched, arrays=not foreign))
        if not foreign:
            result = _each(result, _as_array)
        return _each(result, _as_list) if isinstance(operands[0].value, (list, tuple)) else result

    def _batched(self, operands: Iterable[Operand], fed: Mapping[str, Any]) -> bool:
        """Whether batches were fed: what fits every port and, where that may be both, the net. An
        array of rank 4 is rather a batch, and to plain functions alone everything is an example."""
        shapes: dict[str, tuple[int, ...]] = {}
        forms: dict[str, set[bool]] = {}  # port → of example (False) and batch (True), what fits
        for operand in operands:
            port, expected = operand.port, self.inputs[operand.port]
            if not hasattr(fed[port], "shape"):
                if expected is not None:
                    with told_of(operand.where):
                        front_of(fed[port])
                continue
            shape = shapes[port] = tuple(fed[port].shape)
            possible = {False, True} if shape and not operand.item else {False}
            forms[port] = {form for form in possible if not contradict(expected, shape[form:])}
            if not forms[port]:
                batch = "" if operand.item else ", or a batch of them"
                raise ShapeError(f"{operand.where} expects {expected}{batch}, got shape {shape}.")
        choices = {False, True}.intersection(*forms.values())
        if not choices:
            batch = next(port for port, fitting in forms.items() if False not in fitting)
            one = next(port for port, fitting in forms.items() if True not in fitting)
            raise ShapeError(
                f"port {batch!r} got a batch and port {one!r} one example. Feed batches of one "
                "length to all, or one example to each."
            )
        nodes = self._open.flat.nodes.values()
        if not shapes or (len(choices) == 2 and not any(node.tells_rank for node in nodes)):
            return False
        if all(map(is_known, self.inputs.values())):
            [batched] = choices
        else:
            rather_batch = any(len(shape) == _IMAGE_RANK + 1 for shape in shapes.values())
            rather = tuple(sorted(choices, reverse=rather_batch))
            batched = self._first_fitting(tuple(shapes.items()), rather)
        counts = {port: shape[0] for port, shape in shapes.items()} if batched else {}
        if len(set(counts.values())) > 1:
            raise ShapeError(f"batches must have one length at all ports, got {counts}.")
        return batched


def first_fitting(
    opened: Open, shapes: tuple[tuple[str, tuple[int, ...]], ...], forms: tuple[bool, ...]
) -> bool:
    """Of one example (False) and a batch (True), the first as which these shapes of what is fed
    fit the net."""
    errors = []
    for batched in forms:
        fed = [Claim(((), p), s[batched:], f"what is fed to port {p!r}") for p, s in shapes]
        try:
            unify(opened.flat, (*fed, *opened.claims))
        except ShapeError as refusal:
            errors.append(refusal)
        else:
            return batched
    raise errors[0]


def _converted(value: Any, dtype: str | None) -> Any:
    """The value in that type, if it is an array and a type was asked for."""
    if dtype is None or not hasattr(value, "shape"):
        return value
    if isinstance(value, np.generic):
        return value.astype(dtype)
    front = front_of(value)
    return front.converted(value, dtype) if front else value


def _each(result: Any, verb: Callable[[Any], Any]) -> Any:
    """The verb of a value, or of all that a dict of them holds."""
    if isinstance(result, dict):
        return {key: _each(value, verb) for key, value in result.items()}
    return verb(result)


def _as_array(value: Any) -> Any:
    """What a net that was fed arrays gives, whatever ran inside."""
    rules = rules_of_any([value])
    return rules.array_of(value) if rules else value


def _as_list(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
