"""The page in a server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small import one_thread
from visits import Offered, Site, careful, reading, running

from classtune.decisions.decisions import Decisions
from classtune.explain.neighbours import Neighbours
from classtune.inference.predictor import Predictor, load_predictor


@pytest.fixture(scope="module")
def site(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page over four bundles: one that answers, one that never does, one of several labels without a report, one
    whose table had pairs and columns beside them."""
    pytest.importorskip("gradio", reason='gradio is not installed (pip install "classtune[ui]")')
    folder = tmp_path_factory.mktemp("page")
    predictor, bundle = load_predictor(small_bundle)
    near = Neighbours.load(small_bundle)

    def offered(name: str, decisions: Decisions, where: Path = small_bundle) -> Offered:
        return Offered(name, where, Predictor(predictor.network, predictor.labels, decisions), bundle.record, near)

    bundles = [
        offered("messages", predictor.decisions),
        offered("careful", careful(predictor.decisions)),
        offered("topics", Decisions.plain(predictor.labels, multi=True), folder),
        reading(offered("answers", predictor.decisions), {"text": "question", "pair": "reply", "with": "price,day"}),
    ]
    with one_thread(), running(bundles, folder / "feedback.jsonl") as site:
        yield site
