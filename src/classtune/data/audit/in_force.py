"""Advice of an audit that a run follows already: there it says what was done, so that nobody does it again."""

from __future__ import annotations

from dataclasses import replace

from classtune.config import Settings, backbone_names
from classtune.data.audit.audit import Audit
from classtune.sources import models

NOTHING_TO_DO = "Nothing to do"  # how such advice begins


def in_force(audit: Audit, settings: Settings) -> Audit:
    """The audit of the rows of a run with these settings."""
    followed = {}
    if settings.split == "grouped" and settings.split_by == "near":
        followed["near-duplicates"] = f"{NOTHING_TO_DO}: near copies were kept in one part."
    if settings.blanks == "fold":
        followed["telling-blanks"] = (
            f"{NOTHING_TO_DO} here: blanks were folded. Remove them before another program learns from the table."
        )
    if settings.class_weights == "balanced" or settings.balance == "undersample":
        followed["imbalance"] = "Read macro F1 and the recall of each class: rare ones count more already."
    languages = [len(models()[name].languages) for name in backbone_names(settings) if name in models()]
    if languages and min(languages) > 1:
        followed["language-mix"] = f"{NOTHING_TO_DO} about the model: it knows many languages. Collect more such texts."
    findings = [replace(finding, advice=followed.get(finding.kind, finding.advice)) for finding in audit.findings]
    return replace(audit, findings=findings)
