"""Several candidates of a run: one classifier is chosen, and it is what ships."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SEVERAL, all_of_them, rows

from classtune.bundle import MEMBERS, RECORD, load_bundle
from classtune.candidates import tail
from classtune.candidates.backbone import Backbone
from classtune.candidates.folds import HeldOut
from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.data.versions import hashes
from classtune.errors import BundleError, SettingsError
from classtune.explain.explanations import as_html, as_text, explain
from classtune.inference.predictor import load_predictor
from classtune.inference.tables import evaluate_bundle
from classtune.jobs.train import Trained, train
from classtune.report.page import model_card, write_report
from classtune.screen.results import show_training

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

TEXTS = [text for text, _ in rows(80)]
LABELS = [label for _, label in rows(80)]
NEW = ["win a prize, call now 77 today", "see you at 77 then, mate", "hello"]


def run(*models: Path, notes: list[str] | None = None, folder: Path | None = None, **told: Any) -> Trained:
    settings = resolve(overrides={**SEVERAL, "model": ",".join(map(str, models)), **told})
    table = table_from_rows(TEXTS, LABELS, name="rows")
    notify = (lambda line: None) if notes is None else notes.append
    return train(table, settings, run_folder=folder, resume=folder is not None, notify=notify, progress=lambda *_: None)


@pytest.fixture
def blend(small_blend: tuple[Trained, Path]) -> tuple[Trained, Path]:
    """A blend of two networks and TF-IDF, and its bundle."""
    return small_blend


def test_every_candidate_is_in_the_comparison(blend: tuple[Trained, Path], small_llama: Path, small_bert: Path) -> None:
    trained, _ = blend
    names = [one["name"] for one in trained.result.document()["comparison"]["candidates"]]
    wanted = {"majority class", "one-line rule", "tf-idf"}
    wanted |= {
        f"{model.name} {kind}" for model in (small_llama, small_bert) for kind in ("probe", "tail", "tail, last block")
    }
    assert wanted | {trained.result.document()["chosen"]["name"]} == set(names)
    assert trained.result.document()["comparison"]["recommended"] == trained.result.document()["chosen"]["name"]
    assert trained.result.document()["splits"] == {"train": 64, "validation": 0, "test": 16}
    assert trained.result.document()["cross_validated"]


def test_the_figures_of_a_probe_are_those_of_the_network_that_ships(small_bert: Path) -> None:
    """Its head is the encoder's own, with a tanh in it, which lets a probe pass by nearly nothing."""
    trained = run(small_bert, keep="bert probe", pooling="first")
    tested = np.isin(hashes(TEXTS), trained.rows.test)
    scores = trained.predictor.probabilities([text for text, test in zip(TEXTS, tested, strict=True) if test])
    right = np.array(LABELS)[tested][:, None] == np.array(trained.labels)
    figures = trained.result.document()["test"]
    assert -np.log(scores[right]).mean() == pytest.approx(figures["log_loss"], rel=1e-6)


