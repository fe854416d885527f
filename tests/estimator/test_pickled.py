"""Copies of a fitted `TextClassifier`: pickle, deepcopy, joblib."""

from __future__ import annotations

import copy
import gc
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
from tiny_classifier import NEW, small

from classtune import BundleError, NotFittedError, TextClassifier, load

pytest_plugins = ["bundle_fixtures", "fitted_fixture"]
pytestmark = pytest.mark.usefixtures("single_thread")


COPIES: dict[str, Callable[[TextClassifier], TextClassifier]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda c: pickle.loads(pickle.dumps(c)),
}


@pytest.mark.parametrize("copy_of", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_fitted_classifier_is_one(
    fitted: TextClassifier, copy_of: Callable[[TextClassifier], TextClassifier], tmp_path: Path
) -> None:
    told = dict(fitted.result_)
    other = copy_of(fitted)
    assert np.abs(other.predict_proba(NEW) - fitted.predict_proba(NEW)).max() < 1e-6
    assert other.classes_.tolist() == fitted.classes_.tolist()
    assert (other.get_params(), other.result_, fitted.result_) == (fitted.get_params(), told, told)
    again = copy_of(other)
    again.save(tmp_path / "bundle")
    assert np.array_equal(load(tmp_path / "bundle").predict_proba(NEW), again.predict_proba(NEW))


def test_a_copy_leaves_no_files_behind(fitted: TextClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = copy.deepcopy(fitted)
    assert len(list(tmp_path.iterdir())) == 1
    del other
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_joblib_and_unfitted_and_loaded_classifiers(fitted: TextClassifier, small_llama: Path, tmp_path: Path) -> None:
    joblib.dump(fitted, tmp_path / "c.joblib")
    assert np.abs(joblib.load(tmp_path / "c.joblib").predict_proba(NEW) - fitted.predict_proba(NEW)).max() < 1e-6
    unfitted = copy.deepcopy(small(small_llama))
    with pytest.raises(NotFittedError):
        unfitted.predict(NEW)
    fitted.save(tmp_path / "bundle")
    loaded = pickle.loads(pickle.dumps(load(tmp_path / "bundle")))
    shutil.rmtree(tmp_path / "bundle")
    assert np.abs(loaded.predict_proba(NEW) - fitted.predict_proba(NEW)).max() < 1e-6


def test_a_pickle_never_holds_what_stands_in_the_folder_by_now(fitted: TextClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "bundle")
    loaded = load(tmp_path / "bundle")
    record = tmp_path / "bundle" / "classtune.json"
    record.write_text(record.read_text(encoding="utf-8").replace('"seed": ', '"seed": 1'), encoding="utf-8")
    with pytest.raises(BundleError, match="was replaced since it was loaded"):
        pickle.dumps(loaded)
