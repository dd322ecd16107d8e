"""Computes by an LRNSpec, one front for each kind of array."""
