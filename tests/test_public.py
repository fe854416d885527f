"""The public face: what `import classtune` offers."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
import sklearn.exceptions

import classtune


def test_the_exported_names_are_sorted_and_each_is_there() -> None:
    assert classtune.__all__ == sorted(classtune.__all__)
    for name in classtune.__all__:
        assert getattr(classtune, name).__name__ == name


def test_nothing_is_exported_by_accident() -> None:
    lasting = {"annotations", "importlib", "TYPE_CHECKING", "Any"}
    offered = {name for name in vars(classtune) if not name.startswith("_")} - lasting
    rooms = {path.stem for path in Path(classtune.__file__).parent.iterdir()}
    assert offered - rooms == set(classtune.__all__) & offered


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'classtune' has no attribute 'Textclassifier'"):
        _ = classtune.Textclassifier


def test_the_version_is_that_of_the_package() -> None:
    assert classtune.__version__ == metadata.version("classtune")


def test_one_base_class_catches_every_error_and_says_the_exit_code() -> None:
    errors = [getattr(classtune, name) for name in classtune.__all__ if name.endswith(("Error", "Interrupted"))]
    assert all(issubclass(error, classtune.ClasstuneError) for error in errors)
    codes = {error.__name__: error.exit_code for error in errors}
    assert codes.pop("ClasstuneError") == codes.pop("Interrupted") == 1
    assert set(codes.values()) == {2}


def test_the_not_fitted_error_is_also_that_of_scikit_learn() -> None:
    assert issubclass(classtune.NotFittedError, sklearn.exceptions.NotFittedError)
    assert issubclass(classtune.NotFittedError, classtune.UserError)


def test_the_package_is_typed() -> None:
    assert (Path(classtune.__file__).parent / "py.typed").exists()
