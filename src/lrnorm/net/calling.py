"""Calls of a net: inputs, ports that are read, and the kind of array that is returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from lrnorm._function.dispatch import front_of
from lrnorm._layers.devices import device_of_gpu
from lrnorm._layers.evaluation import GRADIENT, IMAGE_RANK, Evaluated, Operand, Run, each
from lrnorm._layers.options import EVALUATION_OPTIONS, explain_option
from lrnorm._layers.shapes import Shape, is_known
from lrnorm._spec.errors import DeviceError, KindError, ParameterError, ShapeError
from lrnorm._spec.spec import is_integer
from lrnorm.net.executing import evaluate, gradients
from lrnorm.net.flattening import Flattened
from lrnorm.net.nodes import brought_home, joined, rules_loaded, rules_of_any
from lrnorm.net.ports import Claim, LayerLookupError, NetPort, Source, unify


class Evaluation(Evaluated):
    """The call of a net, and its gradient."""

    _flattened: Flattened
    _shapes: Mapping[Source, Shape]
    _path: Callable[[Any], Any]  # names of layers in place of their numbers
    _first_fitting: Callable[..., bool]  # first_fitting of this net, which remembers

    @property
    def inputs(self) -> dict[str, Shape | None]:  # type: ignore[override]
        """Name → shape of the ports that take: None for an unknown size, or a whole one."""
        return {port: self._shapes.get(((), port)) for port in self._flattened.wiring.inputs}

    @property
    def outputs(self) -> dict[str, Shape | None]:  # type: ignore[override]
        """Name → shape of the ports that give."""
        return {port: self._shapes.get(s) for port, s in self._flattened.wiring.outputs.items()}

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
        options = batch_size, net_evaluation_mode, random_seeding, target_device, working_precision
        run = Run.of(options)
        if run.gpu is not None:
            device = device_of_gpu(run.gpu)
            raise DeviceError(
                f"target_device={target_device!r}",
                "cannot move a net: it computes where its modules and arrays are",
                way_out=f"Move the modules to {device!r} and pass x.to({device!r}).",
            )
        with ExitStack() as stack:
            if is_integer(run.seed):
                for rules in rules_loaded():
                    stack.enter_context(rules.seeded(int(run.seed)))  # type: ignore[arg-type]
            return self._forward(x, run, port)

    def _as_it_is(self, x: Any) -> Any:
        """A call in which every layer stays in the mode it is in."""
        return self._forward(x, Run(training=None))

    def _forward(self, x: Any, run: Run, port: Any = None) -> Any:
        wanted = self._wanted(port)
        several = isinstance(port, list) if port is not None else len(wanted) > 1

        def forward(run: Run, fed: dict[str, Any], _: Any) -> Any:
            values = self._in_pieces(fed, set(wanted.values()), run)
            found = {key: _converted(values[source], run.result) for key, source in wanted.items()}
            return found if several else next(iter(found.values()))

        return self._map(forward, run, x)

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

        def backward(run: Run, fed: dict[str, Any], grads: dict[str, Any]) -> Any:
            found = gradients(self._flattened.wiring, fed, grads, run)
            return found if len(found) > 1 else next(iter(found.values()))

        return self._map(backward, Run(), x, grad_output, self.outputs, GRADIENT)

    def _wanted(self, port: Any) -> dict[Any, Source]:
        """Key of the result → where its value is made."""
        if port is None:
            return dict(self._flattened.wiring.outputs)
        wanted = {}
        for one in port if isinstance(port, list) else [port]:
            path = one.path if isinstance(one, NetPort) else one if type(one) is tuple else (one,)
            if not path or not all(isinstance(name, str) or is_integer(name) for name in path):
                raise KindError(
                    "port",
                    "must be a NetPort, a name, a path of names, or a list of these",
                    value=one,
                    way_out='Write port=NetPort("conv").',
                )
            source = self._flattened.named.get(self._path(path))
            if source is None:
                ports = [path[0] for path in self._flattened.named if len(path) == 1]
                raise LayerLookupError(
                    "port",
                    f"must be one of {ports}",
                    value=one,
                    way_out="NetPort(layer, port) reads a port of a layer.",
                )
            wanted[one] = source
        if not wanted:
            raise ParameterError("port", "must name at least one port", got="an empty list")
        return wanted

    def _in_pieces(self, fed: dict[str, Any], wanted: set[Source], run: Run) -> dict[Source, Any]:
        wiring, size = self._flattened.wiring, run.batch_size
        count = len(next(iter(fed.values()))) if run.batched and size is not None else 0
        if size is None or count <= size:
            return evaluate(wiring, fed, wanted, run)
        pieces = []
        for start in range(0, count, size):
            piece = {port: value[start : start + size] for port, value in fed.items()}
            pieces.append(evaluate(wiring, piece, wanted, run))
        return {source: joined([piece[source] for piece in pieces]) for source in wanted}

    def _evaluated(self, verb: Callable[..., Any], run: Run, given: list[Operand]) -> Any:
        fed = {one.port: _converted(one.value, run.dtype) for one in given if not one.role}
        grads = {one.port: one.value for one in given if one.role}
        home = rules_of_any(fed.values())
        with ExitStack() as stack:
            for rules in rules_loaded() if home is None else ():
                stack.enter_context(rules.unrecorded())
            result = verb(run._replace(home=home), fed, grads)
        return each(result, partial(brought_home, home=home))

    def _rather(self, shapes: Mapping[str, Shape], choices: set[bool]) -> bool:
        """An array of rank 4 is rather a batch, and to plain functions alone everything is one
        example."""
        nodes = self._flattened.wiring.nodes.values()
        if len(choices) == 2 and not any(node.tells_rank for node in nodes):
            return False
        if all(map(is_known, self.inputs.values())):
            return min(choices)
        rather_batch = any(len(shape) == IMAGE_RANK + 1 for shape in shapes.values())
        order = tuple(sorted(choices, reverse=rather_batch))
        return self._first_fitting(tuple(shapes.items()), order)


def first_fitting(
    flat: Flattened, shapes: tuple[tuple[str, Shape], ...], forms: tuple[bool, ...]
) -> bool:
    """Of one example (False) and a batch (True), the first as which these shapes of what is fed
    fit the net."""
    errors = []
    for batched in forms:
        fed = [Claim(((), p), s[batched:], f"what is fed to port {p!r}") for p, s in shapes]
        try:
            unify(flat.wiring, (*fed, *flat.claims))
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
