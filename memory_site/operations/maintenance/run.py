"""One run of maintenance: what is due, what is found, and the report that stays."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from memories.vacuum import BUSY as VACUUM_BUSY
from memories.vacuum import TABLE as VECTORS
from memories.vacuum import unlimited_time
from memory_site.core.db.cluster import is_citus
from memory_site.core.db.damage import is_damaged
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.leases.leases import hold_lease
from memory_site.operations.maintenance.bloat import Bloat, find_bloat, read_bloat
from memory_site.operations.maintenance.findings import Finding, Severity, Step
from memory_site.operations.maintenance.indexes import (
    Index,
    find_index_faults,
    plan_index_steps,
    read_invalid,
    rebuild,
)
from memory_site.operations.maintenance.score import Score, compute_score
from memory_site.operations.maintenance.server import read_server_figures
from memory_site.operations.maintenance.slow_statements import find_slow_statements
from memory_site.operations.maintenance.tables import Table, find_table_faults, plan_table_steps, read_tables
from memory_site.operations.models import MaintenanceReport
from sessions_app.commands import get_first_line

LEASE, BUSY = "maintenance", "Another process maintains the database."
#: The lease under which the index of the vectors is rebuilt, by whatever command.
VECTORS_LEASE = f"vacuum of {VECTORS}"
NO_CITUS = (
    "The tables are distributed over the nodes of a Citus cluster, which have their own statistics: run vacuumdb and "
    "reindexdb on each node."
)


class MaintenanceRefused(Exception):
    """Maintenance cannot run here. The message says why."""


def refuse_citus() -> None:
    """Raise MaintenanceRefused on a cluster: the coordinator's figures say nothing of the shards."""
    if is_citus():
        raise MaintenanceRefused(NO_CITUS)


def plan_steps() -> list[Step]:
    """Return what a run would do now."""
    return [*plan_table_steps(read_tables()), *plan_index_steps(read_invalid())]


@dataclass(frozen=True)
class State:
    """The tables and indexes as they are. With pgstattuple all of them are read."""

    tables: list[Table] = field(default_factory=read_tables)
    invalid: list[Index] = field(default_factory=read_invalid)
    bloat: list[Bloat] = field(default_factory=read_bloat)

    def find_faults(self) -> list[Finding]:
        """Return what is left to an administrator, the worst first."""
        findings = [
            *find_table_faults(self.tables),
            *find_index_faults(self.invalid),
            *find_bloat(self.bloat),
            *find_slow_statements(),
        ]
        return sorted(findings, key=lambda finding: list(Severity).index(finding.severity))

    def compute_score(self) -> Score:
        """Return the health score, with the figures of the server as they are now."""
        return compute_score(read_server_figures(), self.tables, self.bloat, self.invalid)


def run_maintenance() -> Iterator[tuple[int, int, MaintenanceReport]]:
    """Do what is due and store the report. Yield steps done, steps in all, and its row; the last one is finished.

    An interrupted run leaves nothing half done but perhaps an invalid index, which the next one drops. Cannot run in a
    transaction. Raises AlreadyRunning and MaintenanceRefused.
    """
    refuse_citus()
    with hold_lease(LEASE, BUSY), unlimited_time():
        report, steps = start_report(), plan_steps()
        for number, step in enumerate(steps):
            update(report, message=f"{step.kind}: {step.object}", progress=number / (len(steps) + 1))
            yield number, len(steps), report
            update(report, **run_step(step, report))
        finish_report(report, report.findings)
        yield len(steps), len(steps), report


def rebuild_index(index: Index) -> None:
    """Rebuild an index now. Raises AlreadyRunning."""
    with hold_lease(LEASE, BUSY), unlimited_time(), hold_vectors_lease(index.table):
        rebuild(index)


def run_step(step: Step, report: MaintenanceReport) -> dict[str, list[dict[str, Any]]]:
    """Run a step. Return what it adds to the report: to what was done, or to what was found if it failed."""
    try:
        with hold_vectors_lease(step.table):
            step.run()
    except (AlreadyRunning, DatabaseError) as error:
        return {"findings": [*report.findings, describe_failure(step, error).as_dict()]}
    return {"done": [*report.done, step.as_dict()]}


def describe_failure(step: Step, error: Exception) -> Finding:
    """Return the finding of a step that another process does, that met a damaged page, or that failed otherwise."""
    if isinstance(error, AlreadyRunning):
        return Finding(Severity.NOTE, f"{step.kind} left out", step.object, str(error), "python manage.py maintain")
    mend = "python manage.py maintain --check-pages" if is_damaged(error) else "python manage.py maintain"
    return Finding(Severity.PROBLEM, f"{step.kind} failed", step.object, get_first_line(error), mend)


def hold_vectors_lease(table: str) -> AbstractContextManager:
    """Return the lease under which the index of the vectors is changed; nothing to hold for another table."""
    return hold_lease(VECTORS_LEASE, VACUUM_BUSY) if table.startswith(VECTORS) else nullcontext()


def start_report(**values: Any) -> MaintenanceReport:
    """Create the row of a run. Those of interrupted runs go: this one has the lease."""
    MaintenanceReport.objects.filter(finished_at=None).delete()
    return MaintenanceReport.objects.create(started_at=timezone.now(), **values)


def finish_report(report: MaintenanceReport, earlier: Iterable[dict[str, Any]] = ()) -> None:
    """Store the score, and what is found now behind what the run itself has found."""
    state = State()
    findings = [*earlier, *(finding.as_dict() for finding in state.find_faults())]
    update(report, message="", progress=1.0, findings=findings, finished_at=timezone.now())
    score = state.compute_score()  # which counts the damaged pages of this report
    update(report, score=score.total, parts=[part.as_dict() for part in score.parts])
    MaintenanceReport.objects.forget_old()


def update(report: MaintenanceReport, **values: Any) -> None:
    """Set the values on the object and in its row."""
    for name, value in values.items():
        setattr(report, name, value)
    MaintenanceReport.objects.filter(pk=report.pk).update(**values)
