"""Translates the parameters of an LRN between frameworks.

read("torch", size=5, alpha=1e-4, …)  → LRNSpec        write("tensorflow", spec)  → keywords
"""

from lrnorm.conventions.describing import Description, describe
from lrnorm.conventions.naming import names
from lrnorm.conventions.runtime_table import runtimes
from lrnorm.conventions.translation import call, convert, read, write

__all__ = ["Description", "call", "convert", "describe", "names", "read", "runtimes", "write"]
