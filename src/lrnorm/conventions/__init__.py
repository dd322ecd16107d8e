"""Translates the parameters of an LRN between frameworks.

read("torch", size=5, alpha=1e-4, …)  → LRNSpec        write("tensorflow", spec)  → keywords
"""

from lrnorm.conventions.runtime_table import runtimes
from lrnorm.conventions.translation import Description, call, convert, describe, names, read, write

__all__ = ["Description", "call", "convert", "describe", "names", "read", "runtimes", "write"]
