"""Tables that tests write, and what reading them gives or refuses."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from classtune.data.reading.tables import Table, read_table
from classtune.errors import DataError, UserError


def pairs(table: Table) -> list[tuple[str, str]]:
    assert table.labels is not None
    return list(zip(table.texts, table.labels, strict=True))


def written_as(suffix: str, table: Table, folder: Path) -> Path:
    """All columns of a table that was read for prediction, in a file of this format."""
    rows = [dict(zip(table.columns, cells, strict=True)) for cells in zip(*table.columns.values(), strict=True)]
    path = folder / f"in{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([table.columns, *(row.values() for row in rows)])
    return path


def problems(path: str | Path, *args: Any, error: type[UserError] = DataError, **options: Any) -> list[str]:
    with pytest.raises(error) as caught:
        read_table(path, *args, **options)
    return caught.value.problems


def xlsx(**sheets: dict[int, list[Any]]) -> bytes:
    """An Excel file of sheets of numbered rows of cells; None leaves a cell out."""
    office = "http://schemas.openxmlformats.org"
    links, names, buffer = "", "", io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (sheet, rows) in enumerate(sheets.items(), 1):
            body = ""
            for row, cells in rows.items():
                for column, cell in zip("ABCDEF", cells, strict=False):
                    at = f'<c r="{column}{row}"'
                    if isinstance(cell, bool):
                        at += f' t="b"><v>{int(cell)}</v></c>'
                    elif isinstance(cell, str):
                        at += f' t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
                    else:
                        at += f"><v>{cell}</v></c>"
                    body += at if cell is not None else ""
                body = f'{body}</row><row r="{row + 1}">'
            data = f'<row r="1">{body}</row>'
            main = f'xmlns="{office}/spreadsheetml/2006/main"'
            archive.writestr(f"xl/{number}.xml", f"<worksheet {main}><sheetData>{data}</sheetData></worksheet>")
            kind = f"{office}/officeDocument/2006/relationships/worksheet"
            links += f'<Relationship Id="r{number}" Type="{kind}" Target="{number}.xml"/>'
            names += f'<sheet name="{sheet}" sheetId="{number}" r:id="r{number}"/>'
        package = f"{office}/package/2006"
        relations = f'<Relationships xmlns="{package}/relationships">{{}}</Relationships>'
        kind = f"{office}/officeDocument/2006/relationships"
        root = f'<Relationship Id="w" Type="{kind}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr("_rels/.rels", relations.format(root))
        archive.writestr("xl/_rels/workbook.xml.rels", relations.format(links))
        archive.writestr("xl/workbook.xml", f'<workbook {main} xmlns:r="{kind}"><sheets>{names}</sheets></workbook>')
        types = (
            f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>'
        )
        archive.writestr("[Content_Types].xml", types)
    return buffer.getvalue()
