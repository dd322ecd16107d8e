"""Lists every public name with its signature, one a line, to compare two versions by `diff`:

PYTHONPATH=old/src python benchmarks/public_api.py > old.txt
PYTHONPATH=new/src python benchmarks/public_api.py > new.txt
diff old.txt new.txt
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import lrnorm

MODULES = (
    *("array_api", "conventions", "dask", "files", "jax", "keras", "models"),
    *("net", "numpy", "onnx", "plot", "torch", "xarray"),
)


def signature(value: Any) -> str:
    """The parameters with their defaults; annotations are left out."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ""
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return str(inspect.Signature(bare))


def lines(name: str, value: Any) -> Iterator[str]:
    """One line for a function, and one more for each public method of a class."""
    if isinstance(value, ModuleType):
        return
    yield name + signature(value)
    if isinstance(value, type) and not issubclass(value, Exception):
        for word in sorted(vars(value)):
            if not word.startswith("_"):
                yield f"{name}.{word}{signature(getattr(value, word, None))}"


def public_names(module: ModuleType) -> list[str]:
    """The names in __all__, or else those without an underscore."""
    return sorted(getattr(module, "__all__", None) or filter(str.isidentifier, vars(module)))


def main() -> None:
    """Print the list."""
    for name in public_names(lrnorm):
        print(*lines(name, getattr(lrnorm, name)), sep="\n")
    for each in MODULES:
        try:
            module = importlib.import_module(f"lrnorm.{each}")
        except ImportError:
            continue
        for name in public_names(module):
            print(*lines(f"{each}.{name}", getattr(module, name)), sep="\n")


if __name__ == "__main__":
    main()
