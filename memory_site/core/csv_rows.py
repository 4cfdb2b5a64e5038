"""Rows of CSV files that a spreadsheet shows and does not compute."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any

#: What makes a cell a formula: https://owasp.org/www-community/attacks/CSV_Injection
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")


def format_csv_row(row: Iterable[Any]) -> str:
    """Return the row as a line of CSV. Times are in ISO 8601, and texts that look like formulas get an apostrophe."""
    out = io.StringIO()
    csv.writer(out).writerow(map(format_csv_cell, row))
    return out.getvalue()


def format_csv_cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    is_formula = isinstance(value, str) and value.startswith(FORMULA_BEGINNINGS) and not is_number(value)
    return f"'{value}" if is_formula else value


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
