"""The copy of the ledger of erasures at BACKUP_TARGET: both copies get what the other one has."""

from pathlib import Path

from memory_site.operations.erasures.entries import Entry, seal
from memory_site.operations.erasures.ledger import LEDGER_NAME, Ledger, append_missing, parse_ledger, read_ledger
from memory_site.operations.offsite.target import Target


def exchange_ledger(path: Path, target: Target) -> Ledger:
    """Complete the file and its copy with each other's entries. Return all entries.

    Raises OffsiteProblem, LedgerProblem.
    """
    data = target.read(LEDGER_NAME) or b""
    there, here = parse_ledger(data, f"{target.url}/{LEDGER_NAME}"), read_ledger(path)
    if new := [entry for entry in there.entries.values() if entry.id not in here.entries]:
        append_missing(path, new)
    if missing := [entry for entry in here.entries.values() if entry.id not in there.entries]:
        target.write(LEDGER_NAME, append_lines(data, missing))
    there.merge(here)
    return there


def append_lines(data: bytes, entries: list[Entry]) -> bytes:
    """Append to the content of a ledger; a line that was cut gives way."""
    return data[: data.rfind(b"\n") + 1] + "".join(f"{seal(entry)}\n" for entry in entries).encode()
