"""Dates and times are one text in every format that knows them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from xlsxwriter import Workbook

from classtune.data.reading.cells import as_text
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.streams import open_stream
from classtune.data.reading.tables import read_table, table_from_rows
from classtune.errors import DataError

DAY = datetime.date(2026, 11, 28)
MOMENTS = [
    datetime.datetime(2026, 11, 28, 10, 0, 0),
    datetime.datetime(2026, 11, 28, 23, 59, 59),
    datetime.datetime(2026, 11, 28),
]
WRITTEN = ["2026-11-28 10:00:00", "2026-11-28 23:59:59", "2026-11-28"]
BESIDE = TableFormat(text="text", label="label", beside=("day",))


def cells_of(path: Path) -> list[str]:
    return [text.cells["day"] for text in read_table(path, BESIDE).texts]  # type: ignore[attr-defined]


def parquet(path: Path, days: Any) -> Path:
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": ["x", "y", "x"], "day": days}), path)
    return path


def excel(path: Path, days: list[Any], form: str) -> Path:
    with Workbook(str(path)) as book:
        sheet, as_date = book.add_worksheet(), book.add_format({"num_format": form})
        sheet.write_row(0, 0, ["text", "label", "day"])
        for row, (text, label, day) in enumerate(zip("abc", "xyx", days, strict=True), 1):
            sheet.write_row(row, 0, [text, label])
            sheet.write_datetime(row, 2, day, as_date)
    return path


def test_dates_and_moments_are_the_same_text_in_every_format(tmp_path: Path) -> None:
    rows = "".join(f"{text},{label},{day}\n" for text, label, day in zip("abc", "xyx", WRITTEN, strict=True))
    (tmp_path / "t.csv").write_text(f"text,label,day\n{rows}", encoding="utf-8")
    assert cells_of(tmp_path / "t.csv") == WRITTEN
    assert cells_of(excel(tmp_path / "t.xlsx", MOMENTS, "yyyy-mm-dd hh:mm:ss")) == WRITTEN
    for unit in ("s", "ms", "us", "ns"):
        assert cells_of(parquet(tmp_path / "t.parquet", pa.array(MOMENTS, pa.timestamp(unit)))) == WRITTEN
    assert cells_of(excel(tmp_path / "d.xlsx", [DAY] * 3, "dd/mm/yyyy")) == ["2026-11-28"] * 3
    for kind in (pa.date32(), pa.date64()):
        assert cells_of(parquet(tmp_path / "d.parquet", pa.array([DAY] * 3, kind))) == ["2026-11-28"] * 3
    python = table_from_rows(pa.table({"text": ["a", "b", "c"], "day": MOMENTS}), ["x", "y", "x"], format=BESIDE)
    assert [text.cells["day"] for text in python.texts] == WRITTEN  # type: ignore[attr-defined]
    array = np.array(MOMENTS, "datetime64[ns]")
    assert [as_text(moment) for moment in array] == table_from_rows(array).texts == WRITTEN


def test_a_zone_is_kept_and_what_is_finer_than_microseconds_is_not(tmp_path: Path) -> None:
    zone = pa.array(MOMENTS, pa.timestamp("us", tz="+01:00"))
    assert cells_of(parquet(tmp_path / "t.parquet", zone))[0] == "2026-11-28 11:00:00+01:00"
    fine = pa.array([1_500_000_001, 0, None], pa.timestamp("ns"))
    assert cells_of(parquet(tmp_path / "f.parquet", fine)) == ["1970-01-01 00:00:01.500000", "1970-01-01", ""]
    times = pa.array([datetime.time(10, 30), datetime.time(0), None], pa.time64("ns"))
    assert cells_of(parquet(tmp_path / "h.parquet", times)) == ["10:30:00", "00:00:00", ""]
    stream = open_stream(tmp_path / "f.parquet", BESIDE, size=2)
    read = [cell.beside["day"] for piece in stream.pieces() for cell in piece.cells]  # type: ignore[attr-defined]
    assert [as_text(cell) for cell in read] == ["1970-01-01 00:00:01.500000", "1970-01-01", ""]


def test_a_moment_that_python_has_not_is_said(tmp_path: Path) -> None:
    far = parquet(tmp_path / "t.parquet", pa.array([1 << 50, 0, 0], pa.timestamp("ms")))
    with pytest.raises(DataError, match=r"t\.parquet: column 'day' cannot be read"):
        read_table(far, BESIDE)
    with pytest.raises(DataError, match=r"t\.parquet after row 0: cannot be read"):
        list(open_stream(far, BESIDE, size=2).pieces())
