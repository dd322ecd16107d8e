"""The five numbers of an LRN, axes, errors, and the float64 reference."""
