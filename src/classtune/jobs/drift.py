"""Whether texts have changed since a bundle was trained, and what a bundle keeps to tell it by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.bundle import ROWS, read_rows
from classtune.candidates.backbone import Backbone
from classtune.config import Progress
from classtune.data.dataset import Material
from classtune.data.reading.tables import Table
from classtune.data.splits import Rows
from classtune.data.versions import hashes
from classtune.decisions.decisions import Decisions
from classtune.errors import DataError
from classtune.inference.predictor import load_predictor
from classtune.inference.vectors import network_vectors, unit
from classtune.inference.yardstick import Yardstick, class_centres, make_yardstick
from classtune.jobs.steps import Notify, Scores
from classtune.judging.drift import FALSE_ALARMS, compare

# Held-out rows that are compared with, and training texts whose words and vectors are looked at; of more a random part.
MOST_HELD_OUT, MOST_WORDS, MOST_VECTORS = 5_000, 50_000, 2_000
# Fewer test rows than these tell too little of how often a label is answered.
TESTS_ENOUGH = 100


def yardstick_of(
    material: Material,
    decisions: Decisions,
    main: Backbone | None,
    learned: Rows,
    tested: Scores,
    judged: Scores,
    *,
    seed: int,
) -> Yardstick | None:
    """What a bundle keeps: of the test rows by their logits ``tested``; None where no row was held out.

    learned: rows that the classifier learned from. judged: logits of these by models that did not learn from them.
    Where test rows are few, these answers count too; nothing else is taken from them, since all of their words are
    known, and models of fewer rows are less certain. main: the backbone of the main network, where there is one.
    """
    generator = np.random.default_rng([seed, 2])
    rows = material.splits.test
    chosen = np.sort(generator.permutation(len(rows))[:MOST_HELD_OUT])
    others = judged if len(rows) < TESTS_ENOUGH else judged[:0]
    if not len(rows) + len(others):
        return None
    learned = generator.permutation(learned)
    centres = vectors = None
    if len(rows) and main is not None and not main.network.whole:
        states = unit(main.pooled_states(np.concatenate([learned[:MOST_VECTORS], rows[chosen]])))
        count = min(len(learned), MOST_VECTORS)
        centres, vectors = class_centres(states[:count], _flags(material, learned[:count])), states[count:]
    labels = len(material.labels)
    scores = decisions.probabilities(tested[chosen]) if len(rows) else np.zeros((0, labels))
    return make_yardstick(
        (material.texts[row] for row in learned[:MOST_WORDS]),
        centres,
        decisions,
        scores,
        [material.texts[row] for row in rows[chosen]],
        vectors,
        decisions.probabilities(others) if len(others) else np.zeros((0, labels)),
    )


def _flags(material: Material, rows: Rows) -> NDArray[np.bool_]:
    truth = material.truth[rows]
    return truth if material.multi else truth[:, None] == np.arange(len(material.labels))


def drift(
    folder: Path, table: Table, *, false_alarms: float = FALSE_ALARMS, notify: Notify, progress: Progress
) -> dict[str, Any]:
    """What has changed between a bundle's held-out rows and the texts of a table. false_alarms: see `compare`.

    Copies of texts that it learned from are left out, as they are from held-out rows: it knows them too well. Raises
    BundleError for a bundle that keeps nothing to compare with, DataError for texts that it cannot read or has learned.
    """
    predictor, bundle = load_predictor(folder)
    yardstick = Yardstick.load(folder, len(bundle.labels))
    learned = read_rows(folder).learned if (folder / ROWS).is_file() else np.zeros(0, dtype=np.uint64)
    kept = np.flatnonzero(~np.isin(hashes(table.texts), learned)).tolist()
    if not kept:
        raise DataError(f"{table.name}: {folder} learned from all of its texts. Give texts that came later.")
    if len(kept) < len(table.texts):
        notify(f"texts that are copies of training texts are left out: {len(table.texts) - len(kept):,}.")
    texts = [table.texts[row] for row in kept]
    scores = predictor.probabilities(texts, places=[table.places[row] for row in kept], progress=progress)
    vectors = None
    if yardstick.centres is not None and bundle.main is not None:
        vectors = network_vectors(bundle.main, texts, progress)
    seen = yardstick.seen(bundle.decisions, scores, texts, vectors)
    found = compare(yardstick.reference, seen, bundle.labels, false_alarms=false_alarms)
    return {"bundle": str(folder), "data": {"name": table.name, "rows": len(table.texts)}, **found.document()}
