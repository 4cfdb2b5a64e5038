"""Floats of stored JSON. PostgreSQL writes a float from 1e16 on as an integer, which no field would accept again."""

import re
from typing import Any

from memory_site.core.http.fields import MAX_SAFE_INTEGER

# Cheap, and found in hardly any response: it says whether the search for such an integer is worth it. A regular
# expression would take as long as everything else that makes a response.
DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
LONG_NUMBER = b"0" * 17
STRING_OR_LONG_INTEGER = re.compile(rb'"(?:[^"\\]|\\.)*"|(?<=[:,\[ ])-?[0-9]{17,}(?=[],}])')


def mark_floats(body: bytes) -> bytes:
    """Return JSON in which every integer beyond MAX_SAFE_INTEGER ends with `.0`: it can only have been a float."""
    if LONG_NUMBER not in body.translate(DIGITS_AS_ZERO):
        return body
    return STRING_OR_LONG_INTEGER.sub(lambda found: found[0] if found[0][:1] == b'"' else found[0] + b".0", body)


def restore_floats(value: Any) -> Any:
    """Return the JSON value with such integers as floats."""
    match value:
        case dict():
            return {name: restore_floats(each) for name, each in value.items()}
        case list():
            return [restore_floats(each) for each in value]
        case int() if abs(value) > MAX_SAFE_INTEGER:
            return float(value)
    return value
