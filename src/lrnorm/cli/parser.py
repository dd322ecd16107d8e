"""How every command reads its words."""

from __future__ import annotations

import argparse
from typing import NoReturn

from lrnorm._spec.errors import ParameterError


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, through the command like every other error."""

    def error(self, message: str) -> NoReturn:
        raise ParameterError(f"{message}. See {self.prog} --help.")
