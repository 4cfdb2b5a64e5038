"""Writes operations.py: which method calls which operation."""

from client_generator.operations import Operation
from client_generator.text import HEADER


def write_operations(operations: list[Operation]) -> str:
    rows: dict[tuple[str, str], list[str]] = {}
    for each in operations:
        rows.setdefault((each.method, each.path), []).append(f"{each.group}.{each.name}")
    reading = sorted(each.path for each in operations if each.reads and each.method == "POST")
    methods = "".join(f"{key!r}: {tuple(names)!r}," for key, names in rows.items())
    lines = [
        f'"""The operations of the API, and the methods that call them.\n\n{HEADER}\n"""',
        "#: By verb and path below the API's.",
        f"OPERATIONS: dict[tuple[str, str], tuple[str, ...]] = {{{methods}}}",
        "#: Paths of POST that change nothing: they may be repeated without an Idempotency-Key.",
        f"READING_POSTS = frozenset({{{', '.join(map(repr, reading))}}})",
    ]
    return "\n\n".join(lines)
