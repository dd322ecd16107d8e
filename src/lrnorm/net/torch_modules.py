"""PyTorch in nets: the rule for modules and functions of torch, and a net as a module."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lrnorm._function.dispatch import front_of
from lrnorm._layers.evaluation import Run, each
from lrnorm._layers.layer import LocalResponseNormalizationLayer as Layer
from lrnorm._layers.shapes import Shape, contradict, is_known, merged
from lrnorm._spec.errors import KindError
from lrnorm.net import NetChain, NetGraph
from lrnorm.net.functions import RefusedError, float_of
from lrnorm.net.nodes import FunctionNode, Node, Shapes, register, same_shape
from lrnorm.torch.modules import LocalResponseNorm, LocalResponseNormalizationLayer
from lrnorm.torch.replacement import patched

LIBRARY = torch

_KEEP_SHAPE = (
    *(nn.Identity, nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.LayerNorm),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU),
    *(nn.Mish, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Hardtanh),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Softmax, nn.LogSoftmax, nn.LocalResponseNorm),
    *(nn.CrossMapLRN2d, LocalResponseNorm),
)
_POOLS: dict[int, tuple[Any, ...]] = {
    1: (nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, nn.LPPool1d),
    2: (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d),
    3: (nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d),
}
_CONVOLUTIONS: dict[int, tuple[Any, ...]] = {
    1: (nn.Conv1d, nn.ConvTranspose1d),
    2: (nn.Conv2d, nn.ConvTranspose2d),
    3: (nn.Conv3d, nn.ConvTranspose3d),
}
_BATCH_NORMS: dict[int, tuple[Any, ...]] = {
    2: (nn.BatchNorm2d, nn.InstanceNorm2d),
    3: (nn.BatchNorm3d, nn.InstanceNorm3d),
}


def _claims_of_kind(module: Any, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
    """Shapes that follow from the class of a module, also where sizes are unknown."""
    if isinstance(module, _KEEP_SHAPE):
        return same_shape(None, inputs, outputs)
    if isinstance(module, LocalResponseNormalizationLayer):
        return same_shape(module.input, inputs, outputs)
    for rank, kinds in _BATCH_NORMS.items():
        if isinstance(module, kinds):
            own = (module.num_features or None, *[None] * rank)
            return same_shape(own, inputs, outputs)
    for rank, kinds in _CONVOLUTIONS.items():
        if isinstance(module, kinds):
            free = [None] * rank
            return [(module.in_channels or None, *free)], [(module.out_channels, *free)]
    for rank, kinds in _POOLS.items():
        if isinstance(module, kinds):
            known = [shape[0] if shape else None for shape in (*inputs, *outputs)]
            return [(known[1], *[None] * rank)], [(known[0], *[None] * rank)]
    return [None] * len(inputs), [None]


def _tensor(value: Any) -> Tensor:
    """The value as a tensor."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        front_of(value, "the input")  # a masked array and the like is refused
    array = np.asarray(value)
    if array.dtype.kind == "V":  # bfloat16 of ml_dtypes
        array = array.astype(np.float32)
    if array.dtype.kind not in "biufc":
        raise KindError(
            "a torch.nn.Module",
            "takes arrays of numbers",
            got=f"dtype {array.dtype}",
            way_out="Convert it first, for example x.astype('float32').",
        )
    return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))


def _fitted(value: Any, module: nn.Module, run: Run) -> Tensor:
    """The value as a tensor, in the type and on the device of the module's parameters where the
    net was fed arrays: a tensor that does not fit is PyTorch's to refuse."""
    tensor = _tensor(value)
    own = run.home is not None and run.home.__name__ == __name__
    like = None if own else _first_float(module)
    if like is None or (not tensor.is_floating_point() and _takes_integers(module)):
        return tensor
    dtype = like.dtype if run.dtype is None else getattr(torch, run.dtype)
    if tensor.is_complex() and not dtype.is_complex:
        raise KindError(
            f"a torch.nn.Module of {dtype}",
            "takes real numbers",
            got=str(tensor.dtype),
            way_out="Feed the real and the imaginary part, or abs(x), as the model means.",
        )
    return tensor.to(like.device, dtype)


def _first_float(module: nn.Module) -> Tensor | None:
    tensors = (*module.parameters(), *module.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), None)


def _takes_integers(module: nn.Module) -> bool:
    first = next((m for m in module.modules() if not list(m.children())), None)
    return isinstance(first, (nn.Embedding, nn.EmbeddingBag))


@contextmanager
def _in_mode(module: nn.Module, training: bool | None) -> Iterator[None]:
    """Every module inside in one mode; afterwards each is as it was."""
    others = [m for m in module.modules() if training not in (None, m.training)]
    for one in others:
        one.training = bool(training)
    try:
        yield
    finally:
        for one in others:
            one.training = not training


