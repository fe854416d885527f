"""What an engine is: whatever runs the model over the pieces of a bulk job. Knows pieces and scores, not files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from classtune.data.reading.streams.stream import Piece
from classtune.inference.bulk.scorer import Scored
from classtune.inference.bulk.shards import Shard


@dataclass(frozen=True)
class Job:
    """A piece on its way. rows: numbers of the rows that have a text, ``texts``; faults: what the others lack."""

    shard: Shard
    piece: Piece
    texts: list[str]
    rows: list[int]
    faults: dict[int, str]


# Jobs in, the same jobs with their logits out, in the same order; how many are under way is the engine's to say.
Engine = Callable[[Iterator[Job]], Iterator[tuple[Job, Scored]]]
