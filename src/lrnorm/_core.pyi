from typing import Any

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
) -> bool: ...
def parameters(
    x: Any, g: Any, scale: float, beta: float, bias: float, before: int, after: int, axis: int
) -> tuple[float, float, float] | None: ...
def isa_names() -> tuple[str, ...]: ...
def isa_in_use() -> str: ...
def choose_isa(name: str) -> bool: ...
def thread_count() -> int: ...
def set_thread_count(count: int) -> None: ...
def usable_processors() -> int: ...
