"""The argument parser of every subcommand."""

from __future__ import annotations

import argparse
from typing import NoReturn

from lrnorm._spec.errors import ParameterError


class Parser(argparse.ArgumentParser):
    """Raises its errors as ParameterError, which the command prints in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise ParameterError("", message, way_out=f"See {self.prog} --help.")
