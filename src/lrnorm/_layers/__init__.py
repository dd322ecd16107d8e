"""The layer, its options, operands, devices and information."""
