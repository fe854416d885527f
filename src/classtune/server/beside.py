"""Cells that a request sends with its texts, for a bundle that was trained ``--with`` columns."""

from __future__ import annotations

from collections.abc import Sequence

from classtune.data.reading.cells import as_text, with_beside
from classtune.errors import counted, did_you_mean
from classtune.server.dialects.refusals import Refusal
from classtune.server.dialects.texts import Cell


def with_columns(texts: Sequence[str], columns: dict[str, Cell | list[Cell]] | None, known: Sequence[str]) -> list[str]:
    """The texts with the cells that were sent for them; what was not sent is an empty cell.

    known: columns that the bundle reads. Raises Refusal for any other, and for lists that are not one cell a text.
    """
    problems, sent = [], {}
    for name, cells in (columns or {}).items():
        listed = cells if isinstance(cells, list) else [cells]
        if name not in known:
            hint = did_you_mean(name, known) if known else "It reads texts alone."
            problems.append(f"columns.{name}: this classifier reads no such column. {hint}")
        elif len(listed) != len(texts):
            problems.append(
                f"columns.{name}: {counted(len(listed), 'cell')} for {counted(len(texts), 'text')}. Send one a text."
            )
        sent[name] = [as_text(cell).strip() for cell in listed]
    if problems:
        raise Refusal(422, "validation", "\n".join(problems))
    if not sent:
        return list(texts)
    return [with_beside(text, {name: cells[row] for name, cells in sent.items()}) for row, text in enumerate(texts)]
