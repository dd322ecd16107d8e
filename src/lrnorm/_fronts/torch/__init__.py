"""The front for PyTorch tensors."""
