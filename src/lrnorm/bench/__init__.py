"""How long ours takes, beside a copy of the array and beside whoever else is installed."""

from lrnorm.bench.command import main

__all__ = ["main"]
