"""Where the lines of the audit come from. Each function reads one table, by its index of times."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.urls import NoReverseMatch, reverse

from memories.graph.models import Erasure
from memories.history.models import MemoryVersion, Operation
from memories.jobs.models import Job
from memory_site.core.admin.formatting import format_number
from memory_site.operations.access.models import AccessEvent, EventKind
from memory_site.operations.audit.lines import AuditLine, AuditQuery, Source
from memory_site.operations.models.sql_statements import SqlStatement
from sessions_app.models import KEY_PREFIX, ApiKey

CONSOLE = "console:"
ACTIONS = {ADDITION: "added", CHANGE: "changed", DELETION: "deleted"}
OPERATIONS: dict[str, str] = {Operation.UPDATE: "changed", Operation.DELETE: "deleted"}
#: Changes that follow each other sooner were made in a go, if all else is the same.
MAX_GAP = timedelta(seconds=2)
#: Changes of memories are looked through up to so many, newest first: a rare actor would otherwise cost all of them.
MAX_SEARCHED_VERSIONS = 50_000
DIGEST_LENGTH = 12


class GroupKey(NamedTuple):
    """The columns in which changes that are one line agree."""

    changed_by: str
    operation: str
    job_id: UUID | None
    request_id: str
    namespace_id: int


def read_console(query: AuditQuery, limit: int) -> list[AuditLine]:
    """Read what was done on pages of the console."""
    entries = select_entries(query).exclude(content_type=ContentType.objects.get_for_model(ApiKey))
    return [build_console_line(entry, "console") for entry in entries[:limit]]


def select_entries(query: AuditQuery) -> QuerySet[LogEntry]:
    entries = LogEntry.objects.filter(**query.between("action_time")).select_related("user", "content_type")
    if query.actor:
        is_account = query.actor.startswith(CONSOLE)
        entries = entries.filter(user__username=query.actor.removeprefix(CONSOLE)) if is_account else entries.none()
    return entries.order_by("-action_time")


def build_console_line(entry: LogEntry, kind: str) -> AuditLine:
    model = entry.content_type.name if entry.content_type else ""
    message = entry.get_change_message()
    return AuditLine(
        at=entry.action_time,
        kind=kind,
        actor=f"{CONSOLE}{entry.user}",
        what=f"{ACTIONS[entry.action_flag]} {model}{f': {message}' if message and entry.action_flag == CHANGE else ''}",
        subject=entry.object_repr,
        url=find_page(entry) if entry.action_flag != DELETION else "",
    )


def find_page(entry: LogEntry) -> str:
    """Return the address of the object's page, or an empty text if it has none."""
    if entry.content_type is None or not entry.object_id:
        return ""
    try:
        return reverse(
            f"admin:{entry.content_type.app_label}_{entry.content_type.model}_change", args=[entry.object_id]
        )
    except NoReverseMatch:
        return ""


@dataclass
class ChangeGroup:
    """Changes of one kind that one request, job or command made in a go."""

    at: datetime
    key: GroupKey
    memory_id: UUID
    count: int = 1


def read_memories(query: AuditQuery, limit: int) -> list[AuditLine]:
    """Read the changes and deletions of memories: a line for those that were made in a go, at the time of the last."""
    groups: list[ChangeGroup] = []
    open_groups, last_times = dict[GroupKey, ChangeGroup | None](), find_newer(query)
    for at, memory_id, *rest in iterate_versions(query):
        key = GroupKey(*rest)
        goes_on = key in last_times and last_times[key] - at <= MAX_GAP
        if goes_on and (group := open_groups.get(key)):
            group.count += 1
        elif not goes_on:
            if len(groups) == limit:
                break
            group = open_groups[key] = ChangeGroup(at, key, memory_id)
            groups.append(group)
        last_times[key] = at
    return [build_memory_line(group) for group in groups]


def iterate_versions(query: AuditQuery) -> Iterator[tuple]:
    """Yield the newest versions: time, memory and the columns of a GroupKey."""
    newest = MemoryVersion.objects.filter(**query.between("changed_at")).order_by("-changed_at", "-id")
    rows = newest.values_list("changed_at", "memory_id", *GroupKey._fields)[:MAX_SEARCHED_VERSIONS]
    return (row for row in rows.iterator(chunk_size=2_000) if query.actor in ("", row[2]))


def find_newer(query: AuditQuery) -> dict[GroupKey, datetime]:
    """Return what went on when the page of newer lines ended, which has its line there."""
    if query.before is None:
        return {}
    moment = {"changed_at__gte": query.before, "changed_at__lt": query.before + MAX_GAP}
    newer = MemoryVersion.objects.filter(**moment).order_by("changed_at")
    rows = newer.values_list("changed_at", *GroupKey._fields)[:MAX_SEARCHED_VERSIONS]
    return {GroupKey(*rest): at for at, *rest in reversed(rows)}


