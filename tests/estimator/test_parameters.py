"""The parameters of `TextClassifier` as scikit-learn's tools set them, and what its errors call them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags
from small import QUICK
from tiny_classifier import LABELS, TEXTS, small

from classtune import BundleError, DataError, SettingsError, TextClassifier, load
from classtune.config import Settings

pytest_plugins = ["bundle_fixtures", "fitted_fixture"]
pytestmark = pytest.mark.usefixtures("single_thread")


def test_it_follows_scikit_learn(small_llama: Path) -> None:
    classifier = small(small_llama)
    assert is_classifier(classifier)
    told = classifier.get_params()
    assert (told["model"], told["epochs"], told["settings"]["batch_size"]) == (str(small_llama), 2, 8)
    copy = clone(classifier).set_params(epochs=3)
    assert (copy.epochs, classifier.epochs) == (3, 2)
    assert copy.get_params()["settings"] == told["settings"]
    assert "TextClassifier(" in repr(classifier)


def test_a_grid_searches_any_setting(small_llama: Path) -> None:
    values = {"learning_rate": [1e-9, 3e-3], "epochs": [3]}
    grid = GridSearchCV(small(small_llama), values, cv=2, scoring="neg_log_loss", error_score="raise")
    grid.fit(np.array(TEXTS), LABELS)
    assert grid.best_params_["learning_rate"] == 3e-3
    assert grid.best_estimator_.result_["settings"]["learning_rate"] == 3e-3
    with pytest.raises(TypeError, match="Did you mean 'learning_rate'"):
        TextClassifier(learning_rat=1)
    with pytest.raises(ValueError, match="Invalid parameter 'learning_rat'"):
        TextClassifier().set_params(learning_rat=1)


def test_every_setting_is_a_parameter_and_repr_shows_what_was_given() -> None:
    assert set(Settings.model_fields) <= set(TextClassifier().get_params())
    assert repr(TextClassifier("m", learning_rate=0.1)) == "TextClassifier(learning_rate=0.1, model='m')"
    assert "TextClassifier" in TextClassifier(epochs=2)._repr_html_()


CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("check", CHECKS)
def test_scikit_learns_own_checks(check: str) -> None:
    """Those that give no matrix of numbers: texts are what this classifier takes."""
    from sklearn.utils import estimator_checks

    getattr(estimator_checks, check)("TextClassifier", TextClassifier())


def test_tags_say_that_it_takes_texts() -> None:
    tags = get_tags(TextClassifier())
    assert tags.estimator_type == "classifier"
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.classifier_tags.multi_label


def test_callables_take_the_place_of_settings(small_llama: Path) -> None:
    seen: list[int] = []
    classifier = small(small_llama, test=0.2).set_params(
        loss=torch.nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=torch.optim.Adagrad,
        metrics={"rows": lambda truth, probabilities: len(probabilities)},
        on_epoch=lambda point: seen.append(point["epoch"]),
    )
    result = clone(classifier).fit(TEXTS, LABELS).result_
    assert seen == [1, 2]
    assert set(result["extensions"]) == {"loss", "optimizer"}
    assert result["metrics"]["test"] == {"rows": 12}
    with pytest.raises(SettingsError, match="optimizer = 'sgd': give a callable"):
        TextClassifier(optimizer="sgd").fit(TEXTS, LABELS)
    assert small(small_llama, epochs=1).set_params(loss="focal").fit(TEXTS, LABELS).result_["extensions"] == {}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"settings": 5}, "settings = 5: give a mapping"),
        ({"settings": {1: 2}}, "settings = {1: 2}: give a mapping"),
        ({"metrics": [1]}, "metrics = [1]: give a mapping"),
        ({"recipe": 5}, "recipe = 5: give a recipe's name"),
        ({"columns": ["a", None]}, "columns = ['a', None]: give names"),
        ({"text": 5, "pair": b"a"}, "text = 5: give the name of a column.\npair = b'a': give the name"),
    ],
)
def test_parameters_of_another_kind_are_told_in_one_sentence(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        TextClassifier(**parameters).fit(TEXTS, LABELS)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("folder", [None, 5, "", b"bundle"])
def test_what_names_no_folder_is_told(folder: Any, fitted: TextClassifier) -> None:
    uses: tuple[Callable[[Any], object], ...] = (fitted.save, load)
    for use in uses:
        with pytest.raises(BundleError, match="names no folder"):
            use(folder)


def test_errors_speak_of_parameters_and_never_of_flags(small_llama: Path, tmp_path: Path) -> None:
    told: dict[str, dict[str, Any]] = {
        "cost 'fm=1': says neither fn, fp": {"cost": "fm=1"},
        "precision x=0.5: no such label": {"precision": {"x": 0.5}},
        "deploy_prior spma=0.1: no such label": {"deploy_prior": {"spma": 0.1}},
        "cost with precision or recall: each": {"cost": "spam:fn=2", "recall": {"spam": 0.5}},
        "max_error: there are no validation rows": {"max_error": 0.1, "settings": {**QUICK, "validation": 0.0}},
    }
    for message, parameters in told.items():
        with pytest.raises(SettingsError) as refused:
            TextClassifier(str(small_llama), **{"settings": QUICK, **parameters}).fit(TEXTS, LABELS)
        assert message in str(refused.value)
        assert "--" not in str(refused.value)


def test_long_texts_and_taken_folders_too(fitted: TextClassifier, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'Train with max_tokens=160 to cut .* truncate="tail" .*long_texts="windows"'):
        fitted.predict(["x" * 500])
    fitted.save(tmp_path / "taken")
    with pytest.raises(BundleError, match=r"or pass force=True to replace it\.$"):
        fitted.save(tmp_path / "taken")
    with pytest.raises(BundleError) as refused:
        load(tmp_path / "none")
    assert "--" not in str(refused.value)
