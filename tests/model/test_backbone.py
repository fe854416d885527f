"""Loading a backbone: what the settings ask for is what the network becomes, and what cannot be is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, pipeline

from classtune.config import resolve
from classtune.errors import SettingsError, SourceError
from classtune.model.adapters import add_lora
from classtune.model.backbone import load_backbone
from classtune.model.families import FAMILIES
from classtune.model.network import Network, Whole
from classtune.model.proof import prove_split

MakeNetwork = Callable[..., Network]
FindFolder = Callable[[str], Path]
UNKNOWN = ["opt", "electra"]


def trained_names(network: Network) -> set[str]:
    return {name for name, parameter in network.classifier.named_parameters() if parameter.requires_grad}


def test_labels_depth_and_limit_are_the_models_own(make_network: MakeNetwork) -> None:
    for name, family in FAMILIES.items():
        network = make_network(name)
        assert network.classifier.config.id2label == {0: "ham", 1: "spam"}
        assert (network.depth, network.of, network.width, network.labels) == (4, 4, 32, 2)
        assert network.encoder.rules.limit == 64 - family.reserved_positions
        assert network.is_hugging_face


def test_pipelines_put_a_sigmoid_on_each_label_where_a_text_may_have_several(
    backbone_folder: FindFolder, tmp_path: Path, texts: list[str]
) -> None:
    for name in ("llama", "bert"):
        for multi, activate in ((True, torch.sigmoid), (False, lambda logits: logits.softmax(1))):
            network = load_backbone(backbone_folder(name), ["a", "b", "c"], resolve(), multi=multi)
            folder = tmp_path / f"{name}-{multi}"
            network.classifier.save_pretrained(str(folder))
            network.encoder.tokenizer.save_pretrained(str(folder))
            found = pipeline("text-classification", model=str(folder), device="cpu")(texts, top_k=None)
            theirs = [[{each["label"]: each["score"] for each in row}[label] for label in "abc"] for row in found]
            with torch.no_grad():
                ours = activate(Whole(network).eval()(network.encoder.batch(network.encoder.encode(texts))))
            torch.testing.assert_close(torch.tensor(theirs), ours, rtol=1e-5, atol=1e-5)


def test_the_same_seed_gives_the_same_head_and_another_another(make_network: MakeNetwork) -> None:
    def head(seed: int, **settings: object) -> torch.Tensor:
        return next(make_network("llama", seed=seed, **settings).head.parameters())

    for settings in ({}, {"pooling": "mean"}):
        assert torch.equal(head(1, **settings), head(1, **settings))
        assert not torch.equal(head(1, **settings), head(2, **settings))


def test_random_weights_keep_the_shape_and_nothing_else(make_network: MakeNetwork) -> None:
    def weights(**settings: object) -> torch.Tensor:
        parameter: torch.Tensor = make_network("gpt2", **settings).base.get_submodule("h.2.mlp.c_fc").weight
        return parameter

    random = {"weights": "random", "depth": "all"}
    assert weights(**random).shape == weights().shape
    assert not torch.allclose(weights(**random), weights(), atol=1e-2)
    assert torch.equal(weights(**random), weights(**random))
    assert not torch.equal(weights(**random), weights(**random, seed=7))


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.causal])
def test_without_the_causal_mask_early_tokens_see_later_ones(make_network: MakeNetwork, name: str) -> None:
    """First-token pooling sees one token through the mask, and the whole text without it."""
    scores = {}
    for causal in (True, False):
        network = make_network(name, causal_mask=causal, pooling="first")
        tail = network.tail(None).eval()
        encode, batch = network.encoder.encode, network.encoder.batch
        with torch.no_grad():
            alone = [tail(batch(encode([text]))) for text in ("win a prize", "win the cup at home later")]
            together = tail(batch(encode(["win a prize", "win the cup at home later"])))
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)
        scores[causal] = float((alone[0] - alone[1]).abs().max())
        assert prove_split(network, 2, ["win a prize", "win the cup at home later"])
    assert scores[True] < 1e-6
    assert scores[False] > 1e-3


def test_without_the_causal_mask_the_last_block_is_run_whole(make_network: MakeNetwork, texts: list[str]) -> None:
    network = make_network("llama", causal_mask=False)
    assert prove_split(network, 2, texts)
    assert network.tail(2).last_block is None
    assert not network.is_hugging_face


def test_an_encoder_has_no_causal_mask_to_leave_out(make_network: MakeNetwork) -> None:
    with pytest.raises(SettingsError, match="'bert' is not a causal decoder"):
        make_network("bert", causal_mask=False)


def test_dropout_reaches_the_blocks_and_the_head(make_network: MakeNetwork, texts: list[str]) -> None:
    for name in FAMILIES:
        for dropout in (0.0, 0.3):
            network = make_network(name, dropout=dropout)
            config = network.classifier.config.to_dict()
            found = {key: value for key, value in config.items() if "dropout" in key or key.endswith("_pdrop")}
            numbers = {value for value in found.values() if not isinstance(value, bool)}
            assert numbers == {dropout}
            tail, batch = network.tail(None).train(), network.encoder.batch(network.encoder.encode(texts))
            torch.manual_seed(0)
            with torch.no_grad():
                assert torch.equal(tail(batch), tail(batch)) == (dropout == 0)
                assert torch.equal(tail.eval()(batch), tail(batch))


@pytest.mark.parametrize("name", FAMILIES)
def test_exactly_what_the_setting_names_is_trained(make_network: MakeNetwork, name: str) -> None:
    family = FAMILIES[name]
    for start, blocks in ((4, []), (3, [3]), (2, [2, 3])):
        network = make_network(name)
        network.freeze(start)
        names = trained_names(network)
        base = type(network.classifier).base_model_prefix
        in_blocks = {n for n, _ in network.classifier.named_parameters() if f"{base}.{family.blocks}." in n}
        expected = {n for n in in_blocks if int(n.split(f"{family.blocks}.")[1].split(".")[0]) in blocks}
        assert names & in_blocks == expected
        norm = {n for n, _ in network.classifier.named_parameters() if f"{base}.{family.norm}." in n}
        assert names & norm == (norm if blocks else set())
        head = {id(parameter) for parameter in network.head.parameters()}
        rest = {n for n, p in network.classifier.named_parameters() if id(p) in head}
        assert rest
        assert names == expected | rest | (norm if blocks else set())
        assert {id(p) for p in network.tail(start).parameters() if p.requires_grad} == {
            id(p) for p in network.classifier.parameters() if p.requires_grad
        }
    network = make_network(name)
    network.freeze(None)
    assert trained_names(network) == {n for n, _ in network.classifier.named_parameters()}


@pytest.mark.parametrize("name", FAMILIES)
def test_lora_trains_its_matrices_and_the_head_and_merges_into_a_plain_model(
    make_network: MakeNetwork, texts: list[str], name: str
) -> None:
    network = make_network(name)
    plain = {n: p.detach().clone() for n, p in network.classifier.named_parameters()}
    network.freeze(network.depth)
    lora = add_lora(network, rank=4, alpha=8.0, dropout=0.0)
    tail = network.tail(None)
    head = {id(parameter) for parameter in network.head.parameters()}
    trained = {n: p for n, p in tail.named_parameters() if p.requires_grad}
    assert {id(p) for n, p in trained.items() if "lora_" not in n} == head
    per_block = {}
    for number, block in enumerate(network.blocks):
        per_block[number] = sum("lora_A" in n for n, _ in block.named_parameters())
    assert set(per_block.values()) == {per_block[0]} != {0}
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        batch = network.encoder.batch(network.encoder.encode(texts))
        before = tail.eval()(batch)
        lora.merge_and_unload()
        network.classifier.eval()
        after = Whole(network)(batch)
        torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(network.tail(None).eval()(batch), before, rtol=1e-5, atol=1e-5)
    assert [n for n, _ in network.classifier.named_parameters()] == list(plain)
    changed = {n for n, p in network.classifier.named_parameters() if not torch.equal(p, plain[n])}
    assert changed
    assert not any("embed" in n or n.endswith("wpe.weight") for n in changed)


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_architecture_is_run_whole_and_says_so(
    make_network: MakeNetwork, texts: list[str], name: str
) -> None:
    network = make_network(name)
    assert network.notes == [
        f"classtune cannot cut the architecture {name!r}: every text passes the whole network each time."
    ]
    network.freeze(network.depth - 2)
    assert network.notes[1:] == ["All 4 blocks are trained, not the last 2 alone."]
    assert trained_names(network) == {n for n, _ in network.classifier.named_parameters()}
    assert not prove_split(network, 2, texts)
    batch = network.encoder.batch(network.encoder.encode(texts))
    network.tail(None)(batch).sum().backward()
    head = make_network(name)
    head.freeze(head.depth)
    assert len(head.notes) == 1
    base = type(head.classifier).base_model_prefix
    assert trained_names(head) == {n for n in trained_names(network) if not n.startswith(f"{base}.")} != set()


def test_what_an_unknown_architecture_cannot_do_is_refused_at_once(make_network: MakeNetwork) -> None:
    with pytest.raises(SettingsError) as caught:
        make_network("opt", pooling="mean", head_bias=True, depth=3, trainable="lora")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "pooling",
        "head_bias",
        "depth",
        'trainable = "lora"',
    ]


def test_more_blocks_than_there_are_is_refused(make_network: MakeNetwork) -> None:
    with pytest.raises(SettingsError, match=r"depth = 5: .* has 4 blocks\. Choose 1 to 4\."):
        make_network("bert", depth=5)
    with pytest.raises(SettingsError, match=r"trainable = 5: .* has 4 blocks\. Choose 1 to 4, or `all`\."):
        make_network("bert", trainable=5)


def _copy(folder: Path, target: Path, **config: object) -> Path:
    shutil.copytree(folder, target)
    known = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(known | config))
    return target


def _refused(folder: Path) -> str:
    with pytest.raises(SourceError) as caught:
        load_backbone(folder, ["a", "b"], resolve())
    message = str(caught.value)
    assert message.startswith(f"{folder}: no model can be read from it (")
    return message


def test_folders_that_hold_no_usable_model_are_refused(backbone_folder: FindFolder, tmp_path: Path) -> None:
    good = backbone_folder("llama")
    (tmp_path / "empty").mkdir()
    _refused(tmp_path / "empty")
    _refused(_copy(good, tmp_path / "impossible", num_attention_heads=5))
    _refused(_copy(good, tmp_path / "other", model_type="no-such-model"))
    truncated = _copy(good, tmp_path / "truncated")
    weights = truncated / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    _refused(truncated)
    damaged = _copy(good, tmp_path / "damaged")
    (damaged / "tokenizer.json").write_text("{")
    _refused(damaged)


def test_pickled_weights_are_never_read(backbone_folder: FindFolder, tmp_path: Path) -> None:
    folder = _copy(backbone_folder("llama"), tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({"embed_tokens.weight": torch.zeros(300, 32)}, folder / "pytorch_model.bin")
    assert "safetensors" in _refused(folder)


def test_code_that_comes_with_a_model_is_never_run(
    backbone_folder: FindFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the user asked about it: transformers would wait for an answer."""
    own = {"AutoConfig": "mine.MyConfig", "AutoModelForSequenceClassification": "mine.MyModel"}
    folder = _copy(backbone_folder("llama"), tmp_path / "own", model_type="my-own", auto_map=own)
    (folder / "mine.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    _refused(folder)
    assert not (folder / "ran").exists()


def test_a_classifier_with_other_labels_gets_a_new_head(
    make_network: MakeNetwork, texts: list[str], tmp_path: Path
) -> None:
    make_network("bert").classifier.save_pretrained(str(tmp_path))
    make_network("bert").encoder.tokenizer.save_pretrained(str(tmp_path))
    network = load_backbone(tmp_path, ["a", "b", "c"], resolve())
    batch = network.encoder.batch(network.encoder.encode(texts))
    assert network.tail(None)(batch).shape == (10, 3)


def test_a_tokenizer_with_more_tokens_than_the_embedding_makes_it_grow(
    backbone_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(backbone_folder("llama"), tmp_path / "added"))
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    rows = AutoConfig.from_pretrained(str(folder)).vocab_size
    tokenizer.add_tokens([f"[USER{number}]" for number in range(rows - len(tokenizer) + 3)])
    tokenizer.save_pretrained(str(folder))
    network = load_backbone(folder, ["ham", "spam"], resolve(overrides={"depth": "all"}))
    embedding = network.classifier.get_input_embeddings()
    assert embedding.num_embeddings == network.classifier.config.vocab_size == rows + 3
    assert torch.allclose(embedding.weight[-1], embedding.weight[:rows].mean(0), atol=1e-6)
    assert "has 3 tokens that its embedding lacks" in network.notes[0]
