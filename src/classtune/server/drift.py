"""The latest answers of each bundle against its held-out rows, as figures for Prometheus. Keeps numbers, never texts.

What is seen of a text is its answer, how certain that is, and the share of words that training had not; the distance
to training texts would take another pass of the model, and is left to `classtune drift`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from classtune.data.versions import hashes
from classtune.inference.yardstick import certainty
from classtune.judging.drift import NO_ANSWER, Drift, Seen, compare
from classtune.server.registry import LoadedBundle
from classtune.stats import BoolArray, Floats

WINDOW = 1000
# The window is looked at again and again: each look may be wrong more rarely than that of `classtune drift`.
FALSE_ALARMS = 0.001
ANSWERS = "answers"


class _Window:
    """What was seen of a bundle's latest texts: (labels given [labels], certainty, share of unknown words)."""

    def __init__(self, bundle: LoadedBundle) -> None:
        self.bundle = bundle
        self.seen: deque[tuple[BoolArray, float, float]] = deque(maxlen=WINDOW)

    def drift(self) -> Drift | None:
        """What has changed; None for a bundle that keeps nothing to compare with, or before the first text."""
        yardstick = self.bundle.yardstick
        if yardstick is None or not self.seen:
            return None
        given, sure, unknown = zip(*self.seen, strict=True)
        seen = Seen(np.array(given), {"certainty": np.array(sure), "unknown": np.array(unknown)})
        return compare(yardstick.reference, seen, self.bundle.predictor.labels, false_alarms=FALSE_ALARMS)


class DriftCollector(Collector):
    """The windows of all bundles; a new version of a bundle starts an empty one."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def add(self, bundle: LoadedBundle, texts: Sequence[str], probabilities: Floats) -> None:
        """Texts that were answered, and their probabilities [texts, labels]; copies of training texts are left out."""
        if bundle.yardstick is None:
            return
        window = self._windows.get(bundle.name)
        if window is None or window.bundle is not bundle:
            window = self._windows[bundle.name] = _Window(bundle)
        decisions = bundle.predictor.decisions
        given, sure = decisions.answers(probabilities), certainty(probabilities, multi=decisions.multi)
        unknown = bundle.yardstick.unknown(texts)
        new = np.ones(len(texts), dtype=np.bool_) if bundle.learned is None else ~np.isin(hashes(texts), bundle.learned)
        window.seen.extend((given[row], float(sure[row]), float(unknown[row])) for row in np.flatnonzero(new))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The figures as Prometheus' client asks for them."""
        texts = GaugeMetricFamily("classtune_drift_texts", "Latest texts that are compared.", labels=["model"])
        alarm = GaugeMetricFamily(
            "classtune_drift_alarm", "1: changed beyond noise since training.", labels=["model", "figure"]
        )
        p_value = GaugeMetricFamily(
            "classtune_drift_p_value", "Of no change since training.", labels=["model", "figure"]
        )
        share = GaugeMetricFamily(
            "classtune_answer_share", "Share of a label among the latest answers.", labels=["model", "label"]
        )
        before = GaugeMetricFamily(
            "classtune_answer_share_trained", "The same among held-out rows of training.", labels=["model", "label"]
        )
        for name, window in self._windows.items():
            drift = window.drift()
            if drift is None:
                continue
            texts.add_metric([name], drift.texts)
            figures = {ANSWERS: drift.labels, **{one.name: [one] for one in drift.measures}}
            for figure, changes in figures.items():
                alarm.add_metric([name, figure], float(any(one.alarm for one in changes)))
                least = min((one.p_value for one in changes), default=1.0)
                p_value.add_metric([name, figure], min(1.0, least * len(changes)))
            for one in drift.labels:
                label = "" if one.name == NO_ANSWER else one.name
                share.add_metric([name, label], one.now)
                before.add_metric([name, label], one.then)
        yield from (texts, alarm, p_value, share, before)
