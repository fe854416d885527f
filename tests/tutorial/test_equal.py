"""The recipe `llms-from-scratch` is the tutorial's procedure: its numbers are those of plain PyTorch (plain.py).

The recipe must stay that one tail and nothing else, whatever `train` learns to do beside it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpt2_folders import save_gpt2
from plain import PARTS, PlainClassifier, Recorded, Tutorial, longest, padded, read_messages
from small import one_thread, rows

from classtune.config import Settings, resolve
from classtune.data.reading.tables import Table, table_from_rows
from classtune.data.splits import Splits, tutorial_split
from classtune.jobs.train import train
from classtune.jobs.tutorial.rows import ROWS
from classtune.model.adapters import add_lora
from classtune.model.backbone import load_backbone, quiet_transformers
from classtune.training.loop import shuffled_batches

pytest_plugins = ["gpt2_fixture"]

DATA = Path(os.environ.get("CLASSTUNE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
MESSAGES = DATA / "sms_spam" / "SMSSpamCollection"
# SEED.md: of the splits as ``label<TAB>text`` lines, joined by newlines.
HASHES = {
    "train": "8a066fcb76c3d41668e83c5da80fb5968f053b1eef42eea2f875cae5fe44a423",
    "validation": "88ba1d478c04b4698721c60b7ef26cdf5630f8bb9ae231a4b0b95be951f46be7",
    "test": "14bfb3d256e166ea179210b8617d1332af94ad5122d0439bf6ae1b65f41d1a8e",
}
# What plain.py is told for each row that has a plain form.
PLAIN: dict[int, dict[str, Any]] = {
    1: {},
    2: {"position": "first"},
    3: {"trained": "head"},
    4: {"trained": 2},
    5: {"trained": "all"},
    11: {"trained": "lora"},
    16: {"position": "real"},
    17: {"causal": False},
    19: {"position": "mean"},
}
RHYTHM = {"evaluate_every": 3, "epochs": 3}  # 60 rows are 5 steps an epoch


def table_and_splits(seed: int) -> tuple[Table, Splits]:
    texts, labels = zip(*rows(60), strict=True)
    return table_from_rows(texts, labels, name="messages"), tutorial_split(texts, labels, seed=seed)


def plain_tutorial(folder: Path, table: Table, splits: Splits, **told: Any) -> Tutorial:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    texts = {part: [table.texts[row] for row in getattr(splits, part)] for part in PARTS}
    length = longest(tokenizer, texts["train"])
    sets = {}
    for part in PARTS:
        truth = [int((table.labels or [])[row] == "spam") for row in getattr(splits, part)]
        sets[part] = padded(tokenizer, texts[part], length), torch.tensor(truth)
    with quiet_transformers():
        return Tutorial(PlainClassifier(folder, **told), sets)


def start_alike(plain: PlainClassifier, settings: Settings) -> None:
    """Give the plain model the head, and the LoRA, that classtune begins with."""
    network = load_backbone(Path(settings.model), ["ham", "spam"], settings)
    torch.manual_seed(settings.seed)  # as a training begins
    if settings.trainable == "lora":
        network.freeze(network.depth)
        add_lora(network, rank=settings.lora_rank, alpha=settings.lora_alpha, dropout=settings.dropout)
    mine = dict(plain.named_parameters())
    head: Any = network.head
    with torch.no_grad():
        plain.head.weight.copy_(head.linear.weight)
        plain.head.bias.copy_(head.linear.bias)
        for name, value in network.base.named_parameters():
            if "lora_" in name:
                mine[f"gpt2.{name}"].copy_(value)


def run_plain(folder: Path, table: Table, splits: Splits, settings: Settings, **told: Any) -> Recorded:
    """The reference, on the batches that classtune draws: equally long texts, so that only the seed decides."""
    tutorial = plain_tutorial(folder, table, splits, **told)
    start_alike(tutorial.model, settings)
    train_rows = np.arange(len(splits.train))
    same = np.full(len(splits.train), 1)
    return tutorial.run(
        lambda epoch: shuffled_batches(same, train_rows, settings, epoch),
        epochs=settings.epochs,
        every=settings.evaluate_every,
        accuracy_batches=None,
    )


def run_ours(table: Table, settings: Settings) -> dict[str, Any]:
    with one_thread():
        return train(table, settings, notify=lambda _: None, progress=lambda *_: None).result.document()


def assert_equal(ours: dict[str, Any], plain: Recorded, *, within: float = 1e-4) -> None:
    history = ours["training"]["history"]
    inner = [point for point in history if point["train_accuracy"] is None]
    found = [(point["step"], point["train_loss"], point["validation_loss"]) for point in inner]
    assert len(found) == len(plain.losses) > 0
    np.testing.assert_allclose(found, plain.losses, rtol=0, atol=within)
    epochs = [point for point in history if point["train_accuracy"] is not None]
    np.testing.assert_allclose(
        [(point["train_loss"], point["validation_loss"]) for point in epochs], plain.epochs, rtol=0, atol=within
    )
    accuracies = [(point["train_accuracy"], point["validation_accuracy"]) for point in epochs]
    np.testing.assert_allclose(accuracies, plain.accuracies, rtol=0, atol=1e-6)
    final = {"train": accuracies[-1][0], "validation": accuracies[-1][1], "test": ours["test"]["accuracy"]}
    assert final == pytest.approx(plain.final, abs=1e-6)
    assert plain.losses[0][1] - plain.losses[-1][1] > 10 * within, "nothing was learned, so nothing is compared"


@pytest.mark.parametrize("row", list(PLAIN))
def test_a_row_has_the_numbers_of_the_plain_procedure(row: int, gpt2: Callable[[str], Path]) -> None:
    folder = gpt2("gpt2")
    settings = resolve(
        "llms-from-scratch", {**ROWS[row].settings, **RHYTHM, "model": str(folder), "learning_rate": 5e-4}
    )
    table, splits = table_and_splits(settings.seed)
    with one_thread(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("plain.RATE", settings.learning_rate)
        plain = run_plain(folder, table, splits, settings, **PLAIN[row])
    assert_equal(run_ours(table, settings), plain)


def test_the_last_weights_are_kept_and_no_epoch_is_left_out(gpt2: Callable[[str], Path]) -> None:
    """Validation texts are worded as those of the other class: the better a model learns, the worse it does there."""
    settings = resolve(
        "llms-from-scratch",
        {**RHYTHM, "model": str(gpt2("gpt2")), "pooling": "first", "learning_rate": 5e-4, "epochs": 5},
    )
    texts, labels = map(list, zip(*rows(60), strict=True))
    splits = tutorial_split(texts, labels, seed=settings.seed)  # by the labels alone
    for row in splits.validation:
        texts[row] = next(text for text, label in rows(60) if label != labels[row])
    table = table_from_rows(texts, labels, name="messages")
    with one_thread(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("plain.RATE", settings.learning_rate)
        plain = run_plain(gpt2("gpt2"), table, splits, settings, position="first")
    validation = [loss for _, loss in plain.epochs]
    assert validation[0] == min(validation) < validation[-1] - 0.1
    with one_thread():
        ours = train(table, settings, notify=lambda _: None, progress=lambda *_: None)
    assert_equal(ours.result.document(), plain)
    logits, truth = ours.validation
    kept = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(truth))
    assert float(kept) == pytest.approx(validation[-1], abs=1e-4)


def test_row_18_is_row_1() -> None:
    assert ROWS[18].same_as == 1
    assert ROWS[18].settings == ROWS[1].settings == {}
    # The option never reaches the loss: no class has its number, so that no row is left out.
    truth, logits = torch.tensor([0, 1, 1]), torch.tensor([[0.3, -1.0], [2.0, 0.1], [0.0, 0.5]])
    ignoring = torch.nn.functional.cross_entropy(logits, truth, ignore_index=50256)
    assert torch.equal(ignoring, torch.nn.functional.cross_entropy(logits, truth))


@pytest.fixture(scope="module")
def messages() -> Path:
    if not MESSAGES.exists():
        pytest.skip(f"no messages in {MESSAGES} (set CLASSTUNE_TEST_DATA)")
    return MESSAGES


@pytest.fixture
def tutorials_table(messages: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    from classtune.data.catalogue import load_dataset
    from classtune.data.reading.tables import TableFormat

    monkeypatch.setenv("CLASSTUNE_DATA", str(DATA))
    return load_dataset("sms-spam", TableFormat(quoting=resolve("llms-from-scratch").quoting))


def test_the_split_is_the_tutorials_own(messages: Path, tutorials_table: Table) -> None:
    table = tutorials_table
    splits = tutorial_split(table.texts, table.labels or [], seed=123)
    theirs = read_messages(messages)
    for part, expected in HASHES.items():
        ours = [((table.labels or [])[row], table.texts[row]) for row in getattr(splits, part)]
        assert ours == theirs[part]
        assert hashlib.sha256("\n".join(map("\t".join, ours)).encode()).hexdigest() == expected


def test_the_recipe_as_it_is_has_the_plain_numbers_on_the_tutorials_messages(
    tutorials_table: Table, tmp_path: Path
) -> None:
    """All 650 steps of row 1, the recipe's own settings and rhythm, but for the model, which has two small blocks."""
    if not (DATA / "gpt2_tokenizer" / "vocab.bpe").exists():
        pytest.skip(f"no GPT-2 merges in {DATA} (set CLASSTUNE_TEST_DATA)")
    from gpt2 import LONGEST, gpt2_tokenizer

    folder = save_gpt2(tmp_path / "gpt2", 2, tokenizer=gpt2_tokenizer(DATA / "gpt2_tokenizer" / "vocab.bpe"))
    settings = resolve("llms-from-scratch", {"model": str(folder)})
    splits = tutorial_split(tutorials_table.texts, tutorials_table.labels or [], seed=settings.seed)
    with one_thread():
        plain = run_plain(folder, tutorials_table, splits, settings)
    ours = run_ours(tutorials_table, settings)
    assert_equal(ours, plain)
    assert ours["settings"]["padding"] == LONGEST
    assert [point["step"] for point in ours["training"]["history"]][-1] == 650
