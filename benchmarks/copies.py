"""The tutorial's own split: its test messages that stand in its training rows, and the score with and without them."""

from __future__ import annotations

import argparse

from common import Figure, main, note, silent, sms_spam

from classtune.config import resolve
from classtune.data.audit.audit import audit_rows
from classtune.data.audit.findings import Part
from classtune.data.dataset import prepare
from classtune.jobs.train import train

VERBATIM, SAME_LETTERS = 37, 51  # known of this split


def measure(args: argparse.Namespace) -> list[Figure]:
    settings = resolve("llms-from-scratch", {"model": "smollm2-135m", "keep_texts": False})
    table = sms_spam(quoting=True)
    material = prepare(table, settings)
    parts = [
        ([material.texts[row] for row in rows], [material.labels[material.truth[row]] for row in rows], None)
        for rows in (material.splits.train, material.splits.test)
    ]
    audit = audit_rows(*parts[0], parts={"test": Part(*parts[1][:2], list(range(1, len(parts[1][0]) + 1)))})
    (leak,) = (finding for finding in audit.findings if finding.kind == "leak")
    result = train(table, settings, notify=silent, progress=silent).result.document()
    note(result["copies"]["sentence"])
    detail = {"leak": leak.detail, "with": result["test"]["accuracy"], **result["copies"]}
    found = leak.detail
    return [
        Figure("tutorial split: verbatim copies found", found["verbatim"], "", VERBATIM, VERBATIM, detail),
        Figure("tutorial split: copies in letters alone found", found["same_letters"], "", SAME_LETTERS, SAME_LETTERS),
        Figure("tutorial split, row 1 on smollm2-135m, all test rows", 100 * result["test"]["accuracy"], "%"),
        Figure("the same without copied test rows", 100 * result["copies"]["accuracy"], "%"),
    ]


if __name__ == "__main__":
    main(__doc__, measure)
