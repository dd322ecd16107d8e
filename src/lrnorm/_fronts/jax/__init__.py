"""The front for JAX arrays."""
