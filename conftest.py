"""What must be settled before any test or example imports Keras."""

import os
from importlib.util import find_spec

# Keras reads its backend once, when it is imported, and looks for TensorFlow where nothing is said.
_INSTALLED = [name for name in ("torch", "jax", "tensorflow") if find_spec(name)]
os.environ.setdefault("KERAS_BACKEND", [*_INSTALLED, "torch"][0])
