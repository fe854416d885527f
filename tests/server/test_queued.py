"""The page's texts wait in the server's queue, and nothing but the queue's thread keeps a team of OpenMP threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from small import rows

from classtune.errors import DataError
from classtune.inference.own_thread import on_own_thread
from classtune.server.batching import Batcher
from classtune.server.queued import QueuedRegistry
from classtune.server.registry import ModelRegistry

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

TEXTS = ["a", *(text for text, _ in rows(9)), "win " * 30]


@pytest.fixture(scope="module")
def registry(small_bundle: Path) -> ModelRegistry:
    return ModelRegistry([small_bundle])


def test_scores_are_the_bundle_s_and_the_queue_s_thread_makes_them(registry: ModelRegistry) -> None:
    batches: list[int] = []
    batcher = Batcher(room=4, observe=batches.append)
    (queued,) = QueuedRegistry(registry, batcher, 20)
    direct = registry[None].predictor
    assert np.allclose(queued.probabilities(TEXTS, places=TEXTS), direct.probabilities(TEXTS), atol=1e-6)
    assert sum(batches) == len(set(TEXTS))
    batcher.stop(20)


def test_where_no_answer_comes_the_user_is_told(registry: ModelRegistry) -> None:
    batcher = Batcher(room=4)
    batcher.stop(20)
    (queued,) = QueuedRegistry(registry, batcher, 0.01)
    with pytest.raises(DataError, match="too much to do"):
        queued.probabilities(["a"], places=["a"])


def test_work_on_its_own_thread_is_done_elsewhere_and_its_error_comes_back() -> None:
    here = threading.get_ident()
    assert on_own_thread(threading.get_ident) != here

    def fail() -> None:
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        on_own_thread(fail)


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_loading_a_bundle_leaves_no_threads_behind(small_bundle: Path) -> None:
    """With a team left by the loading thread, every forward pass of one text takes half as long again."""
    script = """
import os, sys, time
from pathlib import Path
import torch
from classtune.server.registry import ModelRegistry
from classtune.inference.predictor import load_predictor

def count():
    return len(os.listdir("/proc/self/task"))

def load(folder):
    predictor, bundle = load_predictor(folder)
    # A weight that is large enough for a team, whatever is done with it.
    predictor.whole.register_parameter("large", torch.nn.Parameter(torch.ones(1 << 22) * 2))
    loaded.append(count())
    return predictor, bundle

torch.set_num_threads(2)
loaded = []
before = count()
ModelRegistry([Path(sys.argv[1])], load=load)
end = time.monotonic() + 10  # a thread ends a moment after what it did
while count() > before and time.monotonic() < end:
    time.sleep(0.01)
print(before, *loaded, count())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(small_bundle)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},  # no threads of the tokenizer's own
    )
    before, meanwhile, after = map(int, done.stdout.split())
    assert meanwhile >= before + 2  # its thread, and that one's team: else this test would show nothing
    assert after == before
