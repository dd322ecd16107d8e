"""Reads, writes and normalizes files; the functions behind `lrnorm apply`."""

from lrnorm.files.applying import apply, first, read, summarize, write
from lrnorm.files.atomic import writing
from lrnorm.files.statistics import Change, Summary

__all__ = ["Change", "Summary", "apply", "first", "read", "summarize", "write", "writing"]
