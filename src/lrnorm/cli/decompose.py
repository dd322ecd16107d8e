"""`lrnorm decompose`: an ONNX model with its LRN nodes written out in other operators."""

from __future__ import annotations

import logging

from lrnorm import conventions
from lrnorm._spec.errors import ParameterError
from lrnorm.cli.parser import Parser
from lrnorm.files.atomic import writing


def run(words: list[str]) -> int:
    """Run `lrnorm decompose` with these arguments and return its exit status."""
    from lrnorm.onnx import decompose

    parser = Parser(
        prog="lrnorm decompose",
        description="Write every LRN node of an ONNX model out in other operators, for a runtime "
        "that lacks the node or runs it slowly.",
    )
    parser.add_argument("model", metavar="MODEL", help="an ONNX file")
    parser.add_argument(
        "--for",
        dest="runtime",
        metavar="RUNTIME",
        help=f"where it will run, which tells the fastest form: {', '.join(conventions.runtimes)}",
    )
    parser.add_argument(
        "--form",
        default="auto",
        metavar="FORM",
        help="conv (fastest in ONNX Runtime), pool or slices (nan stays local); auto: as the "
        "runtime has it",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the new model")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    given = parser.parse_args(words)
    log = logging.getLogger("lrnorm.onnx")
    lines = _Lines()
    level = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        model = decompose(given.model, runtime=given.runtime, form=given.form)
    except ParameterError as error:
        option = {"runtime": "--for", "form": "--form"}.get(error.subject)
        if option is None:
            raise
        way_out = "Write --for onnxruntime, for example, or --form conv."
        raise error.about(option).advising(way_out) from error
    finally:
        log.removeHandler(lines)
        log.setLevel(level)
    with writing(given.output, overwrite=given.force) as stream:
        stream.write(model.SerializeToString())
    for line in lines.said or ["no LRN node"]:
        print(f"  {line}")
    print(f"{given.output} is written")
    return 0


class _Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
