"""Extras: what is not installed says which command installs it, and every package that is imported is declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from small import rows
from test_house import MODULES, imported

from classtune import TextClassifier, UserError
from classtune.data.reading.tables import TableFormat, read_table, table_from_rows
from classtune.errors import missing_extra
from classtune.inference.answer_files import check_output

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DEVELOPERS = {"all", "test"}


def packages(requirements: list[str]) -> set[str]:
    """``["gradio>=6.31,<7"]`` → ``{"gradio"}``, names as package indexes compare them."""
    return {re.split(r"[\[<>=!~; ]", item)[0].lower().replace("_", "-") for item in requirements}


def test_all_holds_every_extra() -> None:
    (everything,) = EXTRAS["all"]
    assert set(everything.removeprefix("classtune[").removesuffix("]").split(",")) == set(EXTRAS) - DEVELOPERS


def test_every_package_that_is_imported_is_declared() -> None:
    """At the top of a module: of the core, but in the server's room. Within a function: of the core or an extra."""
    known = {
        module: {name.lower().replace("_", "-") for name in names}
        for module, names in metadata.packages_distributions().items()
    }
    core, extra = packages(PROJECT["dependencies"]), packages([p for name in EXTRAS for p in EXTRAS[name]])
    wrong = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        top |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
        for module, line in imported(path):
            name = module.split(".")[0]
            if name in sys.stdlib_module_names or name == "classtune":
                continue
            allowed = core if module in top and "server" not in path.parts else core | extra
            if not known.get(name, {name}) & allowed:
                wrong.append(f"{path}:{line}: {name} is not declared in pyproject.toml, or imported too early")
    assert not wrong, "\n".join(wrong)


def test_every_extra_that_an_error_names_exists() -> None:
    for path in MODULES:
        for name in re.findall(r"classtune\[([a-z,]+)\]", path.read_text(encoding="utf-8")):
            assert set(name.split(",")) <= set(EXTRAS), path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
                extra = node.args[1]
                assert not isinstance(extra, ast.Constant) or str(extra.value) in EXTRAS, path


def test_what_is_installed_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_extra("x", "lora", "json") == ""
    monkeypatch.setitem(sys.modules, "json", None)
    monkeypatch.setitem(sys.modules, "csv", None)
    assert missing_extra("x", "lora", "json") == 'x: json is not installed. pip install "classtune[lora]"'
    assert "json, csv are not" in missing_extra("x", "lora", "json", "csv")


def _lora(model: Path, folder: Path) -> None:
    texts, labels = zip(*rows(), strict=True)
    TextClassifier(str(model), depth="all", trainable="lora").fit(texts, labels)


def _tune(model: Path, folder: Path) -> None:
    texts, labels = zip(*rows(), strict=True)
    TextClassifier(str(model), tune="1s").fit(texts, labels)


def _read_excel(model: Path, folder: Path) -> None:
    (folder / "t.xlsx").write_bytes(b"PK\x03\x04" + bytes(100))
    read_table(folder / "t.xlsx", TableFormat())


def _write_excel(model: Path, folder: Path) -> None:
    check_output(folder / "t.xlsx", table_from_rows(["a"]))


def _serve(model: Path, folder: Path) -> None:
    from classtune.server.server import serve
    from classtune.server.settings import ServeSettings

    serve([folder], ServeSettings())


@pytest.mark.parametrize(
    ("module", "extra", "door"),
    [
        ("peft", "lora", _lora),
        ("optuna", "tune", _tune),
        ("python_calamine", "excel", _read_excel),
        ("xlsxwriter", "excel", _write_excel),
        ("uvicorn", "serve", _serve),
        ("prometheus_client", "serve", _serve),
    ],
)
def test_a_missing_extra_names_the_command_that_installs_it(
    module: str,
    extra: str,
    door: Callable[[Path, Path], Any],
    small_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf'{module} is not installed\. pip install "classtune\[{extra}\]"'):
        door(small_llama, tmp_path)
