"""Measures what a callable computes and fits the five numbers of an LRN to it."""

from lrnorm._identify.found import Identification, Remark
from lrnorm._identify.measure import identify

__all__ = ["Identification", "Remark", "identify"]
