"""Which texts to label next: those that a classifier doubts, spread over what it meets, and a share drawn at random.

Doubt is the margin between the two likeliest labels. Taking the most doubtful alone would take many alike, so that of
ten times as many as are wanted each cluster gives the one nearest to its centre, clusters weighted by doubt (Zhdanov,
"Diverse mini-batch active learning", 2019). `benchmarks/next.py` holds this against choice at random.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classtune.bundle import columns_of, read_rows
from classtune.config import Progress
from classtune.data.reading.tables import Table
from classtune.data.splits import Rows, fold
from classtune.data.versions import hashes
from classtune.errors import DataError, SettingsError, counted
from classtune.inference.answer_files import kept_columns
from classtune.inference.predictor import answer_of, load_predictor
from classtune.inference.vectors import Vectors, bundle_vectors
from classtune.jobs.steps import Notify
from classtune.jobs.to_label import AT_RANDOM, LabelCells, ToLabel, check_form, write_to_label
from classtune.stats import BoolArray, FloatArray, Floats

DOUBTFUL = "doubtful"
SHARE_AT_RANDOM = 0.1
# Doubtful texts that are clustered for each one that is wanted.
CLUSTERED = 10
_STEPS = 20


def label_next(
    folder: Path,
    pool: Table,
    count: int,
    output: Path | None = None,
    *,
    form: str = "table",
    force: bool = False,
    escape_formulas: bool = False,
    at_random: float = SHARE_AT_RANDOM,
    labelled: Sequence[Table] = (),
    seed: int = 123,
    notify: Notify,
    progress: Progress,
) -> dict[str, Any]:
    """Choose ``count`` texts of a pool for a person to label, and write them where an ``output`` is named.

    form, force: see `check_form`; escape_formulas: see `write_to_label`.
    at_random: share, 0 … 1, that is drawn from all of the pool, and marked: figures on these alone hold for the pool.
    labelled: tables of texts that have been labelled since the bundle was trained. What the bundle was trained or
    tested on, what stands in these, and copies within the pool are left out.
    Raises SettingsError, BundleError, or DataError where nothing is left.
    """
    if count < 1 or not 0 <= at_random <= 1:
        raise SettingsError(f"-n {count}, --at-random {at_random:g}: a number above 0, and a share from 0 to 1.")
    check_form(output, form, [pool, *labelled], force=force)
    predictor, bundle = load_predictor(folder)
    known = read_rows(folder).known(pool.texts)
    known = known | np.isin(hashes(pool.texts), hashes(text for table in labelled for text in table.texts))
    rows, copies = unlabelled_rows(pool, known)
    texts = [pool.texts[row] for row in rows.tolist()]
    probabilities = predictor.probabilities(
        texts, places=[pool.places[row] for row in rows.tolist()], progress=progress
    )

    def vectors(chosen: Rows) -> Vectors:
        return bundle_vectors(bundle, [texts[row] for row in chosen.tolist()], progress, seed=seed)

    doubt = doubts(probabilities, multi=bundle.decisions.multi)
    chosen = choose_texts(doubt, vectors, count, round(at_random * count), seed=seed)
    if len(chosen) < count:
        notify(f"{pool.name}: only {counted(len(chosen), 'text')} left to label.")
    ranked = predictor.ranked(probabilities[[row for row, _ in chosen]])
    columns = columns_of(bundle.record)
    labels = LabelCells.of_bundle(columns)
    # Of two columns of labels the bundle's own would be read, and that is the pool's, not what a person fills in.
    taken = {*labels.added, columns.get("label") or ""}
    found = [
        ToLabel(
            texts[row],
            pool.lines[rows[row]],
            cells_of(pool, int(rows[row]), taken),
            answer_of(one),
            one[0]["score"],
            why,
        )
        for (row, why), one in zip(chosen, ranked, strict=True)
    ]
    if output is not None:
        write_to_label(output, found, form, labels=labels, force=force, escape_formulas=escape_formulas)
    return {
        "bundle": str(folder),
        "pool": pool.name,
        "rows": len(pool.texts),
        "labelled_already": int(known.sum()),
        "copies": copies,
        "chosen": [one.document() for one in found],
        "output": None if output is None else str(output),
    }


def unlabelled_rows(pool: Table, known: BoolArray) -> tuple[Rows, int]:
    """Rows of the pool to choose from: not ``known`` [rows], of copies the first; and how many copies there were.

    Raises DataError where nothing is left.
    """
    first: dict[str, int] = {}
    free = np.flatnonzero(~known)
    for row in free.tolist():
        first.setdefault(fold(pool.texts[row]), row)
    if not first:
        raise DataError(f"{pool.name}: every text is labelled already ({len(pool.texts):,}). Give others.")
    rows = np.array(list(first.values()), dtype=np.int64)
    return rows, len(free) - len(rows)


def cells_of(pool: Table, row: int, taken: Collection[str]) -> dict[str, Any]:
    """A row of the pool, by the columns that a file to label has of it, whose others are called as ``taken`` says."""
    if not pool.columns:
        return {"text": pool.texts[row]}
    names = kept_columns(list(pool.columns), pool.text_column, taken)
    return {name: cells[row] for name, cells in zip(names, pool.columns.values(), strict=True)}


def doubts(probabilities: FloatArray, *, multi: bool = False) -> Floats:
    """How doubtful each text is, 0 … 1 [texts]: 1 less the margin of the two likeliest labels of probabilities
    [texts, labels]; with ``multi`` by the label that is nearest to one half."""
    if multi:
        return np.asarray(1 - np.abs(2 * probabilities - 1).min(axis=1), dtype=np.float64)
    highest = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(1 - (highest[:, -1] - highest[:, 0]), dtype=np.float64)


def choose_texts(
    doubt: Floats, vectors: Callable[[Rows], Vectors], count: int, at_random: int, *, seed: int
) -> list[tuple[int, str]]:
    """(text, why) of ``count`` texts, or of all where there are fewer, in a random order.

    doubt [texts]: see `doubts`. vectors: gives those of some texts [chosen, width]. at_random: how many are drawn from
    all texts, whatever their doubt. The same input and seed give the same choice.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.permutation(len(doubt))[: min(at_random, count)]
    rest = np.setdiff1d(np.arange(len(doubt)), drawn)
    wanted = min(count - len(drawn), len(rest))
    likely = rest[np.argsort(-doubt[rest], kind="stable")][: CLUSTERED * wanted]
    spread = likely if len(likely) <= wanted else likely[spread_out(vectors(likely), wanted, doubt[likely], seed=seed)]
    chosen = [(int(row), AT_RANDOM) for row in drawn] + [(int(row), DOUBTFUL) for row in spread]
    return [chosen[place] for place in generator.permutation(len(chosen))]


def spread_out(vectors: Vectors, count: int, weights: Floats, *, seed: int) -> Rows:
    """``count`` of the vectors [texts, width], one near each cluster's centre; weights [texts] draw the centres."""
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Number of distinct clusters")  # of texts that are alike
        clusters = KMeans(count, n_init=1, max_iter=_STEPS, random_state=seed).fit(
            vectors, sample_weight=weights + 1e-6
        )
    distances = clusters.transform(vectors)
    free = np.ones(len(vectors), dtype=np.bool_)
    chosen = []
    for cluster in range(count):
        nearest = int(np.where(free, distances[:, cluster], np.inf).argmin())
        free[nearest] = False
        chosen.append(nearest)
    return np.array(chosen, dtype=np.int64)
