"""Ranks that share the weights of frozen blocks pass what one process passes, and each holds its share and no more."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ranked import Start, figures, silent, train_rows
from small import QUICK, SEVERAL

from classtune.config import resolve
from classtune.errors import ClasstuneError, SettingsError
from classtune.jobs.passes.ranks import Ranks, joined
from classtune.jobs.steps import load_network
from classtune.jobs.train import Trained
from classtune.model.batches import Batch
from classtune.model.network import Network
from classtune.model.passes import Span
from classtune.model.sharding import SharedBlock
from classtune.model.trunk import Frozen, Trunk, Vectors

pytest_plugins = ["bundle_fixtures", "ranks_fixture"]
pytestmark = pytest.mark.usefixtures("single_thread")

FAMILIES = ["gpt2", "llama", "mistral", "qwen2-window", "qwen3", "bert", "roberta", "distilbert", "modernbert"]


@pytest.mark.parametrize("told", [{"effort": "best"}, {"effort": "fast"}], ids=["tail", "probe"])
def test_two_ranks_with_a_share_each_train_what_one_process_trains(
    told: dict[str, Any], small_llama: Path, start_others: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = resolve(overrides={**SEVERAL, "model": str(small_llama), "depth": "auto", "probe_tokens": 2000, **told})
    alone, spans, run_together = train_rows(settings), set[Span](), Ranks._run_together

    def seen(self: Ranks, span: Span, own: Any, batches: Any) -> Any:
        spans.add(span)
        return run_together(self, span, own, batches)

    monkeypatch.setattr(Ranks, "_run_together", seen)
    processes = start_others(2)
    with joined() as crew:
        together = train_rows(settings.model_copy(update={"shard": True}), crew=crew)
    assert len(spans) > 2  # the climb, block by block, and the pass
    assert any(span.pooling for span in spans) == (told["effort"] == "fast")
    names, losses = zip(*map(compared, (alone, together)), strict=True)
    assert names[0] == names[1]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert figures(alone) == pytest.approx(figures(together), abs=1e-6)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0]


def compared(trained: Trained) -> tuple[list[str], list[float]]:
    """Names of what is chosen and of all candidates, and the loss of each on the test rows."""
    comparison = trained.result.document()["comparison"]
    found = comparison["candidates"]
    return [comparison["recommended"], *(one["name"] for one in found)], [one["log_loss"] for one in found]


def test_blocks_of_every_family_pass_any_number_of_batches(
    backbone_folder: Callable[[str], Path], start_others: Start, texts: list[str]
) -> None:
    start_others(2)
    with joined() as crew:
        for name in FAMILIES:
            settings = resolve(overrides={"model": str(backbone_folder(name)), "shard": True})
            network = load_network(["ham", "spam"], settings, multi=False, notify=silent, crew=crew)
            tokens = [network.encoder.batch(network.encoder.encode(texts[: number + 1])) for number in range(3)]
            first = Trunk(network, 2)
            states = [Batch(first(batch), batch.mask, batch.last) for batch in tokens]
            assert_passed(first, tokens, name)
            assert_passed(Trunk(network, 3, start=2), states, name)
            assert_passed(Vectors(network), tokens, name)


def assert_passed(blocks: Frozen, batches: list[Batch], name: str) -> None:
    for count in range(len(batches) + 1):
        found = dict(blocks.over(batches[:count]))
        assert sorted(found) == list(range(count))
        for number, states in found.items():
            assert torch.allclose(states, blocks(batches[number]), atol=1e-5), f"{name}: {blocks.span}"


def held() -> int:
    """Bytes of all plain tensors of this process: other tests leave packed ones, and stand-ins that have no memory."""
    gc.collect()
    tensors = [found for found in gc.get_objects() if type(found) in (torch.Tensor, torch.nn.Parameter)]
    rooms = [found.untyped_storage() for found in tensors if found.layout is torch.strided]
    return sum({room.data_ptr(): room.nbytes() for room in rooms}.values())


def tells_what_it_holds() -> None:
    """Of another rank: when it has loaded a backbone, and when it has its share of the blocks."""
    from classtune.jobs.passes.other_rank import OtherRank

    use = OtherRank._use

    def use_and_tell(self: OtherRank, network: Any, *, shares: bool = False) -> None:
        use(self, network, shares=shares)
        print(json.dumps(held()), flush=True)

    OtherRank._use = use_and_tell  # type: ignore[method-assign]


def test_a_rank_holds_its_share_of_the_blocks(small_llama: Path, start_others: Start, tmp_path: Path) -> None:
    start_others(2, tells_what_it_holds)
    with joined() as crew:
        assert crew is not None
        settings = resolve(overrides={"model": str(small_llama), "shard": True})
        network = load_network(["ham", "spam"], settings, multi=False, notify=silent, crew=crew)
        blocks = sum(parameter.nbytes for parameter in network.blocks.parameters())
        before = held()
        dict(Vectors(network).over([network.encoder.batch(network.encoder.encode(["see you", "win a prize"]))]))
        assert held() - before < blocks / 20  # what was gathered is let go
    whole, share = map(int, (tmp_path / "log-1").read_text().split())
    assert whole - share == pytest.approx(blocks / 2, rel=0.05)


def test_a_rank_that_dies_within_a_block_ends_the_run(
    small_llama: Path, start_others: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes, forward = start_others(2), SharedBlock.forward

    def loses_a_rank(self: SharedBlock, *values: Any, **told: Any) -> Any:
        processes[0].kill()
        processes[0].join()
        return forward(self, *values, **told)

    monkeypatch.setattr(SharedBlock, "forward", loses_a_rank)
    settings = resolve(overrides={**QUICK, "model": str(small_llama), "shard": True})
    told = r"cannot pass the blocks that they share \(.*\)\. What was finished is kept: .* --resume"
    with pytest.raises(ClasstuneError, match=told), joined() as crew:
        train_rows(settings, crew=crew)


def has_no_room() -> None:
    from classtune.model.trunk import Passes

    def fails(*_: Any) -> Any:
        raise MemoryError("no room for a block")

    Passes.__call__ = fails  # type: ignore[assignment, method-assign]


def test_a_rank_that_cannot_pass_a_block_says_so_and_ends_the_run(
    small_llama: Path, start_others: Start, tmp_path: Path
) -> None:
    processes = start_others(2, has_no_room)
    settings = resolve(overrides={**QUICK, "model": str(small_llama), "shard": True})
    with pytest.raises(ClasstuneError, match="cannot pass the blocks that they share"), joined() as crew:
        train_rows(settings, crew=crew)
    processes[0].join(60)
    assert processes[0].exitcode == 1
    assert ": no room for a block" in (tmp_path / "log-1").read_text()


def test_one_process_has_nobody_to_share_with(small_llama: Path) -> None:
    with pytest.raises(SettingsError, match=r"shard = true: .* this process is the only one\. Start several: torchrun"):
        train_rows(resolve(overrides={**QUICK, "model": str(small_llama), "shard": True}))


def test_blocks_that_cannot_be_cut_apart_cannot_be_shared(make_network: Callable[..., Network]) -> None:
    with pytest.raises(SettingsError, match="shard: not available for the architecture 'opt', which classtune cannot"):
        make_network("opt", shard=True)
