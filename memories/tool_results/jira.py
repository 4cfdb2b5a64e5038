"""Jira issues and projects."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from memories.graph.models import RelationshipType
from memories.graph.relationships import EntityRef
from memories.tool_results.records import Entity, EntityLink, get_reference_name, pick_scalars, to_label

JIRA = "jira"
JIRA_ISSUE_KEY, JIRA_PROJECT_KEY = re.compile(r"[A-Z][A-Z0-9_]{0,99}-\d{1,18}"), re.compile(r"[A-Z][A-Z0-9_]{0,99}")
JIRA_ISSUE_FIELDS = (
    "summary", "status", "assignee", "reporter", "priority", "project", "issuetype", "resolution", "labels", "created",
    "updated", "duedate", "description", "parent", "epic",
)  # fmt: skip
JIRA_EPIC_FIELDS = ("epic", "epicLink", "epic_link", "customfield_10014")
MAX_SUBTASKS = 200


def parse_jira(record: Mapping) -> Entity | None:
    key = to_label(record.get("key"))
    inner = record.get("fields")
    fields = inner if isinstance(inner, Mapping) else record
    url = to_label(record.get("self")) or ""
    if key and "/project/" in url and JIRA_PROJECT_KEY.fullmatch(key):
        return Entity(
            (JIRA, key), "Project", to_label(record.get("name")), pick_scalars(record, ("name", "projectTypeKey"))
        )
    if not key or not JIRA_ISSUE_KEY.fullmatch(key) or not ({"fields", "self", "id", "summary"} & record.keys()):
        return None
    ref = (JIRA, key)
    kind = get_reference_name(fields.get("issuetype")) or get_reference_name(fields.get("issue_type")) or "Issue"
    name = to_label(fields.get("summary"))
    return Entity(ref, kind, name, pick_scalars(fields, JIRA_ISSUE_FIELDS), list(iter_links(ref, fields)))


def iter_links(ref: EntityRef, fields: Mapping) -> Iterator[EntityLink]:
    for name in ("parent", *JIRA_EPIC_FIELDS):
        if (other := parse_issue_key(fields.get(name))) is not None:
            yield EntityLink(ref, RelationshipType.BELONGS_TO, (JIRA, other))
    project = fields.get("project")
    project = to_label(project.get("key") if isinstance(project, Mapping) else project)
    if project and JIRA_PROJECT_KEY.fullmatch(project):
        yield EntityLink(ref, RelationshipType.BELONGS_TO, (JIRA, project))
    subtasks = fields.get("subtasks")
    for task in subtasks[:MAX_SUBTASKS] if isinstance(subtasks, list) else ():
        if (other := parse_issue_key(task)) is not None:
            yield EntityLink((JIRA, other), RelationshipType.BELONGS_TO, ref)


def parse_issue_key(value: Any) -> str | None:
    key = to_label(value.get("key") if isinstance(value, Mapping) else value)
    return key if key and JIRA_ISSUE_KEY.fullmatch(key) else None
