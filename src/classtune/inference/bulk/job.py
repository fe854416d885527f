"""A bundle over more rows than memory holds: tables in, the same tables with answers out, shard by shard.

    tables → pieces of some rows → an engine (the cores of this machine, or Ray) → decisions → shards on disk

The engine alone runs the model. Reading, decisions and writing stay here, so that whatever runs the model, the files
are the same; and a run that was killed goes on where its last shard stands.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from classtune.bundle import RECORD
from classtune.config import Progress
from classtune.data.reading.cells import as_whole_text, is_blank
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.streams import open_stream
from classtune.data.reading.streams.stream import Piece, Stream
from classtune.decisions.decisions import Decisions
from classtune.errors import BundleError, DataError, Interrupted, SettingsError, did_you_mean
from classtune.inference.answer_files import kept_columns, taken_by
from classtune.inference.bulk.engines import Engine, Job
from classtune.inference.bulk.scorer import Scored, Scorer, cores
from classtune.inference.bulk.shards import Shard, ShardFolder, find_inputs, fingerprint, shards_of
from classtune.inference.predictor import Predictor, answer_columns, label_and_score
from classtune.inference.runtimes import load_exported
from classtune.inference.tables import Notify, adjusted

SHARD_ROWS = 10_000
ENGINES = ("local", "ray")
_GO_ON = "What is finished is kept: go on with --resume."


def predict_bulk(
    folder: Path,
    inputs: Sequence[str],
    output: Path,
    *,
    format: TableFormat,
    wishes: Mapping[str, Any],
    runtime: str = "torch",
    device: str = "auto",
    resume: bool = False,
    force: bool = False,
    strict: bool = False,
    engine: str = "local",
    escape_formulas: bool = False,
    shard_rows: int = SHARD_ROWS,
    notify: Notify,
    progress: Progress,
) -> dict[str, Any]:
    """Write the rows of the inputs (files, folders, patterns) to the folder ``output`` with their answers.

    Each table's columns are kept, and ``label``, ``score`` and one ``score:NAME`` a label come after them. Rows whose
    text is empty or too long get none and are listed in problems.jsonl, as are rows that cannot be read, which are left
    out; with ``strict`` either is an error. escape_formulas: in delimited files; see `write_delimited`. wishes:
    see `classtune.inference.tables.adjusted`; runtime, device: see `classtune.inference.runtimes.load_exported`;
    engine: one of ENGINES.
    Returns counts, seconds, texts a second and the files. Raises DataError for inputs, SettingsError for wishes,
    BundleError for the bundle or an output that cannot be written, Interrupted on Ctrl-C; then ``resume`` goes on.
    """
    if wishes.get("deploy_prior") == "estimate":
        raise SettingsError(
            "--deploy-prior estimate: needs all texts at once, and answers into a folder are made in pieces. Estimate "
            "on one table, `predict DIR FILE --deploy-prior estimate`, then name the shares: --deploy-prior spam=0.13."
        )
    if engine not in ENGINES:
        raise SettingsError(f"--engine {engine}: is unknown. {did_you_mean(engine, ENGINES)}")
    if engine == "ray" and device not in ("auto", "cpu"):
        raise SettingsError(f"--device {device}: the workers of --engine ray run on processors. Leave one of them out.")
    start = time.perf_counter()
    files = find_inputs(inputs, output, notify)
    streams = _open_streams(files, format, shard_rows, notify)
    for stream in streams.values():
        stream.escape_formulas = escape_formulas
    with cores() as threads:
        predictor, bundle = load_exported(folder, runtime, device if engine == "local" else "cpu")
    predictor.decisions = adjusted(bundle, wishes, np.empty((0, len(bundle.labels))), notify)
    columns = {name: _names(stream, predictor.labels, notify) for name, stream in streams.items()}
    shards = shards_of(streams)
    paths = {name: path for path, name in files}
    target = ShardFolder(
        output,
        shards,
        {
            "bundle": fingerprint(folder / RECORD)["sha256"],
            "wishes": dict(wishes),
            "format": {key: value for key, value in asdict(format).items() if value != getattr(TableFormat(), key)}
            | ({"escape_formulas": True} if escape_formulas else {}),
            "inputs": [{"file": name, **fingerprint(paths[name])} for name in streams],
        },
    )
    with target.alone(notify):
        finished = target.open(resume=resume, force=force, notify=notify)
        total, done = (
            sum(shard.rows for shard in some) for some in (shards, [s for s in shards if s.name in finished])
        )
        resumed = done
        if resumed:
            notify(f"{resumed:,} of {total:,} rows are answered already.")
        progress("predict", done, total)

        def local(jobs: Iterator[Job]) -> Iterator[tuple[Job, Scored]]:
            with cores(), closing(Scorer(predictor, threads)) as scorer:
                for job in jobs:
                    yield job, scorer(job.texts, lambda more: progress("predict", done + more, total))

        running = local if engine == "local" else _ray(folder, runtime)
        try:
            for job, scored in running(_jobs(shards, finished)):
                _finish(target, job, scored, predictor, columns[job.shard.stream.name], strict=strict)
                done += job.shard.rows
                progress("predict", done, total)
        except KeyboardInterrupt:
            raise Interrupted(f"stopped: {done:,} of {total:,} rows are answered. {_GO_ON}") from None
        except (BundleError, DataError) as error:
            raise type(error)([*error.problems, f"{done:,} of {total:,} rows are answered. {_GO_ON}"]) from error
    problems = target.count_problems()
    seconds = time.perf_counter() - start
    return {
        "output": str(output),
        "files": [shard.name for shard in shards],
        "rows": total,
        "resumed": resumed,
        "problems": problems,
        "seconds": seconds,
        "rows_per_second": (total - resumed) / seconds,
    }


def _open_streams(
    files: Sequence[tuple[Path, str]], format: TableFormat, size: int, notify: Notify
) -> dict[str, Stream]:
    """Tables by name. Among several, those without rows are passed over. Raises DataError with all that is wrong."""
    streams, problems, empty = {}, [], []
    for path, name in files:
        try:
            if path.stat().st_size and sum((stream := open_stream(path, format, size=size, name=name)).sizes):
                streams[name] = stream
                for note in stream.notes:
                    notify(f"{name}: {note}")
            else:
                empty.append(name)
        except DataError as error:
            problems += error.problems
        except OSError as error:
            problems.append(f"{name}: cannot be read ({error.strerror}).")
    if not streams and not problems:
        problems = [f"{name}: there are no rows." for name in empty]
    if problems:
        raise DataError(problems)
    if empty:
        notify(f"without rows, and passed over: {', '.join(empty)}")
    return streams


def _names(stream: Stream, labels: Sequence[str], notify: Notify) -> list[str]:
    """What a table's own columns are called beside the answers."""
    names = kept_columns(stream.names, ",".join(stream.text_columns), taken_by(labels))
    renamed = [f"{old!r} {new!r}" for old, new in zip(stream.names, names, strict=True) if new == f"given:{old}"]
    if renamed:
        notify(f"{stream.name}: columns that the answers need keep another name: {', '.join(renamed)}")
    return names


