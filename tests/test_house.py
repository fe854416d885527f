"""The house: imports point one way, files stay small, and nothing that can run code is ever read."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "src" / "classtune"
MODULES = sorted(HOUSE.rglob("*.py"))

# The rooms from the ground up: a room may import what stands before it, and nothing else.
ROOMS = (
    "errors",
    "files",
    "stats",
    "config",
    "sources",
    "data",
    "model",
    "training",
    "candidates",
    "decisions",
    "judging",
    "explain",
    "result",
    "tracking",
    "report",
    "bundle",
    "inference",
    "export",
    "server",
    "jobs",
    "estimator",
    "screen",
    "cli",
    "__init__",
    "__main__",
)
# What predicts has nothing to do with training, so that a server needs none of it.
APART = {
    (room, "training")
    for room in ("bundle", "inference", "export", "server", "judging", "decisions", "result", "report")
}
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
LATE = ("torch", "sklearn", "transformers", "matplotlib", "pyarrow", "scipy", "peft")


def room(path: Path) -> str:
    """``data/tables.py`` is in the room data, ``files.py`` is the room files."""
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, late imports too, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            module = node.module or ""
            # ``from classtune import bundle`` imports a module, ``from classtune.errors import DataError`` a name.
            yield from (
                (f"{module}.{alias.name}" if module == "classtune" else module, node.lineno) for alias in node.names
            )


def rooms_imported(path: Path) -> Iterator[tuple[str, int]]:
    """The rooms of the house that a file reaches into, itself left out."""
    for module, line in imported(path):
        parts = module.split(".")
        if parts[0] == "classtune" and len(parts) > 1 and parts[1] != room(path):
            yield parts[1], line


def test_imports_point_up_the_list_only() -> None:
    wrong = [
        f"{path.relative_to(HOUSE)}:{line}: {room(path)} must not import {other}"
        for path in MODULES
        for other, line in rooms_imported(path)
        if other not in ROOMS[: ROOMS.index(room(path))] or (room(path), other) in APART
    ]
    assert not wrong, "\n".join(wrong)


def test_every_room_is_on_the_list() -> None:
    assert {room(path) for path in MODULES} == set(ROOMS)


def test_no_two_modules_import_each_other() -> None:
    """Late imports too: a circle hides that two files are one, or that a third is missing."""
    names = {".".join(path.relative_to(HOUSE.parent).with_suffix("").parts): path for path in MODULES}
    arrows = {name: {module for module, _ in imported(path)} & set(names) for name, path in names.items()}
    assert not [(name, other) for name, others in arrows.items() for other in others if name in arrows[other]]


def test_the_walk_sees_an_arrow_that_points_the_wrong_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "server").mkdir()
    file = tmp_path / "server" / "predictor.py"
    file.write_text(
        "def f():\n    from classtune import cli, errors\n    import classtune.training.loop\n", encoding="utf-8"
    )
    monkeypatch.setattr("test_house.HOUSE", tmp_path)
    assert list(rooms_imported(file)) == [("cli", 2), ("errors", 2), ("training", 3)]


def test_files_stay_small_and_say_what_they_are() -> None:
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert len(source.splitlines()) <= 300, f"{path}: over 300 lines. Give its second subject a file."
        assert ast.get_docstring(ast.parse(source)), f"{path} has no docstring"
        assert path.stem not in {"utils", "util", "helpers", "misc", "common"}, path


def test_no_pickle_is_read_or_written() -> None:
    for path in MODULES:
        for module, line in imported(path):
            assert module.split(".")[0] not in PICKLES, f"{path}:{line}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                assert called not in {"torch.load", "torch.save"}, f"{path}:{node.lineno}"
            if isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "trust_remote_code"}:
                assert isinstance(node.value, ast.Constant), f"{path}:{node.value.lineno}"
                assert node.value.value is False, f"{path}:{node.value.lineno}"


@pytest.mark.parametrize(
    "module", ["classtune", "classtune.cli", "classtune.data.reading.tables", "classtune.judging.metrics"]
)
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    program = f"import {module}, sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "classtune" in shown.split()
    assert not set(LATE) & set(shown.split())
    assert module != "classtune.cli" or "pydantic" not in shown.split()  # half of what `--help` takes


def test_asking_for_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['classtune', 'train', '--help']\n"
        "from classtune import cli\n"
        "try: cli.main()\n"
        "finally: print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "--resume" in shown
    assert not set(LATE) & set(shown.split("\n")[-2].split())
