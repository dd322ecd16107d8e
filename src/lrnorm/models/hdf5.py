"""HDF5 through h5py, for the formats that stand in it.

The library below h5py can hang or crash on damaged files, so that it runs in a process of its own,
with limits of time and memory. Links and data that lead to other files are refused.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys

from lrnorm._spec.errors import missing
from lrnorm.models.source import MIB, DamagedError, Source

SECONDS = 20
MEMORY = 4096 * MIB
LARGEST = 64 * MIB  # of the one value that is read

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_CHILD = """
import base64, json, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[5]),) * 2)
except (ImportError, ValueError, OSError):
    pass  # a system without such limits
import h5py
path, kind, key, largest = sys.argv[1:5]
try:
    with h5py.File(path, "r") as file:
        value = None
        if kind == "attribute" and key in file.attrs:
            value = file.attrs[key]
        elif kind == "dataset" and key in file:
            found = file[key] if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
            if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
                raise ValueError(f"{key} does not stand in the file itself")
            if found.size > 1 or found.nbytes > int(largest):
                raise ValueError(f"{key} is larger than it can be")
            value = found[()]
        if value is not None:
            data = value if isinstance(value, bytes) else str(value).encode()
            value = base64.b64encode(data[: int(largest)]).decode()
        answer = {"value": value, "names": [str(name) for name in file][:6]}
except Exception as error:
    answer = {"error": " ".join(str(error).split())[:200]}
print(json.dumps(answer))
"""


def is_hdf5(source: Source) -> bool:
    """True if the file begins with HDF5's signature."""
    return source.head.startswith(_SIGNATURE)


def _has_h5py() -> bool:
    """True where h5py can be imported in a process of its own; it is not imported here."""
    try:
        return importlib.util.find_spec("h5py") is not None
    except ImportError:  # an import hook that refuses it
        return False


def value_of(source: Source, kind: str, key: str) -> tuple[bytes | None, list[str]]:
    """One attribute or dataset of the file, None if it is not there, and the first names in it."""
    if not _has_h5py():
        raise missing("HDF5", "the package h5py", "'lrnorm[models]'").at(str(source.path))
    words = [os.path.abspath(source.path), kind, key, str(LARGEST), str(MEMORY)]
    try:
        child = subprocess.run(
            [sys.executable, "-c", _CHILD, *words],
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        answer = json.loads(child.stdout)
    except subprocess.TimeoutExpired:
        raise DamagedError(f"HDF5 was not done with it after {SECONDS} s") from None
    except (OSError, ValueError):  # it crashed before it could answer
        raise DamagedError("its HDF5 makes the library for HDF5 fail") from None
    if "error" in answer:
        raise DamagedError(f"its HDF5 cannot be read: {answer['error']}")
    value = answer["value"]
    return None if value is None else base64.b64decode(value), answer["names"]