def array_of(value: Any) -> Any:
    """The tensor as a NumPy array; what is no tensor stays as it is."""
    if not isinstance(value, Tensor):
        return value
    tensor = value.detach().cpu()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def array_from(value: Any) -> Tensor:
    """The NumPy array as a tensor."""
    return _tensor(value)


def alike(value: Any, tensor: Tensor) -> Tensor:
    """The value as a tensor of that type, on that device."""
    return _tensor(value).to(tensor)


def unrecorded() -> Any:
    """A context in which PyTorch records nothing for a gradient."""
    return torch.no_grad()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """PyTorch's random numbers from this seed, and as they were afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _pulled_back(
    function: Callable[..., Any], values: Sequence[Any], tensors: Sequence[Tensor], grad: Any
) -> tuple[Any, ...]:
    """The gradients by the values, of which `tensors` are made, of sum(grad * function(*tensors)),
    each of the kind of its value."""
    recorded = any(isinstance(v, Tensor) and v.requires_grad for v in (*values, grad))
    with torch.enable_grad():
        floats = [t if t.is_floating_point() else t.to(torch.get_default_dtype()) for t in tensors]
        places = [t if t.requires_grad else t.detach().requires_grad_() for t in floats]
        y = function(*places)
        if not isinstance(y, Tensor):
            raise KindError(
                "a layer with a gradient",
                "must return one tensor",
                got=type(y).__name__,
                way_out="Give it a method vjp(x, g), or let it return a tensor.",
            )
        found = torch.autograd.grad(
            y, places, alike(grad, y), create_graph=recorded, materialize_grads=True
        )
    return tuple(
        one.to(value.dtype if value.is_floating_point() else one.dtype)
        if isinstance(value, Tensor)
        else array_of(one).astype(float_of(value), copy=False)
        for one, value in zip(found, values, strict=True)
    )


def call_function(function: Callable[..., Any], values: Sequence[Any]) -> Any:
    """A function of tensors, of tensors or arrays."""
    return function(*map(_tensor, values))


def vjp_of_function(function: Callable[..., Any], values: Sequence[Any], grad: Any) -> Any:
    """The gradient of a function of tensors."""
    return _pulled_back(function, values, list(map(_tensor, values)), grad)


@register(nn.Module)
class ModuleNode(FunctionNode):
    """A module: it always gets a batch. An empty batch shows the shape of its output."""

    layer: nn.Module
    tells_rank = True

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer.forward)
        Node.__init__(self, layer)
        self._probed: dict[tuple[Shape | None, ...], Shape | None] = {}

    @property
    def type(self) -> str:
        return type(self.layer).__name__

    @property
    def expression(self) -> str:
        return " ".join(repr(self.layer).split())

    def leaf(self) -> Any:
        return Node.leaf(self)

    def arrays(self) -> dict[tuple[str, ...], Any]:
        named = (
            *self.layer.named_parameters(remove_duplicate=False),
            *self.layer.named_buffers(remove_duplicate=False),
        )
        return {tuple(name.split(".")): tensor for name, tensor in named if not is_lazy(tensor)}

    def claims(self, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
        said_in, said_out = _claims_of_kind(self.layer, inputs, outputs)
        clash = any(contradict(a, b) for a, b in zip(said_in, inputs, strict=True))
        if not clash and all(map(is_known, inputs)):
            probed = self._probe(tuple(inputs))
            if not contradict(said_out[0], probed):
                said_out = [merged(said_out[0], probed)]
        return said_in, said_out

    def _probe(self, shapes: tuple[Any, ...]) -> Shape | None:
        """The shape of what comes out, as a copy in eval mode gives it for an empty batch; for a
        batch of one where the module takes no empty ones."""
        if shapes not in self._probed:
            self._probed[shapes] = self._shape_given(shapes)
        return self._probed[shapes]

    def _shape_given(self, shapes: tuple[tuple[int, ...], ...]) -> Shape | None:
        """The shape of one output for examples of these shapes; RefusedError where the module takes
        none."""
        like = _first_float(self.layer)
        dtype, device = (like.dtype, like.device) if like is not None else (None, None)
        error: Exception | None = None
        for count, kind in ((0, dtype), (0, torch.int64), (1, dtype)):
            examples = [torch.zeros(count, *shape, dtype=kind, device=device) for shape in shapes]
            try:
                with torch.no_grad(), torch.random.fork_rng():
                    result = _twin(self.layer).eval()(*examples)
            except Exception as refusal:  # whatever a module raises, it does not take the shape
                error = error or refusal
            else:
                known = isinstance(result, Tensor) and result.shape[:1] == (count,)
                return tuple(result.shape[1:]) if known else None
        raise RefusedError(str(error).partition("\n")[0].rstrip("."))

    def exported(self, shapes: Sequence[tuple[int, ...]], opset: int) -> bytes:
        """The module as PyTorch writes it in ONNX, for a batch of any length: Input0, Input1, …,
        to Output."""
        like = next((p for p in self.layer.parameters() if p.is_floating_point()), torch.zeros(0))
        examples = tuple(torch.zeros(2, *shape, dtype=like.dtype) for shape in shapes)
        names = [f"Input{i}" for i in range(len(examples))]
        stream = io.BytesIO()
        with warnings.catch_warnings(), _in_mode(self.layer, False), patched():
            warnings.simplefilter("ignore")  # this way of exporting is deprecated, and takes 5 ms
            torch.onnx.export(
                self.layer,
                examples,
                stream,  # type: ignore[arg-type]
                dynamo=False,
                input_names=names,
                output_names=["Output"],
                dynamic_axes={name: {0: "batch"} for name in (*names, "Output")},
                opset_version=opset,
            )
        return stream.getvalue()

    def call(self, values: Sequence[Any], run: Run) -> tuple[Any, ...]:
        with _in_mode(self.layer, run.training):
            return (self._on_batch(run)(*(_fitted(value, self.layer, run) for value in values)),)

    def vjp(self, values: Sequence[Any], grads: Sequence[Any], run: Run) -> tuple[Any, ...]:
        with _in_mode(self.layer, run.training):
            tensors = [_fitted(value, self.layer, run) for value in values]
            return _pulled_back(self._on_batch(run), values, tensors, grads[0])

    def _on_batch(self, run: Run) -> Callable[..., Any]:
        """The module as a function of what the net was fed: one example goes in as a batch of one,
        and parameters in the precision asked for."""

        def forward(*tensors: Tensor) -> Any:
            if not run.batched:
                tensors = tuple(tensor[None] for tensor in tensors)
            result = _in_precision(self.layer, tensors, run.dtype)
            return result if run.batched else each(result, _first)

        return forward


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, Tensor) else value


def _in_precision(module: nn.Module, tensors: tuple[Tensor, ...], name: str | None) -> Any:
    """The module called with its parameters, buffers and inputs converted to the dtype of that
    name."""
    if name is None:
        return module(*tensors)
    dtype = getattr(torch, name)

    def converted(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    own = dict((*module.named_parameters(), *module.named_buffers()))
    arrays = {key: converted(tensor) for key, tensor in own.items()}
    return torch.func.functional_call(module, arrays, tuple(map(converted, tensors)))


def _twin(module: nn.Module) -> nn.Module:
    """A copy that shares the parameters, but for those that a first call makes."""
    shared = {id(p): p for p in module.parameters() if not is_lazy(p)}
    return copy.deepcopy(module, shared)


class NetModule(nn.Module):
    """The module that `as_module` returns."""

    def __init__(self, net: NetChain | NetGraph) -> None:
        super().__init__()
        self.net = net
        for name, layer in net.layers.items():
            if isinstance(layer, (NetChain, NetGraph)):
                layer = NetModule(layer)
            if isinstance(layer, nn.Module):
                key = str(name).replace(".", "/")
                self.add_module(f"{key}_" if hasattr(self, key) else key, layer)

    def forward(self, input: Any, *others: Any) -> Any:
        ports = list(self.net.inputs)
        fed = dict(zip(ports, (input, *others), strict=True)) if others else input
        return self.net._as_it_is(fed)

    def extra_repr(self) -> str:
        return str(self.net).partition("\n")[0]


def as_module(net: NetChain | NetGraph, *, learnable: Any = False) -> NetModule:
    """The net as a `torch.nn.Module`, for any optimizer, `state_dict`, `to` and `train`.

        module(x) = net(x)

    It holds the very modules of the net: what it learns, the net knows, and `net(array)` gives
    afterwards what the module gives in eval mode. Takes one example or a batch, as the net does;
    several inputs in the order of the net's ports, or as a dict. In train mode its modules are.

    `learnable=True`, or names among alpha, beta and bias, makes parameters of those numbers of the
    LRN layers; these stand in `module.net`, another net then.

    Errors: KindError (a TypeError) for what is no net; those of a call.

    >>> import torch
    >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
    >>> from lrnorm.torch import as_module
    >>> norm = LocalResponseNormalizationLayer()
    >>> net = NetChain({"conv": torch.nn.Conv2d(3, 8, 3), "norm": norm})
    >>> module = as_module(net)
    >>> list(module.state_dict()), module(torch.zeros(2, 3, 5, 5)).shape
    (['conv.weight', 'conv.bias'], torch.Size([2, 8, 3, 3]))
    """
    if not isinstance(net, (NetChain, NetGraph)):
        raise KindError(
            "as_module",
            "takes a NetChain or NetGraph",
            got=type(net).__name__,
            way_out="Put layers into a net first: NetChain([layer, …]).",
        )
    if learnable is not False:
        net = net.replace(
            {
                path: LocalResponseNormalizationLayer(
                    learnable=learnable, **node.layer._arguments()
                )
                for path, node in net._flattened.wiring.nodes.items()
                if isinstance(node.layer, Layer)
            }
        )
    return NetModule(net)
