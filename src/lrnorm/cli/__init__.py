"""The command `lrnorm`, one file a subcommand."""

from lrnorm.cli.command import main

__all__ = ["main"]
