"""The command `lrnorm`: each subcommand is a row in _COMMANDS and a module of this folder."""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module

import lrnorm
from lrnorm._spec.errors import LRNormError
from lrnorm.cli.parser import Parser

FAILED = 2
INTERRUPTED = 130  # what shells report for Ctrl-C
BROKEN_PIPE = 141  # and for a reader that has gone


def main(argv: list[str] | None = None) -> int:
    """Run the command with these arguments (default: those of the process); return its status.

    0 is success. 2 is bad input: one line on stderr says what is wrong. 130 is Ctrl-C.

    >>> status = main(["--version"])  # doctest: +ELLIPSIS
    lrnorm ...
    >>> status
    0
    """
    words = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a strange file name must not stop an answer
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()  # here, where a closed pipe can still be answered
    except SystemExit as stop:  # argparse, after --help
        return stop.code if isinstance(stop.code, int) else FAILED
    except KeyboardInterrupt as stop:  # what goes on later says so
        return _failed(f"interrupted; {str(stop) or 'no unfinished output is left'}.", INTERRUPTED)
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except LRNormError as error:
        return _failed(str(error))
    except MemoryError as error:
        return _failed(f"not enough memory: {error}")
    except OSError as error:  # of stdout: those of files are LRNormErrors
        _drop_stdout()
        return _failed(f"the output cannot be written: {error}")


def _failed(message: str, status: int = FAILED) -> int:
    print("lrnorm:", " ".join(message.split()), file=sys.stderr)
    return status


def _drop_stdout() -> None:
    """Keep the interpreter from flushing stdout at its exit, which a closed pipe would refuse."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _run(words: list[str]) -> int:
    if words and words[0] in _COMMANDS:
        status: int = import_module(f"lrnorm.cli.{words[0]}").run(words[1:])
        return status
    parser = Parser(
        prog="lrnorm",
        description="Local Response Normalization of arrays and pictures.",
        epilog="commands:\n"
        + "".join(f"  {name:<9} {text}\n" for name, text in _COMMANDS.items())
        + "\nlrnorm COMMAND --help says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    if words and not words[0].startswith("-"):
        parser.error(f"there is no command {words[0]!r}: choose {' or '.join(_COMMANDS)}")
    given = parser.parse_args(words)
    if given.version:
        print("lrnorm", lrnorm.__version__)
    else:
        parser.print_help()
    return 0


# Subcommand → its line in the help. Each is a module of this folder with a function `run`.
_COMMANDS = {
    "apply": "normalize an array or a picture, or show what that would change",
    "convert": "the LRN of one framework, or of a model file, as the call of another to paste",
    "bench": "measure the speed here, against copying and against others",
    "inspect": "every LRN of a model file, and where runtimes or two files disagree",
    "decompose": "an ONNX model with its LRN nodes written out in faster operators",
    "demo": "the whole story on a real photograph, in seconds",
}
