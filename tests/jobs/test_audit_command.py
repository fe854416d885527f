"""`classtune audit`: findings as JSON and on the screen, a mended table, leaks, wrong labels."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from small import LIMIT, Run, pair_rows, rows, write_csv

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.tables import read_table
from classtune.training import probe

pytest_plugins = ["bundle_fixtures"]

# Told apart by more than a number, so that they are no near copies.
WORDS = ["garden", "violin", "bridge", "winter", "market", "harbour", "teacher", "window", "planet", "kitchen"]


def varied(count: int) -> list[tuple[str, str]]:
    kinds = (("win a {} prize, call about the {} now", "spam"), ("see you near the {} by the {}, mate", "ham"))
    return [(kinds[i % 2][0].format(WORDS[i % 10], WORDS[(i // 10 + 3) % 10]), kinds[i % 2][1]) for i in range(count)]


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    lines = [
        *varied(40),
        ("cafÃ© at noon &amp; later", "ham"),
        ("", "ham"),
        (varied(1)[0][0], "ham"),  # with another label
        (varied(2)[1][0], "ham"),  # a copy
        ("a prize of winter", "Spam"),
    ]
    return write_csv(tmp_path / "dirty.csv", lines)


def test_the_document_names_every_fault_with_its_lines(dirty: Path, small_llama: Path, command: Run) -> None:
    document = command("audit", dirty, "--model", small_llama, "--json").document
    assert document["rows"] == 45
    found = {finding["kind"]: finding for finding in document["findings"]}
    lines = {kind: [example["line"] for example in finding["examples"]] for kind, finding in found.items()}
    assert lines["empty-text"] == [43]
    assert lines["mojibake"] == [42]
    assert 46 in lines["label-spelling"]
    assert found["exact-duplicates"]["count"] == 2
    assert found["conflicting-labels"]["count"] >= 1
    for finding in document["findings"]:
        assert finding.keys() >= {"kind", "count", "share", "examples", "advice", "effect"}
        assert all(example.keys() >= {"line", "text"} for example in finding["examples"])


def test_texts_beyond_the_limit_of_the_model_are_counted(tmp_path: Path, small_llama: Path, command: Run) -> None:
    data = write_csv(tmp_path / "long.csv", [*varied(40), ("word " * LIMIT, "ham")])
    document = command("audit", data, "--model", small_llama, "--json").document
    (finding,) = (finding for finding in document["findings"] if finding["kind"] == "too-long")
    assert (finding["count"], finding["examples"][0]["line"]) == (1, 42)
    assert document["lengths"]["tokens"]["max"] > LIMIT


def test_the_screen_says_what_to_do(dirty: Path, small_llama: Path, command: Run) -> None:
    ran = command("audit", dirty, "--model", small_llama, "-q")
    assert (ran.code, ran.err) == (0, "")
    assert "mojibake: 1 (2.2 %)" in ran.out
    assert "What to do: " in ran.out
    assert re.search("line 42.*: cafÃ© at noon", ran.out)
    shown = ran.out.splitlines()
    mended = [place for place, line in enumerate(shown) if line.strip().startswith("mended: ")]
    assert mended
    assert all(shown[place].index("café") == shown[place - 1].index("cafÃ©") for place in mended)


def test_the_two_texts_of_a_near_copy_stand_under_each_other(tmp_path: Path, small_llama: Path, command: Run) -> None:
    text = "please send the parcel to the new address of my sister in the harbour"
    data = write_csv(tmp_path / "near.csv", [*varied(40), (f"{text} today", "ham"), (f"{text} now", "spam")])
    lines = command("audit", data, "--model", small_llama, "-q").out.splitlines()
    places = [place for place, line in enumerate(lines) if f"{text} now" in line]
    assert places
    for place in places:
        assert lines[place].strip().startswith("line 43, label spam")
        assert lines[place + 1].strip().startswith("line 42")
        assert lines[place].index(text) == lines[place + 1].index(text)
    assert not any("other text" in line for line in lines)


def test_both_texts_of_a_pair_are_looked_at_and_shown(tmp_path: Path, small_llama: Path, command: Run) -> None:
    lines = [[question, answer, label] for question, answer, label in pair_rows(40)]
    data = write_csv(tmp_path / "pairs.csv", [*lines, [*lines[0][:2], "other"]], ("question", "answer", "label"))
    told = ["audit", data, "--model", small_llama, "--text", "question", "--pair", "answer"]
    findings = {one["kind"]: one for one in command(*told, "--json").document["findings"]}
    assert findings["conflicting-labels"]["count"] == 2
    (example,) = findings["conflicting-labels"]["examples"]
    assert (example["text"], example["pair"]) == tuple(lines[0][:2])
    shown = command(*told, "-q").out.splitlines()
    place = next(place for place, line in enumerate(shown) if line.strip().startswith("line 42, label other:"))
    assert [line.split(":", 1)[1].strip() for line in shown[place : place + 4]] == lines[0][:2] * 2
    assert "line 2, label fits" in shown[place + 2]
    refused = command(*told, "--fix", tmp_path / "clean.csv")
    assert (refused.code, "--fix with --pair" in refused.err) == (2, True)


def test_columns_beside_the_text_tell_rows_apart_as_they_do_in_training(
    tmp_path: Path, small_llama: Path, command: Run
) -> None:
    lines = [(text, "card", label) for text, label in varied(40)]
    text = lines[0][0]
    told_apart = [("it does not work", "card", "billing"), ("it does not work", "app", "login")]
    data = write_csv(tmp_path / "t.csv", [*lines, *told_apart, (text, "card", "ham")], ("text", "product", "label"))
    told = ["audit", data, "--model", small_llama, "--json"]
    counts = {}
    for beside in ([], ["--with", "product"]):
        clean = tmp_path / f"clean{len(beside)}.csv"
        document = command(*told, *beside, "--fix", clean).document
        (finding,) = (one for one in document["findings"] if one["kind"] == "conflicting-labels")
        left = read_table(clean, TableFormat(keep=True))
        counts[len(beside)] = finding["count"], document["conflicting"], left.texts.count("it does not work")
        assert text not in left.texts
    assert counts == {0: (4, 2, 0), 2: (2, 1, 2)}
    refused = command(*told, "--with", "produkt")
    assert (refused.code, "no column is called 'produkt' (--with). Did you mean 'product'?" in refused.err) == (2, True)


def test_copies_across_given_files_are_found(tmp_path: Path, small_llama: Path, command: Run) -> None:
    data, test = (write_csv(tmp_path / name, lines) for name, lines in (("a.csv", varied(40)), ("b.csv", varied(3))))
    document = command("audit", data, "--test", test, "--model", small_llama, "--json").document
    (leak,) = (finding for finding in document["findings"] if finding["kind"] == "leak")
    assert (leak["count"], leak["detail"]["part"]) == (3, "test")


def test_labels_of_one_file_alone_are_named_with_their_counts(tmp_path: Path, small_llama: Path, command: Run) -> None:
    """1.0 is the label 1 there too."""
    texts = [text for text, _ in varied(40)]
    data = write_csv(tmp_path / "a.csv", [(text, str(row % 3)) for row, text in enumerate(texts)])
    test = write_csv(
        tmp_path / "b.csv",
        [(f"{text} again", str(row % 2 + 1.0 + 2 * (row > 7))) for row, text in enumerate(texts[:9])],
    )
    ran = command("audit", data, "--test", test, "--model", small_llama)
    assert "No training row has '3.0' (1 test row)." in ran.out
    assert "missing-labels: 1 class" in ran.out
    assert "No test row has '0' (14 training rows): how well they are answered is not measured." in ran.out


def test_a_mended_table_is_clean_and_every_change_is_written_down(
    dirty: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    fixed = command("audit", dirty, "--model", small_llama, "--fix", tmp_path / "clean.csv", "--json").document["fixed"]
    with (tmp_path / "clean.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == fixed["rows"]
    assert {"text": "café at noon & later", "label": "ham"} in lines
    assert {line["label"] for line in lines} == {"ham", "spam"}
    changes = [json.loads(line) for line in Path(fixed["changes"]).read_text(encoding="utf-8").splitlines()]
    assert sum(fixed["done"].values()) == len(changes)
    assert {42, 43, 46} <= {change["line"] for change in changes}
    again = command("audit", tmp_path / "clean.csv", "--model", small_llama, "--json").document
    kinds = {finding["kind"] for finding in again["findings"]}
    assert not kinds & {"mojibake", "html-entities", "empty-text", "exact-duplicates", "conflicting-labels"}
    refused = command("audit", dirty, "--model", small_llama, "--fix", tmp_path / "clean.xlsx")
    assert (refused.code, "written as .csv or .jsonl" in refused.err) == (2, True)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_mended_table_keeps_its_other_columns(suffix: str, small_llama: Path, tmp_path: Path, command: Run) -> None:
    lines = [[str(n), text, label, "2026-11-28", str(n / 2)] for n, (text, label) in enumerate(varied(20))]
    lines += [["98", "cafÃ© at noon", "ham", "", "0.5"], ["99", *lines[3][1:]]]
    data = write_csv(tmp_path / "t.csv", lines, ("id", "body", "kind", "day", "price"))
    out = tmp_path / f"clean{suffix}"
    told = ["--model", small_llama, "--text", "body", "--label", "kind", "--fix", out]
    assert command("audit", data, *told).code == 0
    table = read_table(out, TableFormat(text="body", label="kind", keep=True))
    assert list(table.columns) == ["id", "body", "kind", "day", "price"]
    kept = [list(row) for row in zip(*table.columns.values(), strict=True)]
    assert kept == [*lines[:20], ["98", "café at noon", "ham", "", "0.5"]]


def test_a_mended_table_of_joined_texts_or_without_a_header_is_read_again(
    small_llama: Path, tmp_path: Path, command: Run
) -> None:
    lines = [[label, f"subject {n}", text] for n, (text, label) in enumerate(varied(20))]
    joined, plain = tmp_path / "joined.csv", tmp_path / "plain.csv"
    data = write_csv(tmp_path / "t.csv", lines, ("kind", "subject", "body"))
    told = ["--text", "subject,body", "--label", "kind", "--fix", joined, "--model", small_llama]
    assert command("audit", data, *told).code == 0
    table = read_table(joined, TableFormat(text="subject,body", label="kind"))
    assert (table.texts[0], table.labels) == (f"subject 0\n\n{lines[0][2]}", [line[0] for line in lines])
    bare = write_csv(tmp_path / "bare.csv", lines[1:], lines[0])
    told = ["--no-header", "--text", "3", "--label", "1", "--fix", plain, "--model", small_llama]
    assert command("audit", bare, *told).code == 0
    table = read_table(plain)
    assert (table.texts, table.labels) == ([line[2] for line in lines], [line[0] for line in lines])


def test_what_cannot_be_mended_is_said_before_any_work(small_llama: Path, tmp_path: Path, command: Run) -> None:
    data = write_csv(tmp_path / "t.csv", [("a text", "a;b"), ("another", "b")])
    told = ["--label-separator", ";", "--model", "no-such-model", "--fix", tmp_path / "clean.csv"]
    refused = command("audit", data, *told)
    assert (refused.code, "mends tables with one label a text" in refused.err) == (2, True)


def test_wrong_labels_are_found(tmp_path: Path, small_bert: Path, command: Run) -> None:
    pytest.importorskip("cleanlab", reason="label errors need the extra: pip install classtune[audit]")
    lines = rows(120)
    wrong = (11, 40, 77)
    for row in wrong:
        lines[row] = (lines[row][0], "ham" if lines[row][1] == "spam" else "spam")
    data = write_csv(tmp_path / "rows.csv", lines)
    document = command("audit", data, "--model", small_bert, "--label-errors", "--json").document
    (finding,) = (finding for finding in document["findings"] if finding["kind"] == "label-errors")
    assert {example["line"] for example in finding["examples"]} >= {row + 2 for row in wrong}


def test_no_probe_judges_a_row_whose_like_it_saw(
    tmp_path: Path, small_bert: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe that saw copies of a row believes their label: none with a wrong one would be noticed."""
    pytest.importorskip("cleanlab", reason="label errors need the extra: pip install classtune[audit]")
    begin = " ".join(["market"] * 300)  # more tokens than are read
    lines = [*rows(40), (f"{begin} garden violin {'winter ' * 90}", "ham"), (f"{begin} {'planet ' * 99}", "spam")]
    copies = [(text.upper(), label) for text, label in lines[:10]] + [(f"{text}!", label) for text, label in lines[:10]]
    data = write_csv(tmp_path / "rows.csv", [*lines, *copies])
    given: list[Any] = []
    real = probe.out_of_sample

    def spy(*arguments: Any, **options: Any) -> Any:
        given.append(options["groups"])
        return real(*arguments, **options)

    monkeypatch.setattr(probe, "out_of_sample", spy)
    command("audit", data, "--model", small_bert, "--label-errors", "--json")
    (groups,) = given
    assert groups[:10].tolist() == groups[42:52].tolist() == groups[52:].tolist()
    assert groups[40] == groups[41]
    assert len(set(groups.tolist())) > 20


def test_without_the_model_at_hand_lengths_are_not_checked_and_it_says_so(
    dirty: Path, command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLASSTUNE_HOME", str(tmp_path / "nothing"))
    ran = command("audit", dirty, "--json")
    assert ran.document["rows"] == 45
    assert "lengths in tokens are not checked" in ran.err
