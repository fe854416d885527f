"""The Hub by its own client, against a stand-in that speaks its HTTP interface (hub_stand_in.py); then offline.

The client reads where the Hub is when it is imported, so that each of these runs in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_stand_in import COMMIT, TOKEN, Hub, hub_at

pytest_plugins = ["bundle_fixtures"]

FETCH = """
import sys
from classtune.config import resolve
from classtune.errors import SourceError
from classtune.model.backbone import load_backbone
from classtune.sources import fetch_model
try:
    folder = fetch_model(sys.argv[1], notify=lambda line: print(line, file=sys.stderr))
except SourceError as error:
    sys.exit(str(error))
network = load_backbone(folder, ["ham", "spam"], resolve(overrides={"depth": "all"}))
print(folder, network.depth, sum(float(p.detach().abs().sum()) for p in network.base.parameters()))
"""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Client = Callable[..., Done]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_at(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    """Runs Python with the Hub's client pointed at the stand-in, and a cache of its own."""

    def run(*arguments: object, **environment: str) -> Done:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "CLASSTUNE_"))}
        told = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",  # the Hub's other way to send large files
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "CLASSTUNE_HOME": str(tmp_path / "home" / "classtune"),
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**kept, **told, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def publish(hub: Hub, repository: str, folder: Path) -> Path:
    target = hub.root / repository
    shutil.copytree(folder, target)
    return target


def fetched(done: Done) -> tuple[Path, str]:
    """The snapshot's folder, and what was loaded from it."""
    assert done.code == 0, done.err
    folder, _, loaded = done.out.strip().partition(" ")
    return Path(folder), loaded


@pytest.fixture
def gpt2_folder(backbone_folder: Callable[[str], Path]) -> Path:
    return backbone_folder("gpt2")


