"""A lock on a file, which the system releases when the process ends, on every system."""

from __future__ import annotations

import sys
from typing import IO, Any

if sys.platform == "win32":
    import msvcrt

    def try_to_lock(stream: IO[Any]) -> bool:
        """Lock an open file for this process alone. False: another process holds it."""
        stream.seek(0)
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_to_lock(stream: IO[Any]) -> bool:
        """Lock an open file for this process alone. False: another process holds it."""
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
