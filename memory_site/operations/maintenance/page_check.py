"""Reads every page of the database and names the damaged ones."""

from collections.abc import Iterable, Iterator
from typing import Any

from memories.vacuum import unlimited_time
from memory_site.core.leases.leases import hold_lease
from memory_site.operations.maintenance.files import FilesNotChecked, read_files
from memory_site.operations.maintenance.findings import MB, Finding, Severity
from memory_site.operations.maintenance.pages import DamagedPage, list_readable_tables, read_table
from memory_site.operations.maintenance.run import BUSY, LEASE, finish_report, refuse_citus, start_report, update
from memory_site.operations.models import MaintenanceReport

GRANT = "ALTER ROLE … REPLICATION by an administrator, and pg_basebackup in PATH"


def check_pages() -> Iterator[tuple[int, int, MaintenanceReport]]:
    """Read every page and store a report. Yield megabytes read, megabytes in all, and its row; the last one is
    finished.

    Changes nothing: an interrupted check is repeated from the beginning. Raises AlreadyRunning and MaintenanceRefused.
    """
    refuse_citus()
    with hold_lease(LEASE, BUSY), unlimited_time():
        report, findings = start_report(checked_pages=True), Findings()
        total = 0
        for done, total, what in read_all(findings):
            update(report, message=f"read {what}", progress=min(done / max(total, 1), 0.99))
            yield done // MB, total // MB, report
        finish_report(report, findings.as_dicts())
        yield total // MB, total // MB, report


class Findings:
    """Damaged pages, each once: both ways may meet it; and what could not be read."""

    def __init__(self) -> None:
        self.pages: dict[tuple, DamagedPage] = {}
        self.notes: list[Finding] = []

    def add(self, pages: Iterable[DamagedPage]) -> None:
        for page in pages:
            self.pages.setdefault((page.relation, page.kind, page.block), page)

    def as_dicts(self) -> list[dict[str, Any]]:
        return [each.as_dict() for each in (*(page.as_finding() for page in self.pages.values()), *self.notes)]


def read_all(findings: Findings) -> Iterator[tuple[int, int, str]]:
    """Read the tables, then the files. Yield bytes read, bytes in all, and what is read."""
    tables = list_readable_tables()
    done, total = 0, sum(table.size for table in tables)
    for table in tables:
        for read, pages in read_table(table):
            findings.add(pages)
            done += read
            yield done, total, table.name
    try:
        for kilobytes, all_kilobytes, pages in read_files():
            findings.add(pages)
            yield done + kilobytes * 1024, total + all_kilobytes * 1024, "files"
    except FilesNotChecked as error:
        message = f"Tables were read; indexes and catalogs were not compared with their checksums: {error}."
        findings.notes.append(Finding(Severity.NOTE, "files not compared", "server", message, GRANT))
