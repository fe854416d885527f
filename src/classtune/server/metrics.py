"""What a server counts, for Prometheus. Each server has a registry of its own; no text is ever kept."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from classtune.server.drift import DriftCollector

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Requests, their time and texts, batches, the queue, and what was answered."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody reads
        self._requests = Counter(
            "classtune_requests", "Requests, by path and status.", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "classtune_request_seconds",
            "Time from a request's first byte to its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._texts = Histogram(
            "classtune_request_texts", "Texts of a request.", ["model"], buckets=_TEXTS, registry=registry
        )
        self._batches = Histogram(
            "classtune_batch_texts", "Texts that were run together.", buckets=_TEXTS, registry=registry
        )
        self._labels = Counter("classtune_labels", "Labels answered.", ["model", "label"], registry=registry)
        self._abstentions = Counter(
            "classtune_abstentions", "Texts whose answer was withheld.", ["model"], registry=registry
        )
        self._feedback = Counter(
            "classtune_feedback",
            "Answers that people judged, by whether they were right.",
            ["model", "right"],
            registry=registry,
        )
        self.drift = DriftCollector()
        registry.register(self.drift)
        self.queue = Gauge("classtune_queue_texts", "Texts that wait for the model.", registry=registry)

    def request(self, path: str, status: int, seconds: float) -> None:
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, texts: int) -> None:
        self._batches.observe(texts)

    def answered(self, model: str, answers: Sequence[Sequence[str]]) -> None:
        """answers: the labels that each text was given."""
        self._texts.labels(model).observe(len(answers))
        for answer in answers:
            for label in answer:
                self._labels.labels(model, label).inc()
            if not answer:
                self._abstentions.labels(model).inc()

    def judged(self, model: str, *, right: bool) -> None:
        """A person said what was right."""
        self._feedback.labels(model, "yes" if right else "no").inc()

    def page(self, accept: str) -> tuple[bytes, str]:
        """All of it and its content type: Prometheus' text form, or OpenMetrics where ``accept`` asks for it."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind
