"""Settings and recipes: what wins, and that every problem is told at once and in words that help."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from pydantic import ValidationError

import classtune.config.areas
from classtune.config import Settings, parse_assignments, parse_value, recipes, resolve
from classtune.config.areas import Area, DecisionSettings, LossSettings
from classtune.errors import SettingsError


def test_flags_over_a_file_over_a_recipe_over_the_defaults(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('description = "ours"\nrecipe = "llms-from-scratch"\nepochs = 7\nclip = 2.0\n', encoding="utf-8")
    settings = resolve(str(mine), {"clip": 0.5})
    assert settings.clip == 0.5  # told
    assert settings.epochs == 7  # the file
    assert settings.learning_rate == 5e-5  # the recipe that the file starts from
    assert settings.seed == 123  # the default


def test_no_recipe_and_the_default_recipe_are_the_defaults() -> None:
    assert resolve() == resolve("default")


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_that_comes_along_is_valid_and_described(name: str) -> None:
    assert isinstance(resolve(name), Settings)
    assert recipes()[name]["description"].endswith(".")


def test_the_recipe_of_the_tutorial_is_row_1_of_its_table() -> None:
    settings = resolve("llms-from-scratch")
    assert (settings.model, settings.trainable, settings.depth, settings.pooling) == ("gpt2", 1, "all", "last")
    assert (settings.padding, settings.pool_padding, settings.split) == ("longest", True, "llms-from-scratch")
    assert (settings.epochs, settings.batch_size, settings.learning_rate) == (5, 8, 5e-5)
    assert (settings.weight_decay, settings.seed, settings.schedule) == (0.1, 123, "constant")


def test_every_problem_comes_at_once_one_a_setting() -> None:
    with pytest.raises(SettingsError) as raised:
        resolve(overrides={"epoch": 3, "poling": "last", "epochs": 0, "depth": "some", "dropout": 1.5, "seed": -1})
    told = raised.value.problems
    assert [line.partition(":")[0].partition(" is unknown")[0] for line in told] == [
        "setting 'epoch'",
        "setting 'poling'",
        "depth = 'some'",
        "dropout = 1.5",
        "epochs = 0",
        "seed = -1",
    ]
    assert "Did you mean 'epochs'?" in told[0]
    assert "should be 'auto' or 'all', or should be a valid integer. Blocks kept:" in told[2]
    assert "should be greater than or equal to 1. Passes over the training rows" in told[4]


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"validation": 0.5, "test": 0.5}, "validation (0.5) and test (0.5) leave no rows to train on."),
        ({"depth": 2, "trainable": 3}, "trainable = 3 is more than the depth = 2 blocks that are kept."),
        ({"pool_padding": True}, 'pool_padding counts padding, and padding = "none": set padding'),
        ({"weights": "random"}, 'weights = "random" has no best depth to find: set depth'),
        ({"learning_rate": float("inf")}, "learning_rate = inf: should be a finite number."),
        ({"learning_rate": float("nan")}, "learning_rate = nan: should be "),
        ({"batch_size": 2.5}, "batch_size = 2.5: should be a valid integer"),
        ({"batch_size": "many"}, "batch_size = 'many': should be a valid integer. Texts per batch."),
        ({"pooling": "max"}, "pooling = 'max': should be 'auto', 'last', 'first', 'mean' or 'last+mean'."),
        ({"shard": True, "trainable": "lora"}, 'shard = true shares frozen blocks, and trainable = "lora" trains all'),
        ({"shard": True, "cache": False}, "shard = true shares the pass that is stored, and cache = false keeps none"),
    ],
)
def test_impossible_values_are_refused(told: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        resolve(overrides=told)
    assert len(raised.value.problems) == 1
    assert raised.value.problems[0].startswith(problem)


def test_choices_that_do_not_fit_together_are_told_together() -> None:
    with pytest.raises(SettingsError) as raised:
        resolve(overrides={"validation": 0.5, "test": 0.5, "pool_padding": True})
    assert len(raised.value.problems) == 2


def test_every_setting_is_declared_in_one_area_and_listed_area_by_area() -> None:
    areas = [area for area in vars(classtune.config.areas).values() if inspect.isclass(area) and issubclass(area, Area)]
    declared = [name for area in areas for name in inspect.get_annotations(area) if name in area.model_fields]
    assert declared == list(Settings.model_fields)
    assert all(issubclass(Settings, area) for area in areas)


def test_an_area_alone_checks_what_it_is_told() -> None:
    assert DecisionSettings(cost="fn=10").model_dump() == Settings(cost="fn=10").model_dump(
        include=set(DecisionSettings.model_fields)
    )
    with pytest.raises(ValidationError, match="focal_gamma"):
        LossSettings(focal_gamma=-1.0)
    with pytest.raises(ValidationError, match="epochs"):
        LossSettings.model_validate({"epochs": 3})


def test_settings_in_force_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        resolve().epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("3e-4", 3e-4), ("true", True), ("auto", "auto"), ("last+mean", "last+mean"), ("", ""), ('"3"', "3")],
)
def test_a_value_is_read_as_toml_and_else_as_text(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_assignments() -> None:
    assert parse_assignments(["epochs=3", " model = a=b "]) == {"epochs": 3, "model": "a=b"}
    with pytest.raises(SettingsError) as raised:
        parse_assignments(["epochs", "seed=1", "depth:3"])
    assert raised.value.problems == ["--set 'epochs': write key=value.", "--set 'depth:3': write key=value."]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read (No such file or directory)."),
        (b"epochs = ", "not valid TOML"),
        (b"\xff\xfe\x00", "not valid TOML"),
        (b'recipe = "defualt"', "recipe = 'defualt' is unknown. Did you mean 'default'?"),
        (b"[training]\nepochs = 3", "setting 'training' is unknown."),
    ],
)
def test_a_recipe_file_that_cannot_be_used(content: bytes | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        resolve(str(path))
    assert told in str(raised.value)


def test_an_unknown_recipe_offers_the_nearest() -> None:
    with pytest.raises(
        SettingsError, match=r"recipe 'llm-from-scratch' is unknown. Did you mean 'llms-from-scratch'\?"
    ):
        resolve("llm-from-scratch")


def test_a_description_is_a_recipe_s_and_not_a_setting() -> None:
    with pytest.raises(SettingsError, match="setting 'description' is unknown"):
        resolve(overrides={"description": "mine"})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("lr", "learning_rate"), ("max_length", "max_tokens"), ("num_epochs", "epochs"), ("random_state", "seed")],
)
def test_names_of_other_libraries_are_told_ours(theirs: str, ours: str) -> None:
    from classtune import TextClassifier
    from classtune.config import Settings

    with pytest.raises(SettingsError, match=rf"setting '{theirs}' is unknown\. Did you mean '{ours}'\?"):
        resolve(overrides={theirs: 1})
    with pytest.raises(TypeError, match=rf"no parameter '{theirs}'\. Did you mean '{ours}'\?"):
        TextClassifier(None, **{theirs: 1})
    assert ours in Settings.model_fields
