"""Everything that the core promises, in an environment without any extra: ``make test-core``, ``make test-package``.

A program of its own, since pytest is no part of the core. It imports every module, trains, saves, loads and predicts
in Python and at the command line, and checks that each door to a missing extra names the command that installs it.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import small

# Modules that only `serve` reaches, which needs its extra, with a module of that extra.
NEEDS_SERVE = ("classtune.server", "fastapi")
EXTRAS = (
    "fastapi",
    "gradio",
    "xlsxwriter",
    "python_calamine",
    "peft",
    "optuna",
    "onnxruntime",
    "openvino",
    "ray",
    "cleanlab",
)


def main() -> None:
    """Run every check; an assertion names what is wrong."""
    absent = {name for name in EXTRAS if importlib.util.find_spec(name) is None}
    print("extras that are not installed:", ", ".join(sorted(absent)) or "none")
    print(f"{import_everything(absent)} modules imported")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = small.save_model(folder / "model", "llama")
        table = small.write_csv(folder / "messages.csv", small.rows())
        in_python(model, folder / "python")
        at_the_command_line(model, table, folder / "bundle")
        doors_name_their_extra(model, folder / "bundle", table, absent)
    print("the core works alone")


def import_everything(absent: set[str]) -> int:
    """Import every module of classtune; gives how many."""
    import classtune

    count = 0
    for module in pkgutil.walk_packages(classtune.__path__, "classtune."):
        if module.name == "classtune.__main__" or (module.name.startswith(NEEDS_SERVE[0]) and NEEDS_SERVE[1] in absent):
            continue
        importlib.import_module(module.name)
        count += 1
    assert count > 80, count
    return count


def in_python(model: Path, folder: Path) -> None:
    """The estimator, and scikit-learn's tools around it."""
    from classtune import TextClassifier, load

    texts, labels = zip(*small.rows(), strict=True)
    classifier = TextClassifier(str(model), settings=small.QUICK | {"epochs": 6}).fit(texts, labels)
    classifier.save(folder)
    assert load(folder).predict(["win a prize, call now 7 today", "see you at 8 then, mate"]).tolist() == [
        "spam",
        "ham",
    ]


def at_the_command_line(model: Path, table: Path, bundle: Path) -> None:
    """Commands in processes of their own."""
    quick = [f"--set={key}={value}" for key, value in small.QUICK.items()]
    command("train", table, "-o", bundle, "--model", model, *quick)
    assert json.loads(command("predict", bundle, "win a prize", "--json"))
    command("predict", bundle, table, "-o", bundle.with_suffix(".csv"))
    for verb in ("evaluate", "explain"):
        command(verb, bundle, table if verb == "evaluate" else "win a prize")
    command("info", bundle)
    command("audit", table)
    command("models")
    command("datasets")


def command(*arguments: object, code: int = 0) -> str:
    """What a command prints on standard output (of an error: on standard error)."""
    ran = subprocess.run(
        [sys.executable, "-m", "classtune", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == code, f"classtune {' '.join(map(str, arguments))}: {ran.returncode}\n{ran.stderr}"
    return ran.stderr if code else ran.stdout


def doors_name_their_extra(model: Path, bundle: Path, table: Path, absent: set[str]) -> None:
    """What cannot be done without an extra says so in one sentence, before any work is done."""
    new = table.with_name("new.csv")
    new.write_text("text\nhello\n", encoding="utf-8")
    doors: dict[str, tuple[str, tuple[Any, ...]]] = {
        "fastapi": ("serve", ("serve", bundle)),
        "peft": ("lora", ("train", table, "-o", bundle.with_name("b2"), "--model", model, "--trainable", "lora")),
        "optuna": ("tune", ("train", table, "-o", bundle.with_name("b3"), "--model", model, "--tune", "1s")),
        "xlsxwriter": ("excel", ("predict", bundle, table, "-o", bundle.with_suffix(".xlsx"))),
        "onnxruntime": ("onnx", ("export", bundle, "--to", "onnx", "-o", bundle.with_name("onnx"))),
        "openvino": ("openvino", ("export", bundle, "--to", "openvino", "-o", bundle.with_name("ov"))),
        "ray": ("ray", ("predict", bundle, new, "-o", f"{bundle}-shards/", "--engine", "ray")),
        "cleanlab": ("audit", ("audit", table, "--label-errors", "--model", model)),
    }
    for module, (extra, arguments) in doors.items():
        if module in absent:
            shown = command(*arguments, code=2)
            assert f'pip install "classtune[{extra}]"' in shown, shown
            assert "Traceback" not in shown, shown
            print(f"{extra}: {shown.strip()}")
    if "python_calamine" in absent:
        excel_names_its_extra()


def excel_names_its_extra() -> None:
    """A table of Excel, which nothing here can write: the error comes before the file is looked into."""
    from classtune.data.reading.tables import TableFormat, read_table
    from classtune.errors import UserError

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "table.xlsx"
        path.write_bytes(b"PK\x03\x04" + bytes(100))
        shown = "it was read"
        try:
            read_table(path, TableFormat(), stdin=io.BytesIO())
        except UserError as error:
            shown = str(error)
    assert 'pip install "classtune[excel]"' in shown, shown


if __name__ == "__main__":
    main()