def test_a_model_is_fetched_once_and_then_found_offline(hub: Hub, client: Client, gpt2_folder: Path) -> None:
    target = publish(hub, "someone/gpt2-small", gpt2_folder)
    (target / "pytorch_model.bin").write_bytes(b"a pickle")
    (target / "onnx").mkdir()
    (target / "onnx" / "config.json").write_text("{}")
    first = client("-c", FETCH, "someone/gpt2-small")
    folder, loaded = fetched(first)
    assert folder.name == COMMIT
    assert "fetching someone/gpt2-small from the Hugging Face Hub" in first.err
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in gpt2_folder.iterdir())
    assert not [line for line in hub.requests if "pytorch_model" in line or "onnx" in line]
    hub.requests.clear()
    again = client("-c", FETCH, "someone/gpt2-small")
    assert (fetched(again), again.err) == ((folder, loaded), "")
    offline = client("-c", FETCH, "someone/gpt2-small", HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert fetched(offline) == (folder, loaded)
    assert hub.requests == []


def test_a_model_in_shards(hub: Hub, client: Client, gpt2_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    from classtune.model.backbone import quiet_transformers

    with quiet_transformers():
        AutoModel.from_pretrained(str(gpt2_folder)).save_pretrained(str(tmp_path / "shards"), max_shard_size="40KB")
    for path in gpt2_folder.glob("tokenizer*"):
        shutil.copy(path, tmp_path / "shards")
    publish(hub, "someone/whole", gpt2_folder)
    target = publish(hub, "someone/shards", tmp_path / "shards")
    assert len(list(target.glob("model-*.safetensors"))) > 1
    whole, shards = (fetched(client("-c", FETCH, f"someone/{name}"))[1] for name in ("whole", "shards"))
    assert whole == shards


def test_an_interrupted_download_goes_on_where_it_was(
    hub: Hub, client: Client, gpt2_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModel

    from classtune.model.backbone import quiet_transformers

    shutil.copytree(gpt2_folder, tmp_path / "large")
    with quiet_transformers():
        model = AutoModel.from_pretrained(str(gpt2_folder))
        model.resize_token_embeddings(200_000)  # 25 MB: the client keeps what it has in pieces of 10
        model.save_pretrained(str(tmp_path / "large"))
    publish(hub, "someone/whole", tmp_path / "large")
    publish(hub, "someone/cut", tmp_path / "large")
    loaded = fetched(client("-c", FETCH, "someone/whole"))[1]
    hub.breaks["model.safetensors"] = 1
    assert fetched(client("-c", FETCH, "someone/cut"))[1] == loaded
    ranges = [line for line in hub.requests if "cut/resolve" in line and "model.safetensors bytes=" in line]
    assert [line.endswith("bytes=10485760-") for line in ranges] == [True]


def test_a_download_that_never_ends_is_one_error_and_the_next_one_mends_it(
    hub: Hub, client: Client, gpt2_folder: Path
) -> None:
    publish(hub, "someone/cut", gpt2_folder)
    hub.breaks["model.safetensors"] = 50
    done = client("-c", FETCH, "someone/cut")
    assert done.code == 1
    assert "someone/cut: the Hub could not give it (" in done.err
    assert "Try again, or run: hf download someone/cut" in done.err
    assert "Traceback" not in done.err
    offline = client("-c", FETCH, "someone/cut", HF_HUB_OFFLINE="1")
    assert "not in the Hub's cache, and fetching is off" in offline.err  # half a model is none
    hub.breaks.clear()
    assert fetched(client("-c", FETCH, "someone/cut"))[1].startswith("4 ")


def test_what_the_hub_refuses(hub: Hub, client: Client, gpt2_folder: Path) -> None:
    publish(hub, "someone/gated", gpt2_folder)
    hub.gated.add("someone/gated")
    pickled = publish(hub, "someone/pickled", gpt2_folder)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    for name, said in (
        ("gated", "its terms are not accepted yet. Accept them on its Hub page, then run: hf auth login"),
        ("missing", "the Hub has no such public model. Check the id, or run: hf auth login"),
        ("pickled", "pickled weights (*.bin, *.pt) are never read. Choose a model with safetensors."),
    ):
        done = client("-c", FETCH, f"someone/{name}")
        assert done.code == 1
        assert f"someone/{name}: " in done.err
        assert said in done.err, done.err
        assert "Traceback" not in done.err
    assert not [line for line in hub.requests if line.startswith("GET") and "pytorch_model.bin" in line]


def test_the_tutorial_takes_gpt2_from_a_hub_that_answers(
    hub: Hub, client: Client, gpt2_folder: Path, tmp_path: Path
) -> None:
    from small import rows, write_csv

    publish(hub, "openai-community/gpt2", gpt2_folder)
    told = ("-m", "classtune", "tutorial", write_csv(tmp_path / "t.csv", rows(60)), "--rows", "3")
    done = client(*told, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "model: gpt2 (from the hub)" in done.err
    done = client(*told, "-o", tmp_path / "again")
    assert "model: gpt2 (in the cache)" in done.err


def test_push(hub: Hub, client: Client, small_bundle: Path, tmp_path: Path) -> None:
    push = ("-m", "classtune", "push", small_bundle, "me/messages")
    stranger = client(*push)
    assert stranger.code == 1
    assert "nobody is logged in. Run `hf auth login`, or set HF_TOKEN." in stranger.err
    assert not (hub.root / "me").exists()
    done = client(*push, HF_TOKEN=TOKEN)
    assert done.code == 0, done.err
    assert f"{hub.url}/me/messages" in done.out
    assert hub.made["me/messages"]["visibility"] == "private"
    pushed = hub.root / "me" / "messages"
    assert (pushed / "model.safetensors").read_bytes() == (small_bundle / "model.safetensors").read_bytes()
    assert not (pushed / "texts").exists()
    told = client("-m", "classtune", "predict", pushed, "win a prize, call now", "--json")
    assert told.code == 0, told.err
    assert told.out == client("-m", "classtune", "predict", small_bundle, "win a prize, call now", "--json").out
    wrong = client(*push, HF_TOKEN="hf_of_another")
    assert wrong.code == 1
    assert "me/messages: was not uploaded (" in wrong.err
    nobody = client(*push, HF_TOKEN=TOKEN, HF_ENDPOINT="http://127.0.0.1:9")
    assert nobody.code == 1
    assert "me/messages: was not uploaded (" in nobody.err
    for refused in (wrong, nobody):
        assert "Traceback" not in refused.err
