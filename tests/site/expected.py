"""Prints what the page's tab "Translate" should show: each convention's defaults, translated."""

import json

from lrnorm import LRNormError, conventions
from lrnorm.conventions.naming import row_of


def call(name, spec):
    try:
        return conventions.call(name, spec)
    except LRNormError:
        return None


expected = {}
for source in conventions.names():
    row = row_of(source)[1]
    words = dict(zip(row.words, row.defaults, strict=True))
    words |= {word: switch.default for word, switch in row.switches.items()}
    words = {word: 5 if value is None else value for word, value in words.items()}
    try:
        spec = conventions.read(source, **words)
    except LRNormError as error:
        expected[source] = {"text": str(error), "calls": {}}
        continue
    calls = {name: call(name, spec) for name in conventions.names()}
    expected[source] = {"text": repr(spec), "calls": calls}
print(json.dumps(expected))
