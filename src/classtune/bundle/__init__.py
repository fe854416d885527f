"""The saved classifier: a Hugging Face folder with what Hugging Face does not keep in ``classtune.json``.

All that quotes the rows of the table lies in its folder ``texts/``, which may be left out.
Knows networks and records, not how they were trained.
"""

from classtune.bundle.folder import (
    MEMBERS,
    Bundle,
    Member,
    check_golden,
    check_target,
    load_bundle,
    new_bundle,
    write_record,
)
from classtune.bundle.kept_rows import (
    HELD_OUT,
    ROWS,
    VALIDATION,
    learned_rows,
    read_arrays,
    read_held_out,
    read_rows,
    read_validation,
    write_held_out,
    write_rows,
    write_validation,
)
from classtune.bundle.network import write_model
from classtune.bundle.record import (
    SCHEMA_VERSION,
    TEXTS,
    check_files,
    columns_of,
    decisions_of,
    put_record,
    read_record,
    without_quotes,
)
from classtune.files import EXPORTED, RECORD

# Files that whoever writes a bundle puts beside the record.
REPORT, CARD = "report.html", "README.md"
QUOTES = "quotes.json"

__all__ = [
    "CARD",
    "EXPORTED",
    "HELD_OUT",
    "MEMBERS",
    "QUOTES",
    "RECORD",
    "REPORT",
    "ROWS",
    "SCHEMA_VERSION",
    "TEXTS",
    "VALIDATION",
    "Bundle",
    "Member",
    "check_files",
    "check_golden",
    "check_target",
    "columns_of",
    "decisions_of",
    "learned_rows",
    "load_bundle",
    "new_bundle",
    "put_record",
    "read_arrays",
    "read_held_out",
    "read_record",
    "read_rows",
    "read_validation",
    "without_quotes",
    "write_held_out",
    "write_model",
    "write_record",
    "write_rows",
    "write_validation",
]
