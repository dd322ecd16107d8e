from typing import Any

class Memory:
    """A buffer of so many bytes, not cleared; where it lies is kept for the next one."""

    def __init__(self, bytes: int) -> None: ...
    @property
    def fresh(self) -> bool: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def forward(
    x: Any,
    out: Any,
    scale: float,
    beta: float,
    bias: float,
    before: int,
    after: int,
    axis: int,
    fresh: bool = False,
    threads: int = 0,
) -> bool: ...
def vjp(
    x: Any,
    g: Any,
    out: Any,
    scale: float,
    beta: float,
    bias: float,
    before: int,
    after: int,
    axis: int,
    fresh: bool = False,
    threads: int = 0,
) -> bool: ...
def jvp(
    x: Any,
    t: Any,
    out: Any,
    scale: float,
    beta: float,
    bias: float,
    before: int,
    after: int,
    axis: int,
    fresh: bool = False,
    threads: int = 0,
) -> bool: ...
def parameters(
    x: Any,
    g: Any,
    scale: float,
    beta: float,
    bias: float,
    before: int,
    after: int,
    axis: int,
    threads: int = 0,
) -> tuple[float, float, float] | None: ...
def vjp_parameters(
    x: Any,
    g: Any,
    out: Any,
    scale: float,
    beta: float,
    bias: float,
    before: int,
    after: int,
    axis: int,
    fresh: bool = False,
    threads: int = 0,
) -> tuple[float, float, float] | None: ...
def box_forward(
    x: Any,
    out: Any,
    scale: float,
    beta: float,
    bias: float,
    before: tuple[int, ...],
    after: tuple[int, ...],
    axes: tuple[int, ...],
    fresh: bool = False,
    threads: int = 0,
) -> bool: ...
def box_vjp(
    x: Any,
    g: Any,
    out: Any,
    scale: float,
    beta: float,
    bias: float,
    before: tuple[int, ...],
    after: tuple[int, ...],
    axes: tuple[int, ...],
    fresh: bool = False,
    threads: int = 0,
) -> bool: ...
def box_jvp(
    x: Any,
    t: Any,
    out: Any,
    scale: float,
    beta: float,
    bias: float,
    before: tuple[int, ...],
    after: tuple[int, ...],
    axes: tuple[int, ...],
    fresh: bool = False,
    threads: int = 0,
) -> bool: ...
def box_parameters(
    x: Any,
    g: Any,
    scale: float,
    beta: float,
    bias: float,
    before: tuple[int, ...],
    after: tuple[int, ...],
    axes: tuple[int, ...],
    threads: int = 0,
) -> tuple[float, float, float] | None: ...
def forward_period(
    item: int, scale: float, beta: float, bias: float, before: int, after: int
) -> int: ...
def isa_names() -> tuple[str, ...]: ...
def isa_in_use() -> str: ...
def choose_isa(name: str) -> bool: ...
def thread_count() -> int: ...
def set_thread_count(count: int) -> None: ...
def usable_processors() -> int: ...
def xla_handler(verb: str) -> Any: ...