def build_memory_line(group: ChangeGroup) -> AuditLine:
    key, is_one = group.key, group.count == 1
    is_there = is_one and key.operation == Operation.UPDATE
    job = f" in the job {key.job_id}" if key.job_id else ""
    noun = "memory" if is_one else "memories"
    return AuditLine(
        at=group.at,
        kind="memories",
        actor=key.changed_by,
        what=f"{OPERATIONS.get(key.operation, key.operation)} {format_number(group.count)} {noun}{job}",
        subject=str(group.memory_id) if is_one else "",
        request_id=key.request_id,
        url=reverse("admin:memories_memory_change", args=[group.memory_id]) if is_there else "",
    )


def read_jobs(query: AuditQuery, limit: int) -> list[AuditLine]:
    jobs = Job.objects.filter(**query.between("created_at")).order_by("-created_at")
    if query.actor:
        jobs = jobs.filter(created_by=query.actor)
    return [
        AuditLine(
            at=job.created_at,
            kind="jobs",
            actor=job.created_by,
            what=f"asked for the job {job.action.replace('_', ' ')}: {job.state}, {format_number(job.done)} done",
            subject=str(job.pk),
            url=reverse("admin:jobs_job_change", args=[job.pk]),
        )
        for job in jobs.only("created_at", "created_by", "action", "state", "done")[:limit]
    ]


def read_keys(query: AuditQuery, limit: int) -> list[AuditLine]:
    """Read what was done with API keys: in the console from its log, which outlives them, else from the keys."""
    entries = select_entries(query).filter(content_type=ContentType.objects.get_for_model(ApiKey))
    lines = [build_console_line(entry, "keys") for entry in entries[:limit]]
    for what in ("created", "revoked"):
        lines += read_keys_of_commands(query, limit, what)
    return lines


def read_keys_of_commands(query: AuditQuery, limit: int, what: str) -> list[AuditLine]:
    """Read the keys that were `created` or `revoked` outside of the console."""
    time, by = f"{what}_at", f"{what}_by"
    keys = ApiKey.objects.filter(**{f"{time}__isnull": False}, **query.between(time)).order_by(f"-{time}")
    keys = keys.filter(**{by: query.actor}) if query.actor else keys
    rows = keys.exclude(**{f"{by}__startswith": CONSOLE}).values_list("id", "name", "namespace__name", time, by)
    return [
        AuditLine(
            at=at,
            kind="keys",
            actor=actor,
            what=f"{what} API key: “{name}” of {namespace}",
            subject=f"{KEY_PREFIX}{key_id}_…",
            url=reverse("admin:sessions_app_apikey_change", args=[key_id]),
        )
        for key_id, name, namespace, at, actor in rows[:limit]
    ]


def read_access(query: AuditQuery, limit: int) -> list[AuditLine]:
    """Read what happened at the console's door."""
    events = AccessEvent.objects.filter(**query.between("at")).order_by("-at")
    if query.actor:
        events = events.filter(actor=query.actor)
    return [
        AuditLine(
            at=event.at,
            kind="logins",
            actor=event.actor,
            what=EventKind(event.kind).label if event.kind in EventKind.values else event.kind,
            subject=event.subject,
            address=event.address or "",
            request_id=event.request_id,
        )
        for event in events[:limit]
    ]


def read_erasures(query: AuditQuery, limit: int) -> list[AuditLine]:
    """Read the erasures of users, who are named by the digest of their ids only."""
    erasures = Erasure.objects.filter(**query.between("created_at")).order_by("-created_at", "-id")
    if query.actor:
        erasures = erasures.filter(requested_by__in=[query.actor, query.actor.partition(":")[2]])
    return [
        AuditLine(
            at=line.created_at,
            kind="erasures",
            actor=f"key:{line.requested_by}" if line.requested_by.startswith(KEY_PREFIX) else line.requested_by,
            what=f"erased a user: {format_number(sum(line.erased.values()))} rows",
            subject=f"SHA-256 {bytes(line.user_digest).hex()[:DIGEST_LENGTH]}…",
        )
        for line in erasures[:limit]
    ]


def read_sql(query: AuditQuery, limit: int) -> list[AuditLine]:
    """Read who ran SQL on the console's page of it. The statement may name content: the page has it."""
    statements = SqlStatement.objects.filter(**query.between("created_at")).order_by("-created_at", "-id")
    if query.actor:
        is_account = query.actor.startswith(CONSOLE)
        name = query.actor.removeprefix(CONSOLE)
        statements = statements.filter(username=name) if is_account else statements.none()
    return [
        AuditLine(
            at=line.created_at,
            kind="sql",
            actor=f"{CONSOLE}{line.username}",
            what="ran SQL: " + ("no answer" if line.rows is None else f"{format_number(line.rows)} rows"),
            subject=str(line.pk),
            url=reverse("admin:operations_sqlstatement_change", args=[line.pk]),
        )
        for line in statements.defer("statement", "error")[:limit]
    ]


SOURCES: dict[str, Source] = {
    "console": read_console,
    "memories": read_memories,
    "jobs": read_jobs,
    "keys": read_keys,
    "logins": read_access,
    "erasures": read_erasures,
    "sql": read_sql,
}
