"""What candidates have in common."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from classtune.jobs import entries, steps


@pytest.mark.parametrize(("seconds_a_text", "last"), [(0.0001, 200), (0.01, 100), (3.0, 16)])
def test_what_takes_long_is_timed_on_fewer_texts(
    monkeypatch: pytest.MonkeyPatch, seconds_a_text: float, last: int
) -> None:
    def seconds(work: Callable[[], Any]) -> float:
        work()
        return seconds_a_text * timed[-1]

    monkeypatch.setattr(steps, "seconds", seconds)
    timed: list[int] = []
    material: Any = SimpleNamespace(splits=SimpleNamespace(test=np.arange(1000), train=np.arange(5)))
    ms = entries.median_ms(lambda rows: timed.append(len(rows)), material)
    assert ms == pytest.approx(1000 * seconds_a_text)
    assert timed == [16, last, last, last]
