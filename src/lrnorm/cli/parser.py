"""The argument parser of every subcommand."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from lrnorm._spec.errors import ParameterError


class Parser(argparse.ArgumentParser):
    """Takes options by their whole names alone, and raises its errors as ParameterError, which the
    command prints in one line."""

    def __init__(self, **words: Any) -> None:
        super().__init__(allow_abbrev=False, **words)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise ParameterError("", message, way_out=f"See {self.prog} --help.")
