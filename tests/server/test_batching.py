"""The queue: what waits together runs together, nobody waits for company, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from classtune.inference.predictor import Items
from classtune.model.tokens import TokenIds
from classtune.server import batching
from classtune.server.batching import Batcher, ModelFailed, QueueFull

SECONDS = 10


class Model:
    """Gives each piece its length and its first id as logits. ``go`` clear, it is busy."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []  # lengths
        self.go = threading.Event()
        self.go.set()
        self.busy = threading.Event()

    def run(self, ids: Sequence[TokenIds]) -> NDArray[np.float64]:
        self.busy.set()
        assert self.go.wait(SECONDS)
        self.batches.append([len(item) for item in ids])
        if any(item[0] < 0 for item in ids):
            raise RuntimeError("out of memory")
        return np.array([[len(item), item[0]] for item in ids], dtype=np.float64)


def texts(*lengths: int, first: int = 1, of_text: Sequence[int] | None = None) -> Items:
    """A request of texts with so many tokens."""
    owners = range(len(lengths)) if of_text is None else of_text
    items = [np.full(length, first, dtype=np.int32) for length in lengths]
    return Items(items, np.array(owners, dtype=np.int64), max(owners) + 1)


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    made = Batcher(room=8)
    yield made
    made.stop(SECONDS)
    assert not made.alive


def occupy(batcher: Batcher, model: Model) -> None:
    """Give the model something to do, until ``go`` is set."""
    model.go.clear()
    model.busy.clear()
    batcher.submit(model, texts(5))
    assert model.busy.wait(SECONDS)


def test_what_piled_up_while_the_model_was_busy_runs_together_by_length(batcher: Batcher) -> None:
    model = Model()
    occupy(batcher, model)
    answers = [batcher.submit(model, texts(length, first=length)) for length in (60, 19, 20, 58)]
    both = batcher.submit(model, texts(20, 59, first=7))
    assert batcher.waiting == 6
    model.go.set()
    assert [answer.result(SECONDS).tolist() for answer in answers] == [[[n, n]] for n in (60, 19, 20, 58)]
    assert both.result(SECONDS).tolist() == [[20, 7], [59, 7]]
    assert model.batches == [[5], [19, 20, 20], [58, 59, 60]]
    assert batcher.waiting == 0


def test_a_full_queue_refuses_and_an_empty_one_takes_any_request(batcher: Batcher) -> None:
    model = Model()
    occupy(batcher, model)
    large = batcher.submit(model, texts(*[3] * 20))  # more than there is room for, but nothing waits
    with pytest.raises(QueueFull):
        batcher.submit(model, texts(3))
    model.go.set()
    assert len(large.result(SECONDS)) == 20
    assert batcher.submit(model, texts(3)).result(SECONDS).tolist() == [[3, 1]]


def test_the_patient_wait_for_room(batcher: Batcher) -> None:
    model = Model()
    occupy(batcher, model)
    batcher.submit(model, texts(*[3] * 8))
    with pytest.raises(QueueFull):
        batcher.submit(model, texts(3), patience=0.01)
    with ThreadPoolExecutor(1) as patient:
        answer = patient.submit(batcher.submit, model, texts(9), patience=SECONDS)
        assert not answer.done()
        model.go.set()
        assert answer.result(SECONDS).result(SECONDS).tolist() == [[9, 1]]


def test_a_failure_answers_its_own_batch_and_the_thread_goes_on(batcher: Batcher) -> None:
    model = Model()
    occupy(batcher, model)
    bad = batcher.submit(model, texts(50, first=-1))
    good = batcher.submit(model, texts(9))
    model.go.set()
    with pytest.raises(ModelFailed) as failed:
        bad.result(SECONDS)
    assert str(failed.value.__cause__) == "out of memory"
    assert good.result(SECONDS).tolist() == [[9, 1]]
    assert batcher.alive


def test_a_text_that_the_model_fails_on_does_not_take_its_batch_with_it(batcher: Batcher) -> None:
    model = Model()
    occupy(batcher, model)
    good = [batcher.submit(model, texts(20, first=number)) for number in (1, 2, 3)]
    two = texts(20, 20, first=4)
    two.items[1][:] = -1  # type: ignore[index]
    bad = batcher.submit(model, two)
    model.go.set()
    assert [answer.result(SECONDS).tolist() for answer in good] == [[[20, 1]], [[20, 2]], [[20, 3]]]
    with pytest.raises(ModelFailed) as failed:
        bad.result(SECONDS)
    assert failed.value.text == 1


def test_a_request_that_was_given_up_is_not_run(batcher: Batcher) -> None:
    model = Model()
    occupy(batcher, model)
    given_up = batcher.submit(model, texts(90))
    wanted = batcher.submit(model, texts(9))
    assert given_up.cancel()
    model.go.set()
    assert wanted.result(SECONDS).tolist() == [[9, 1]]
    assert model.batches == [[5], [9]]
    assert batcher.waiting == 0


def test_a_short_request_does_not_wait_for_all_of_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "ROUND_TOKENS", 40)
    batcher = Batcher(room=1000)
    model = Model()
    occupy(batcher, model)
    large = batcher.submit(model, texts(*[10] * 40))
    short = batcher.submit(model, texts(8, first=3))
    finished: list[int] = []
    short.add_done_callback(lambda _: finished.append(len(model.batches)))
    model.go.set()
    assert len(large.result(SECONDS)) == 40
    assert finished == [3]  # what ran before, the large one's first round, and the round that it is in
    assert len(model.batches) > 10
    batcher.stop(SECONDS)


def test_models_take_turns_and_each_gets_its_own(batcher: Batcher) -> None:
    one, other = Model(), Model()
    occupy(batcher, one)
    answers = [batcher.submit(model, texts(length)) for model, length in ((one, 4), (other, 6), (one, 4))]
    one.go.set()
    assert [answer.result(SECONDS)[0, 0] for answer in answers] == [4, 6, 4]
    assert one.batches == [[5], [4, 4]]
    assert other.batches == [[6]]


def test_windows_of_a_long_text_become_one_answer(batcher: Batcher) -> None:
    pieces = texts(10, 20, 7, of_text=[0, 0, 1])
    assert batcher.submit(Model(), pieces).result(SECONDS).tolist() == [[15, 1], [7, 1]]


def test_stopping_finishes_what_waits_and_takes_no_more() -> None:
    seen: list[int] = []
    batcher = Batcher(room=8, observe=seen.append)
    model = Model()
    occupy(batcher, model)
    waiting = batcher.submit(model, texts(4, 4))
    stopping = threading.Thread(target=batcher.stop)
    stopping.start()
    while not batcher._stopping:
        pass
    with pytest.raises(QueueFull):
        batcher.submit(model, texts(4))
    model.go.set()
    stopping.join(SECONDS)
    assert len(waiting.result(0)) == 2
    assert seen == [1, 2]
