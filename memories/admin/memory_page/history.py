"""What stood in a memory before: its versions, what each change made different, and the way back."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import IntegrityError
from django.db.models import Q
from django.http import HttpRequest

from memories import tasks
from memories.admin.search import parse_uuid_or_none
from memories.history.models import MemoryVersion, Operation
from memories.history.restore import CONFLICTING, restore_memory
from memories.history.trash import list_trash
from memories.history.versions import Change, Version, list_versions
from memories.models import Memory
from memory_site.core.admin.json_view import dump
from memory_site.core.admin.text_diff import Line, diff_texts
from memory_site.core.errors import DomainError

VERSIONS_PER_PAGE = 20
#: Of one field.
MAX_SHOWN_LINES = 400
#: By the beginning of `changed_by`: what stands before the rest of it.
ACTORS = {
    "key": "API key",
    "console": "console user",
    "command": "command",
    "task": "task",
    "database": "database role",
}


@dataclass(frozen=True)
class FieldDifference:
    """A changed field with the first lines of the difference; `more` lines are not shown."""

    field: str
    lines: list[Line]
    more: int


def build_history_tab(request: HttpRequest, memory: Memory) -> dict[str, Any]:
    rows = select_page(memory, parse_uuid_or_none(request.GET.get("before", "")))
    versions = list_versions(memory.namespace_id, memory.pk, rows=rows[:VERSIONS_PER_PAGE])
    wanted = parse_uuid_or_none(request.GET.get("version", ""))
    chosen = next((each for each in versions if each.version == wanted), versions[0] if versions else None)
    return {
        "versions": [(each, describe_actor(each.changed_by), describe_change(each)) for each in versions],
        "chosen": chosen,
        "differences": [build_difference(change) for change in chosen.changes] if chosen else [],
        "sides": request.GET.get("view") == "sides",
        "before": request.GET.get("before", "") if rows else "",
        "older": versions[-1].version if len(rows) > VERSIONS_PER_PAGE else None,
    }


def select_page(memory: Memory, before: UUID | None) -> list[MemoryVersion]:
    """Return the versions older than this one, newest first: one more than a page if there are more."""
    own = MemoryVersion.objects.filter(namespace=memory.namespace_id, memory_id=memory.pk)
    last = own.filter(pk=before).values_list("changed_at", "id").first() if before else None
    older = own.filter(Q(changed_at__lt=last[0]) | Q(changed_at=last[0], id__lt=last[1])) if last else own
    return list(older.order_by("-changed_at", "-id")[: VERSIONS_PER_PAGE + 1])


def describe_actor(changed_by: str) -> str:
    kind, _, name = changed_by.partition(":")
    return f"{ACTORS[kind]} {name}" if kind in ACTORS else changed_by


def describe_change(version: Version) -> str:
    if version.operation == Operation.DELETE:
        return "deleted, and brought back since"
    return ", ".join(change.field.replace("_", " ") for change in version.changes) or "nothing that is kept"


def build_difference(change: Change) -> FieldDifference:
    lines = diff_texts(to_text(change.before), to_text(change.after))
    return FieldDifference(change.field, lines[:MAX_SHOWN_LINES], max(len(lines) - MAX_SHOWN_LINES, 0))


def to_text(value: Any) -> str:
    """Return a value of any column as text with lines; of a list of texts, each is one."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n".join(value)
    return value if isinstance(value, str) else dump(value)


def restore_version(request: HttpRequest, namespace_id: int, memory_id: UUID) -> str | None:
    """Set the memory back to a version, or bring a deleted one back. Return words for the log, or None."""
    version = parse_uuid_or_none(request.POST.get("version", ""))
    try:
        restore_memory(namespace_id, memory_id, version)
    except (DomainError, IntegrityError) as error:
        reason = CONFLICTING if isinstance(error, IntegrityError) else str(error)
        messages.error(request, f"This was not restored. {reason}")
        return None
    tasks.embedding_trigger.notify_on_commit()
    messages.success(request, "What stood here before is back; what it replaced is a version now.")
    return f"Restored version {version}" if version else "Brought back from the trash"


def find_deleted(memory_id: UUID) -> MemoryVersion | None:
    """Return the deletion of a memory that is not there any more, if it is known."""
    deletions = MemoryVersion.objects.filter(memory_id=memory_id, operation=Operation.DELETE).select_related(
        "namespace"
    )
    return deletions.order_by("-changed_at", "-id").first()


def is_in_trash(version: MemoryVersion) -> bool:
    return list_trash(version.namespace_id).filter(pk=version.pk).exists()