def test_a_tail_that_is_chosen_learns_from_the_rows_that_judged_it_too(
    small_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[list[int]] = []

    def train_tail(backbone: Backbone, learn: Any, validation: Any, name: str, **told: Any) -> Any:
        taught.append([len(learn), len(validation)])
        return real(backbone, learn, validation, name, **told)

    real = tail.train_tail
    monkeypatch.setattr(tail, "train_tail", train_tail)
    notes: list[str] = []
    trained = run(small_bert, keep="bert tail", validation=0.25, effort="balanced", notes=notes)
    assert "bert tail is chosen, and is trained once more, with the validation rows." in notes
    sizes = trained.result.document()["splits"]
    assert taught == [[sizes["train"], sizes["validation"]], [sizes["train"] + sizes["validation"], 0]]
    tested = np.isin(hashes(TEXTS), trained.rows.test)
    scores = trained.predictor.probabilities([text for text, test in zip(TEXTS, tested, strict=True) if test])
    right = np.array(LABELS)[tested][:, None] == np.array(trained.labels)
    assert -np.log(scores[right]).mean() == pytest.approx(trained.result.document()["test"]["log_loss"], rel=1e-5)
    monkeypatch.setattr("classtune.jobs.backbones.learns_again", lambda held_out: False)
    once = run(small_bert, keep="bert tail", validation=0.25, effort="balanced")
    assert once.result.document()["training"] == trained.result.document()["training"]  # as it was judged
    assert not all(weight.equal(_weights_of(once)[name]) for name, weight in _weights_of(trained).items())


@pytest.mark.parametrize(
    ("train", "judged", "final", "crossed"),
    [(range(8), range(8, 10), range(8), False), (range(8), range(8), range(8), True)],
    ids=["rows that the user gave to judge", "cross-validated"],
)
def test_a_tail_is_not_trained_twice_where_it_has_learned_from_all(
    train: range, judged: range, final: range, crossed: bool
) -> None:
    folds = ((np.array(train), np.array(judged)),)
    assert not tail.learns_again(HeldOut(np.array(judged), folds, np.array(final), folds, crossed))
    assert tail.learns_again(HeldOut(np.arange(10), folds, np.arange(10), folds, crossed=False))


def test_a_blend_comes_back_with_the_same_scores(blend: tuple[Trained, Path]) -> None:
    trained, folder = blend
    predictor, bundle = load_predictor(folder)
    assert [member.kind for member in bundle.members] == ["lexical", "network", "network"]
    assert len(list((folder / MEMBERS).iterdir())) == 2
    assert bundle.main is bundle.members[1].model
    np.testing.assert_allclose(predictor.probabilities(NEW), trained.predictor.probabilities(NEW), atol=1e-6)
    alone = np.concatenate([predictor.probabilities([text]) for text in NEW])
    np.testing.assert_allclose(alone, predictor.probabilities(NEW), atol=1e-5)
    items = predictor.items(NEW)
    assert items.texts == 3
    np.testing.assert_allclose(items.pooled(predictor.run(items.items)), predictor.logits(NEW), atol=1e-5)


@pytest.mark.parametrize("validation", [0.0, 0.25])
def test_a_blend_needs_no_test_rows(validation: float, small_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classtune.jobs.contest.choose", all_of_them)
    trained = run(small_bert, test=0.0, validation=validation)
    assert {member.kind for member in trained.members} == {"lexical", "network"}
    assert trained.result.test is None
    assert trained.predictor.probabilities(NEW).shape == (len(NEW), 2)


def test_a_blend_is_explained_by_what_leaving_words_out_does(blend: tuple[Trained, Path]) -> None:
    predictor, _ = load_predictor(blend[1])
    found = explain(predictor, NEW[0])
    whole = predictor.probabilities([NEW[0]])[0].max()
    first = found["words"][0]
    less = predictor.probabilities([NEW[0].removeprefix("win ")])[0, predictor.labels.index(found["label"])]
    fall = np.log(whole / (1 - whole)) - np.log(less / (1 - less))
    assert first["weight"] == pytest.approx(fall, abs=1e-4)
    assert found["agreement"] is None
    assert "today" in as_text(found, color=False)
    assert "win" in as_html(found)


def test_a_member_that_is_missing_or_changed_is_refused(blend: tuple[Trained, Path], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "bundle"
    shutil.copytree(blend[1], folder)
    member = next(path for path in (folder / MEMBERS).iterdir() if path.name.endswith("lexical"))
    (member / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match=r"weights\.safetensors: is missing"):
        load_bundle(folder)
    shutil.rmtree(folder)
    shutil.copytree(blend[1], folder)
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    record["members"][0]["folder"] = "../elsewhere"
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(folder)


def test_tf_idf_alone_is_a_bundle_that_works(small_bert: Path, tmp_path: Path) -> None:
    trained = run(small_bert, keep="tf-idf")
    trained.save(tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "config.json").exists()
    predictor, bundle = load_predictor(tmp_path / "bundle")
    np.testing.assert_allclose(predictor.probabilities(NEW), trained.predictor.probabilities(NEW), atol=1e-9)
    assert explain(predictor, NEW[0])["words"]
    with pytest.raises(BundleError, match="holds no network"):
        bundle.network  # noqa: B018 - asking is the act
    table = table_from_rows(TEXTS[:20], LABELS[:20], name="later")
    judged = evaluate_bundle(tmp_path / "bundle", table, {"cost": "spam:fn=5"}, notify=print, progress=lambda *_: None)
    assert judged.test.rows == 20


@pytest.mark.parametrize("kind", ["blend", "tf-idf", "network"])
def test_report_card_and_screen_say_what_was_chosen(
    kind: str, request: pytest.FixtureRequest, small_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: dict[str, Any] = {"cost": "spam:fn=5", "deploy_prior": {"spam": 0.1}}
    keep = "tf-idf" if kind == "tf-idf" else f"{small_bert.name} probe"
    trained = request.getfixturevalue("blend")[0] if kind == "blend" else run(small_bert, keep=keep, **told)
    result = trained.result
    write_report(tmp_path / "report.html", result)
    show_training(result)
    page = re.sub(
        r"<svg.*?</svg>|<[^>]*>", " ", (tmp_path / "report.html").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    card, screen = model_card(result), capsys.readouterr().out
    card = card.replace("\\", "")
    for shown in (" ".join(html.unescape(text).split()) for text in (page, card, screen)):
        assert result.chosen.sentence in shown
        assert "ross-validation" in shown
        assert "validation 0," not in shown
        assert "0 validation" not in shown
        assert "None" not in shown.replace("top_k=None", "")
        assert ("under your costs and class prior" in shown.lower()) == (kind != "blend")
    assert ("Members of the blend" in page) == (kind == "blend")
    assert ("It is a blend" in card) == (kind == "blend")
    assert ("import classtune" in card) != result.hugging_face
    assert ("only `classtune.load` applies this classifier's class prior" in card) == result.hugging_face
    assert ("from transformers import" in card) == result.hugging_face
    assert ("not part of the classifier" in page) == (kind != "blend")
    assert ("Depth" in page) == ("depth:" in screen) == (kind != "tf-idf")


def test_what_is_kept_or_asked_for_must_be_there(small_bert: Path) -> None:
    with pytest.raises(SettingsError, match=r"no such candidate ships\. Known: tf-idf, bert probe\."):
        run(small_bert, keep="bert tail", effort="fast")  # a network that takes no probe would have one
    with pytest.raises(SettingsError, match="the fastest candidate, tf-idf, takes"):
        run(small_bert, max_ms=1e-7)


@pytest.mark.parametrize(
    ("keep", "told", "meant"),
    [
        ("tfidf", {}, "Did you mean 'tf-idf'?"),
        ("columns", {}, "Known: tf-idf, bert probe, bert tail, bert tail, last block."),
        ("tf-idf", {"hugging_face": True}, "Known: bert probe"),
        ("bert tail", {"trainable": "lora"}, "Known: tf-idf, bert probe, bert LoRA."),
        ("bert tail, last block", {"effort": "balanced"}, "Did you mean 'bert tail'?"),
        ("bert contrastive", {"effort": "balanced", "pooling": "mean"}, "Did you mean 'bert tail'?"),
    ],
)
def test_a_name_that_no_candidate_could_have_is_refused_before_anything_is_trained(
    keep: str, told: dict[str, Any], meant: str, small_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classtune.jobs.train.prepare", lambda *_, **__: pytest.fail("the work began"))
    with pytest.raises(SettingsError, match=f"keep = '{keep}': no such candidate ships") as refused:
        run(small_bert, keep=keep, **told)
    assert meant in str(refused.value)


def test_hugging_faces_own_form_is_one_network_that_pipeline_reads(small_bert: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    trained = run(small_bert, hugging_face=True)
    trained.save(tmp_path / "bundle")
    record = json.loads((tmp_path / "bundle" / RECORD).read_text(encoding="utf-8"))
    assert record["hugging_face"] is True
    assert len(record["members"]) == 1
    ask = pipeline("text-classification", model=str(tmp_path / "bundle"), top_k=None)
    expected = trained.predictor.probabilities(NEW)
    for row, answer in enumerate(ask(NEW)):
        scores = {entry["label"]: entry["score"] for entry in answer}
        assert [scores[label] for label in trained.labels] == pytest.approx(expected[row].tolist(), abs=1e-4)


def test_a_shifted_test_is_said_and_what_loses_to_the_majority_is_not_recommended(small_bert: Path) -> None:
    table = table_from_rows(TEXTS, LABELS, name="rows")
    texts = [text.replace("now", "then") for text, _ in rows(140)[80:]]
    others = table_from_rows(texts, ["ham" if number % 3 else "spam" for number in range(60)], name="elsewhere")
    settings = resolve(overrides={**SEVERAL, "effort": "fast", "model": str(small_bert)})
    trained = train(table, settings, test=others, notify=lambda _: None, progress=lambda *_: None)
    said = trained.result.document()["verdict"]["sentence"]
    assert "beyond noise: the test rows differ from those it learned from" in said
    assert "Do not use it as it is: always giving the most common label is right more often" in said


def test_when_tf_idf_is_enough_it_is_what_was_saved(small_bert: Path) -> None:
    trained = run(small_bert, effort="balanced")
    assert [member.name for member in trained.members] == ["tf-idf"]
    assert (
        "is enough here, and is what was saved: 0 errors on 16 test texts."
        in trained.result.document()["verdict"]["sentence"]
    )


def test_best_trains_the_last_block_alone_too_and_it_can_be_kept(small_bert: Path, tmp_path: Path) -> None:
    before = {name: weight.clone() for name, weight in _weights_of(run(small_bert, keep="bert probe")).items()}
    for keep, trained_blocks in (("bert tail", {"1", "2"}), ("bert tail, last block", {"2"})):
        trained = run(small_bert, keep=keep)
        assert [member.name for member in trained.members] == [keep]
        changed = {name for name, weight in _weights_of(trained).items() if not weight.equal(before[name])}
        assert {part for name in changed if (part := name.partition("layer.")[2][:1])} == trained_blocks
    trained.save(tmp_path / "bundle")
    expected = trained.predictor.logits(NEW)
    np.testing.assert_allclose(load_predictor(tmp_path / "bundle")[0].logits(NEW), expected, atol=1e-4)
    names = [one["name"] for one in run(small_bert, effort="balanced").result.document()["comparison"]["candidates"]]
    assert "bert tail, last block" not in names


def test_few_rows_have_a_network_trained_on_pairs_which_can_be_kept(
    small_bert: Path, small_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classtune.training.contrastive.STEPS", 3)
    few: dict[str, Any] = {"depth": "auto", "keep": "bert contrastive"}
    trained = run(small_bert, **few)
    assert trained.result.document()["chosen"]["losses"]["bert contrastive"] > 0  # judged by cross-validation
    start = {name: weight.clone() for name, weight in _weights_of(run(small_bert, keep="bert probe")).items()}
    changed = {name for name, weight in _weights_of(trained).items() if not weight.equal(start[name])}
    assert {part for name in changed if (part := name.partition("layer.")[2][:1])} == {"0", "1", "2"}
    assert not any("embeddings" in name for name in changed)
    trained.save(tmp_path / "bundle")
    expected = trained.predictor.logits(NEW)
    np.testing.assert_allclose(load_predictor(tmp_path / "bundle")[0].logits(NEW), expected, atol=1e-4)
    folder = tmp_path / "run"
    again = run(small_bert, folder=folder, **few)
    np.testing.assert_array_equal(again.predictor.logits(NEW), expected)
    assert [member.name for member in run(small_bert, test=0.0, **few).members] == ["bert contrastive"]
    for told in ({"effort": "fast"}, {"hugging_face": True}, {"pooling": "mean"}, {"trainable": 1}):
        with pytest.raises(SettingsError, match="no such candidate ships"):
            run(small_bert, **(few | told))
    with pytest.raises(SettingsError, match="no such candidate ships"):
        run(small_llama, depth="auto", keep="llama contrastive")
    monkeypatch.setattr("classtune.candidates.contrastive.TEXTS", 3)  # less than two rows of each class
    with pytest.raises(SettingsError, match="no such candidate ships"):
        run(small_bert, **few)


def test_training_on_pairs_that_takes_long_is_not_begun_unless_asked_for(
    small_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classtune.candidates.contrastive.MOST_SECONDS", 0.0)
    monkeypatch.setattr("classtune.jobs.backbones.FEW_ERRORS", -1)
    monkeypatch.setattr("classtune.jobs.backbones.SMALL_ERROR", -1.0)
    monkeypatch.setattr("classtune.training.contrastive.STEPS", 3)
    notes: list[str] = []
    run(small_bert, depth="auto", effort="balanced", notes=notes)
    assert any(note.startswith("bert contrastive is not tried: it would take about") for note in notes)
    asked = run(small_bert, depth="auto", effort="balanced", keep="bert contrastive")
    assert [member.name for member in asked.members] == ["bert contrastive"]


def _weights_of(trained: Trained) -> dict[str, Any]:
    network: Any = trained.members[0].model
    return dict(network.base.named_parameters())


def test_a_class_that_is_never_answered_is_said(small_bert: Path) -> None:
    texts = [f"{text} {number % 7}" for number, (text, _) in enumerate(rows(120))]
    labels = ["rare" if number % 40 == 0 else label for number, (_, label) in enumerate(rows(120))]
    settings = resolve(overrides={**SEVERAL, "effort": "fast", "model": str(small_bert), "test": 0.0})
    notes: list[str] = []
    table = table_from_rows(texts, labels, name="rows")
    train(table, settings, notify=notes.append, progress=lambda *_: None)
    assert any(note.startswith("Never answered on") and "'rare'" in note for note in notes)


def test_what_cannot_ship_makes_no_tail_needless(small_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TF-IDF has every row right and cannot ship in Hugging Face's form: the network is trained all the same."""
    from classtune.jobs.backbones import Backbones

    errors = Backbones._errors
    monkeypatch.setattr(
        Backbones, "_errors", lambda self, entry, rows: 0 if entry.ships is None else 9 + errors(self, entry, rows)
    )
    names = [
        one["name"]
        for one in run(small_bert, effort="balanced", hugging_face=True).result.document()["comparison"]["candidates"]
    ]
    assert f"{small_bert.name} tail" in names


def test_a_further_backbone_is_tried_where_it_can_gain_or_is_asked_for(
    small_bert: Path, small_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from classtune.jobs.backbones import Backbones

    monkeypatch.setattr("classtune.jobs.backbones.backbone_names", lambda settings: [str(small_bert), str(small_llama)])
    monkeypatch.setattr(Backbones, "_errors", lambda self, entry, rows: 0)
    told = {key: value for key, value in SEVERAL.items() if key not in ("model", "effort")}
    table = table_from_rows(TEXTS, LABELS, name="rows")

    def names(**more: Any) -> tuple[list[str], list[str]]:
        notes: list[str] = []
        settings = resolve(overrides={**told, "effort": "balanced", **more})
        trained = train(table, settings, notify=notes.append, progress=lambda *_: None)
        return [one["name"] for one in trained.result.document()["comparison"]["candidates"]], notes

    without, notes = names()
    assert not [name for name in without if name.startswith(small_llama.name)]
    assert any(
        f"{small_llama.name} is not tried: without it 0 of 64 held-out rows went wrong" in note for note in notes
    )
    asked, _ = names(keep=f"{small_llama.name} probe")
    assert f"{small_llama.name} probe" in asked


def test_fast_trains_no_tail(small_bert: Path) -> None:
    names = [one["name"] for one in run(small_bert, effort="fast").result.document()["comparison"]["candidates"]]
    assert not [name for name in names if name.endswith("tail")]
    assert f"{small_bert.name} probe" in names


def test_a_backbone_that_cannot_be_had_is_left_out_and_said(small_bert: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    trained = run(small_bert, tmp_path / "nowhere", notes=notes)
    assert any("cannot be had" in note for note in notes)
    assert any(name.startswith(small_bert.name) for name in trained.result.document()["chosen"]["losses"])


def test_a_stopped_run_goes_on_to_the_same_bytes(
    small_llama: Path, small_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(small_llama, small_bert)
    whole.save(tmp_path / "whole")
    stops = iter([3, 7])
    left = next(stops)

    def stop(point: dict[str, Any]) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    from classtune.errors import Interrupted
    from classtune.training.extensions import Extensions

    settings = {**SEVERAL, "model": f"{small_llama},{small_bert}"}
    table = table_from_rows(TEXTS, LABELS, name="rows")
    for _ in range(2):
        with pytest.raises(Interrupted):
            train(
                table,
                resolve(overrides=settings),
                run_folder=tmp_path / "run",
                resume=True,
                extensions=Extensions(on_epoch=stop),
                notify=lambda _: None,
                progress=lambda *_: None,
            )
        left = next(stops, 1000)
    resumed = run(small_llama, small_bert, folder=tmp_path / "run")
    resumed.save(tmp_path / "resumed")
    for path in sorted((tmp_path / "whole").rglob("*.safetensors")):
        other = tmp_path / "resumed" / path.relative_to(tmp_path / "whole")
        assert path.read_bytes() == other.read_bytes(), path.name
