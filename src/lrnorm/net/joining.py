"""Verbs that make larger nets: append, prepend, insert, +, flatten, rename."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lrnorm._layers.shapes import contradict
from lrnorm._spec.errors import KindError, ParameterError, ShapeError
from lrnorm._spec.spec import is_integer
from lrnorm.net.editing import Edited
from lrnorm.net.flattening import Declared, Flattened, flattened
from lrnorm.net.nodes import node_of
from lrnorm.net.ports import LayerLookupError, NetPort, Source, Wiring, layer_at
from lrnorm.net.wiring import Name, no_net


class Plan(NamedTuple):
    """A net to be built: its layers in order, the source of each input, and its outputs."""

    layers: dict[Name, Any]
    feeds: dict[Name, dict[str, Source]]
    outputs: dict[str, Source]
    declared: dict[str, dict[str, Any]]  # "input" and "output" → port → shape

    def renamed(self, names: Mapping[Any, Name], ports: Mapping[str, str]) -> Plan:
        """With other names of layers and of ports of the net."""

        def moved(source: Source) -> Source:
            path, port = source
            return ((names[path[0]],), port) if path else ((), ports.get(port, port))

        feeds = {names[n]: {p: moved(s) for p, s in f.items()} for n, f in self.feeds.items()}
        outputs = {ports.get(port, port): moved(source) for port, source in self.outputs.items()}
        declared = {
            word: {ports.get(port, port): shape for port, shape in shapes.items()}
            for word, shapes in self.declared.items()
        }
        return Plan({names[n]: x for n, x in self.layers.items()}, feeds, outputs, declared)

    def replaced(self, old: Source, new: Source) -> None:
        """Let what the layers took from `old` come from `new`."""
        for taken in self.feeds.values():
            taken.update({port: new for port, source in taken.items() if source == old})

    def net(self, chain: bool) -> Any:
        """The net: a chain if it may be one and is one, else a graph."""
        from lrnorm.net.nets import NetChain, NetGraph

        listed = list(self.layers) == list(range(len(self.layers)))
        layers: Any = list(self.layers.values()) if listed else self.layers
        if chain and self._is_chain():
            words = {
                word: next(iter(shapes.values()))
                if list(shapes) in (["Input"], ["Output"])
                else shapes
                for word, shapes in self.declared.items()
                if shapes
            }
            return NetChain(layers, **words)

        def end(source: Source) -> NetPort:
            path, port = source
            return NetPort(path[0], port) if path else NetPort(port)

        edges: list[Any] = [
            (end(source), NetPort(name, port))
            for name, taken in self.feeds.items()
            for port, source in taken.items()
        ]
        edges += [(end(source), NetPort(port)) for port, source in self.outputs.items()]
        used = {*self.outputs.values()}.union(*(taken.values() for taken in self.feeds.values()))
        free = [((n,), p) for n, layer in self.layers.items() for p in node_of(layer).outputs]
        edges += [(end(source), None) for source in free if source not in used]
        return NetGraph(layers, edges, **self.declared)

    def _is_chain(self) -> bool:
        names = list(self.layers)
        first, last = self.feeds[names[0]], node_of(self.layers[names[-1]])
        return (
            all(source == ((), port) for port, source in first.items())
            and self.outputs == {port: ((names[-1],), port) for port in last.outputs}
            and all(
                [source[0] for source in self.feeds[after].values()] == [(before,)]
                for before, after in itertools.pairwise(names)
            )
        )


class Joined(Edited):
    """The verbs that make a larger net, or the same net under other names."""

    inputs: Any  # port → shape, as the evaluation has them
    outputs: Any
    _declared: Declared
    _flattened: Flattened
    _wiring: Wiring
    _is_chain = False

    def append(self, *layers: Any, input: Any = None, output: Any = None) -> Any:
        """A net with layers after the last one.

            net.append(layer)              one layer; in a net of names its number is its name
            net.append("size", abs)        one layer with a name
            net.append([layer, …])         several, also as a mapping of names

        The shape of the input stays, also what was inferred for it; `input` and `output` declare
        the shapes of the new net. A graph must have one output, whose name stays.

        Errors: ParameterError (a ValueError) for a name that is taken, with both layers named;
        ShapeError (a ValueError) where shapes clash.

        Source: Wolfram's NetAppend.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> NetChain({"norm": LocalResponseNormalizationLayer()}).append("size", abs)["size"]
        <built-in function abs>
        """
        out = self._only("output")
        new = self._new("append", layers)
        plan = self._plan("input")
        plan.outputs[out] = _strung(plan, new, plan.outputs[out])
        return self._declare(plan, input, output)

    def prepend(self, *layers: Any, input: Any = None, output: Any = None) -> Any:
        """A net with layers before the first one; arguments and errors are those of `append`.

        The shape of the output stays. A graph must have one input, whose name stays.

        Source: Wolfram's NetPrepend.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> NetChain([LocalResponseNormalizationLayer()]).prepend(abs)[0]
        <built-in function abs>
        """
        return self._declare(self._put("prepend", 0, layers, self._only("input")), input, output)

    def insert(self, where: Any, *layers: Any) -> Any:
        """A net with layers before the layer `where`, a name or a number as in list.insert.

            net.insert("conv", layer)          before the layer "conv"
            net.insert(1, "size", abs)         before layer number 1, counted from 0

        In a graph the layer `where` must have one input. Other arguments and errors are those of
        `append`. Source: Wolfram's NetInsert.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> NetChain([LocalResponseNormalizationLayer(), abs]).insert(1, abs)[1:]
        NetChain([abs, abs])
        """
        count = len(self)
        if is_integer(where) and not -count <= where <= count:
            raise LayerLookupError("place", f"must lie in {-count} … {count}", value=where)
        place = where % count if is_integer(where) and where < 0 else where
        if not is_integer(place):
            place = list(self.layers).index(self._name(place))
        return (
            self.append(*layers)
            if place == count
            else self._put("insert", place, layers).net(self._is_chain)
        )

    def delete(self, *names: Any) -> Any:
        """A net without these layers, given by names, numbers or paths of names.

        In a chain the neighbours are connected; in a graph what was connected becomes a port, as
        with `drop`. Errors: LayerLookupError, and ParameterError (a ValueError) where no layer
        remains. Source: Wolfram's NetDelete.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> NetChain([LocalResponseNormalizationLayer(), abs, abs]).delete(1, 2)
        NetChain([LocalResponseNormalizationLayer(alpha=1.0, beta=0.5, bias=1.0, \
channel_window_size=2)])
        """
        if not names:
            raise KindError("delete", "takes the names of layers", got="nothing")
        net: Any = self
        gone = set()
        for key in itertools.chain(*(n if isinstance(n, list) else [n] for n in names)):
            path = key if isinstance(key, tuple) else (key,)
            own = self._name(path[0])
            if len(path) == 1:
                gone.add(own)
            elif isinstance(net.layers[own], Joined):
                net = net.replace(own, net.layers[own].delete(path[1:]))
            else:
                raise no_net(own, path, net.layers[own])
        return net._subset([name for name in self.layers if name not in gone])

    def __add__(self, other: Any) -> Any:
        """net + other: what the net gives goes into `other`.

        Two chains give a chain, else it is a graph. The net must have one output, `other` one
        input; the shapes at the other ends stay. Errors: those of `append`; both layers are named
        where two have one name. Source: Wolfram's NetJoin.
        """
        if not isinstance(other, Joined):
            if callable(other):
                way_out = "net.append(layer) adds a layer."
                raise KindError(
                    "+", "joins two nets", got=type(other).__qualname__, way_out=way_out
                )
            return NotImplemented
        out, into = self._only("output"), other._only("input")
        shapes = self.outputs[out], other.inputs[into]
        if contradict(*shapes):
            raise ShapeError(
                f"port {into!r} of the second net",
                f"must have the shape of port {out!r} of the first net, {shapes[0]}",
                value=shapes[1],
                way_out="Change one of the two, or put a layer between them.",
            )
        given: Any = other.layers if not other._listed else list(other.layers.values())
        names = dict(zip(other.layers, self._new("+", (given,)), strict=True))
        plan, more = self._plan("input"), other._plan("output").renamed(names, {})
        more.replaced(((), into), plan.outputs.pop(out))
        for name in set(plan.outputs) & set(more.outputs):
            raise ParameterError(f"port {name!r}", "is an output of both nets")
        joined = Plan(
            plan.layers | more.layers,
            plan.feeds | more.feeds,
            plan.outputs | more.outputs,
            {"input": plan.declared["input"], "output": more.declared["output"]},
        )
        return joined.net(self._is_chain and other._is_chain)

    def __radd__(self, other: Any) -> Any:
        """Refuses a layer before the net: a KindError, which says how to add it."""
        if not callable(other):
            return NotImplemented
        way_out = "net.prepend(layer) adds a layer."
        raise KindError("+", "joins two nets", got=type(other).__qualname__, way_out=way_out)

    def flatten(self, depth: int | None = None) -> Any:
        """The net with the layers of the nets inside in place of these, down to `depth` levels.

        A layer "conv" of a net "block" is called "block/conv"; where all layers are numbered, they
        are numbered anew. The result is a chain where each layer feeds the next one alone, else a
        graph. Errors: ParameterError (a ValueError) where two layers would get one name.

        Source: Wolfram's NetFlatten.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> list(NetChain({"block": NetChain({"size": abs}), "end": abs}).flatten().layers)
        ['block/size', 'end']
        """
        if depth is not None and not (is_integer(depth) and depth >= 0):
            rule = "must be an integer of at least 0, or None for all levels"
            raise (ParameterError if is_integer(depth) else KindError)("depth", rule, value=depth)
        flat = flattened(self._wiring, self._declared, depth)
        wiring = flat.wiring
        inside = len(flat.claims) > sum(map(len, self._declared.values()))
        paths = [path for path in self._written_order() if path in wiring.nodes]
        paths += [path for path in wiring.nodes if path not in paths]
        numbered = all(is_integer(part) for path in paths for part in path)
        names: dict[Any, Name] = {
            path: i if numbered else "/".join(map(str, path)) for i, path in enumerate(paths)
        }
        _check_twice(names, layer_at)

        def nested(source: Source) -> Source:
            return ((source[0],), source[1]) if source[0] else source  # type: ignore[return-value]

        plan = Plan(
            {path: wiring.nodes[path].layer for path in paths},  # type: ignore[misc]
            {path: {p: nested(s) for p, s in wiring.feeds[path].items()} for path in paths},  # type: ignore[misc]
            {port: nested(source) for port, source in wiring.outputs.items()},
            {word: self._shapes_at(word, inside) for word in ("input", "output")},
        )
        return plan.renamed(names, {}).net(True)

    def rename(self, changes: Mapping[Any, Any] | Callable[[Any], str], *more: Any) -> Any:
        """The net with other names of layers and ports.

            net.rename({"old": "new", …})                  layers; a path reaches into nets inside
            net.rename({NetPort("Input"): "picture"})      ports; a chain becomes a graph
            net.rename(str.upper)                          a function of the name of each layer

        Errors: ParameterError (a ValueError) for a name that two would have, LayerLookupError for
        one that is not there. Source: Wolfram's NetRename.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> list(NetChain({"a": abs, "b": abs}).rename({"a": "first"}).layers)
        ['first', 'b']
        """
        rule = "takes a mapping of names or a function"
        if more:
            way_out = f"{{{changes!r}: {more[0]!r}}} is the mapping of one name."
            raise KindError("rename", rule, got=f"{1 + len(more)} arguments", way_out=way_out)
        if not isinstance(changes, Mapping):
            if not callable(changes):
                raise KindError("rename", rule, value=changes)
            changes = {name: changes(name) for name in self.layers}
        net: Any = self
        names: dict[Any, Name] = {name: name for name in self.layers}
        ports: dict[str, str] = {}
        for key, new in changes.items():
            new = new.path[0] if isinstance(new, NetPort) else new
            if not isinstance(new, str) or not new:
                raise KindError("a new name", "must be a text", value=new)
            path = key if isinstance(key, tuple) else (key,)
            if isinstance(key, NetPort):
                if key.path[0] not in {*self.inputs, *self.outputs}:
                    have = [*self.inputs, *self.outputs]
                    raise LayerLookupError("port", f"must be one of {have}", value=key)
                ports[str(key.path[0])] = new
            elif len(path) > 1:
                own = self._name(path[0])
                net = net.replace(own, net.layers[own].rename({path[1:]: new}))
            else:
                names[self._name(path[0])] = new
        if any(is_integer(old) and new != old for old, new in names.items()):
            names = {old: str(new) for old, new in names.items()}
        _check_twice(names, lambda name: f"layer {name!r}")
        plan = Plan(dict(net.layers), *net._plan(None)[1:])
        return plan.renamed(names, ports).net(self._is_chain)

    # What the verbs share

    def _plan(self, kept: str | None) -> Plan:
        """The plan of this net. `kept` is the end whose shape stays, None for both; what was
        inferred there stays too, where it is known from the other end."""
        ends = {
            word: self._shapes_at(word, bool(kept) and any(self._declared.values()))
            if kept in (None, word)
            else {}
            for word in ("input", "output")
        }
        feeds = {name: dict(self._wiring.feeds[name,]) for name in self.layers}
        return Plan(dict(self.layers), feeds, dict(self._wiring.outputs), ends)

    def _shapes_at(self, word: str, inferred: bool) -> dict[str, Any]:
        """Port → shape: as it was declared, or as far as it is known."""
        if not inferred:
            return dict(self._declared[word])
        known = {port: shape for port, shape in getattr(self, f"{word}s").items() if shape}
        return {port: shape for port, shape in known.items() if set(shape) - {None}}

    def _declare(self, plan: Plan, input: Any, output: Any) -> Any:
        net = plan.net(self._is_chain)
        words = {"input": input, "output": output}
        given = {word: shape for word, shape in words.items() if shape is not None}
        return net.replace(**given) if given else net

    def _only(self, word: str) -> str:
        """The name of the only input or output."""
        ports = list(getattr(self, f"{word}s"))
        if len(ports) != 1:
            raise ParameterError(
                "the net",
                f"must have one {word} to be joined there",
                value=ports,
                way_out="Write a NetGraph with edges, or net.add(layers, edges).",
            )
        return str(ports[0])

    @property
    def _listed(self) -> bool:
        """True if layers were given without names, so that they are numbered."""
        return 0 in self.layers

    def _new(self, verb: str, given: tuple[Any, ...]) -> dict[Name, Any]:
        """Name → layer of what comes to the net, in which no name is taken."""
        if len(given) == 2:
            given = ({given[0]: given[1]},)
        if len(given) != 1:
            raise KindError(verb, "takes a layer, a name and a layer, or several layers at once")
        [what] = given
        if isinstance(what, Mapping):
            if self._listed:
                raise KindError(
                    f"layer {next(iter(what))!r}",
                    "cannot have a name in a net whose layers are numbered",
                    way_out="Leave out the name, or give the others names: net.rename({0: …}).",
                )
            new = dict(what)
        else:
            layers = what if isinstance(what, (list, tuple)) else [what]
            numbers = itertools.count(len(self))
            new = {n if self._listed else str(n): x for n, x in zip(numbers, layers, strict=False)}
        for name in new:
            if name in self.layers:
                taken = layer_at((name,), node_of(self.layers[name]))
                raise ParameterError(
                    f"the new {layer_at((name,), node_of(new[name]))}",
                    f"must have a name of its own, got that of {taken}",
                    way_out="Give it another name, or rename the other: net.rename({…}).",
                )
        return new

    def _put(self, verb: str, place: int, given: tuple[Any, ...], port: str | None = None) -> Plan:
        """Layers before those at `place`: before the port, or before that layer alone."""
        plan, new = self._plan("output" if verb == "prepend" else None), self._new(verb, given)
        if port is not None:
            start: Source = ((), port)
        else:
            target = list(self.layers)[place]
            sources = list(plan.feeds[target].values())
            if len(sources) != 1:
                layer = layer_at((target,), node_of(self.layers[target]))
                raise ParameterError(layer, "must have one input", value=list(plan.feeds[target]))
            start = sources[0]
            [into] = plan.feeds[target]
        before = {name: dict(taken) for name, taken in plan.feeds.items()}
        end = _strung(plan, new, start)
        for name, taken in before.items():
            for own, source in taken.items():
                if source == start if port is not None else (name, own) == (target, into):
                    plan.feeds[name][own] = end
        order = list(self.layers)
        order[place:place] = list(new)
        names = dict(zip(order, range(len(order)), strict=True)) if self._listed else {}
        ordered = Plan(
            {n: plan.layers[n] for n in order}, {n: plan.feeds[n] for n in order}, *plan[2:]
        )
        return ordered.renamed(names, {}) if names else ordered


def _strung(plan: Plan, new: Mapping[Name, Any], start: Source) -> Source:
    """Put layers one after the other behind `start`; where the last one gives its value."""
    for name, layer in new.items():
        node = node_of(layer)
        ports = node.input_names(node.least)
        if len(ports) != 1 or len(node.outputs) != 1:
            raise ParameterError(
                layer_at((name,), node),
                "must have one input and one output to be put between others",
                got=f"the ports {[*ports, *node.outputs]}",
                way_out="Write a NetGraph with edges, or net.add(layers, edges).",
            )
        plan.layers[name], plan.feeds[name] = layer, {ports[0]: start}
        start = ((name,), node.outputs[0])
    return start


def _check_twice(names: Mapping[Any, Name], text: Callable[[Any], str]) -> None:
    """Refuse a name that two would get."""
    owners: dict[Name, Any] = {}
    for old, new in names.items():
        if new in owners:
            raise ParameterError(
                f"{text(owners[new])} and {text(old)}",
                f"would both be called {new!r}",
                way_out="Give one of them another name.",
            )
        owners[new] = old
