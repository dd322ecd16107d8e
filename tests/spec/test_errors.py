"""Errors carry parts, and one place makes their text."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

import lrnorm
from lrnorm import ConventionError, FileError, IdentificationError, LRNormError, ShapeError
from lrnorm._spec import errors

CLASSES = [
    cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, LRNormError)
]
# Classes with arguments of their own.
OTHERS = {
    ConventionError: lambda: ConventionError("x must be here"),
    IdentificationError: lambda: IdentificationError("it raises", "raises"),
}
ERROR = ShapeError("axis", "must lie in -3 … 2", value=7, way_out="Pass axis=-1.")


def test_the_text_is_made_of_the_parts():
    assert str(ERROR) == "axis must lie in -3 … 2, got 7. Pass axis=-1."
    assert (ERROR.subject, ERROR.rule, ERROR.value) == ("axis", "must lie in -3 … 2", 7)
    assert ERROR.way_out == "Pass axis=-1."


def test_without_a_value_or_a_way_out():
    assert str(ShapeError("x", "must have a channel axis")) == "x must have a channel axis."
    assert str(ShapeError("x", "must not be None", value=None)) == "x must not be None, got None."
    assert str(ShapeError("x", "is ragged", got="rows of 2 and 3")) == (
        "x is ragged, got rows of 2 and 3."
    )


def test_a_place_is_added_in_front_and_the_class_stays():
    placed = ERROR.at("array 'a'").at("x.npz")
    assert type(placed) is ShapeError
    assert str(placed) == "x.npz: array 'a': axis must lie in -3 … 2, got 7. Pass axis=-1."
    assert str(ERROR) == "axis must lie in -3 … 2, got 7. Pass axis=-1."  # unchanged


def test_a_port_takes_the_place_of_x():
    error = ShapeError("x", "must be of rank 3", got="rank 2")
    assert str(error.about("port 'Input'")) == "port 'Input' must be of rank 3, got rank 2."
    assert str(error.at("layer 'a'").about("port 'Input'")).startswith("layer 'a': port 'Input' mu")


def test_a_whole_text_alone_is_refused():
    with pytest.raises(TypeError, match="rule"):
        ShapeError("axis must be an integer, got 1.5")


def test_another_way_out():
    assert str(ERROR.advising("Write --axis -1.")) == (
        "axis must lie in -3 … 2, got 7. Write --axis -1."
    )


def test_nearest_survives_a_place():
    error = ConventionError("caffe takes odd sizes, got 4", {"local_size": 5})
    assert error.at("net.prototxt").nearest == {"local_size": 5}
    assert str(error) == "caffe takes odd sizes, got 4. Nearest: local_size=5."
    assert error.reason == "caffe takes odd sizes, got 4"


@pytest.mark.parametrize("trip", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
@pytest.mark.parametrize("cls", CLASSES)
def test_pickle_and_copy_keep_every_part(cls, trip):
    error = OTHERS[cls]() if cls in OTHERS else cls("x", "must be", value=[1])
    error = error.at("file")
    again = trip(error)
    assert type(again) is cls
    assert again.__dict__ == error.__dict__
    assert str(again) == str(error)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_traceback_names_it_as_users_import_it(cls):
    assert f"{cls.__module__}.{cls.__qualname__}" == f"lrnorm.{cls.__name__}"
    assert getattr(lrnorm, cls.__name__) is cls
    assert len(cls.__mro__) > 3 or cls is LRNormError  # each is a built-in kind too


def test_a_file_error_is_an_oserror_without_a_number():
    assert isinstance(FileError("x.npy", "is not there"), OSError)
    assert str(FileError("x.npy", "is not there")) == "x.npy is not there."
