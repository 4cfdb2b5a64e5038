from datetime import UTC, datetime

import pytest

from memory_site.core.csv_rows import format_csv_row


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3", "'-2+3"),
        ("-5", "-5"),
        (-5, "-5"),
        ("a, b", '"a, b"'),
        (None, ""),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    ],
)
def test_a_spreadsheet_shows_cells_and_computes_none(cell, text):
    assert format_csv_row(["x", cell]) == f"x,{text}\r\n"