def _jobs(shards: Sequence[Shard], finished: set[str]) -> Iterator[Job]:
    """The pieces whose shard is not finished, in order, read when they are asked for."""
    for stream in dict.fromkeys(shard.stream for shard in shards):
        of_stream = [shard for shard in shards if shard.stream is stream]
        if all(shard.name in finished for shard in of_stream):
            continue
        for shard, piece in zip(of_stream, stream.pieces(), strict=True):
            if shard.name not in finished:
                yield _job(shard, piece)


def _job(shard: Shard, piece: Piece) -> Job:
    texts, rows, faults = [], [], {}
    for row, cell in enumerate(piece.cells):
        try:
            text = as_whole_text(cell)
            if is_blank(text):
                raise ValueError("is empty")
            texts.append(text)
            rows.append(row)
        except ValueError as fault:
            faults[row] = f"the text {fault}"
    return Job(shard, piece, texts, rows, faults)


def _ray(folder: Path, runtime: str) -> Engine:
    from classtune.inference.bulk.on_ray import ray_engine

    return ray_engine(folder, runtime)


def _finish(
    target: ShardFolder, job: Job, scored: Scored, predictor: Predictor, names: Sequence[str], *, strict: bool
) -> None:
    """Decide, and write the shard."""
    stream, lines = job.shard.stream, job.piece.lines
    faults = job.faults | {job.rows[number]: fault for number, fault in scored.faults.items()}
    listed = [(lines[row], fault, False) for row, fault in faults.items()]
    listed = sorted(listed + [(line, fault, True) for line, fault in job.piece.broken])
    if strict and listed:
        raise DataError([f"{stream.name} {stream.unit} {line}: {fault}." for line, fault, _ in listed])
    problems = [
        {"file": stream.name, stream.unit: line, "reason": fault, "left_out": left_out}
        for line, fault, left_out in listed
    ]
    added = _answers(predictor, job, scored)
    target.put(job.shard, lambda path: stream.write(path, job.piece, names, added), problems)


def _answers(predictor: Predictor, job: Job, scored: Scored) -> dict[str, list[Any]]:
    """The new columns of a piece; cells of rows without an answer are None. An answer that is withheld is ""."""
    decisions: Decisions = predictor.decisions
    added: dict[str, list[Any]] = {column: [None] * job.shard.rows for column in answer_columns(predictor.labels)}
    kept = [number for number in range(len(job.texts)) if number not in scored.faults]
    if not kept:
        return added
    for number, ranked in zip(kept, predictor.ranked(decisions.probabilities(scored.logits[kept])), strict=True):
        row = job.rows[number]
        added["label"][row], added["score"][row] = label_and_score(ranked)
        for entry in ranked:
            added[f"score:{entry['label']}"][row] = entry["score"]
    return added
