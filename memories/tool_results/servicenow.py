"""ServiceNow records."""

import re
from collections.abc import Mapping
from typing import Any

from memories.graph.models import RelationshipType
from memories.tool_results.records import Entity, EntityLink, get_reference_name, pick_scalars, to_label

SERVICENOW = "servicenow"
SERVICENOW_SYS_ID = re.compile(r"[0-9a-f]{32}")
SERVICENOW_NUMBER = re.compile(r"(INC|CHG|PRB|REQ|RITM|SCTASK|CTASK|TASK|KB)\d{4,20}")
SERVICENOW_TYPE_BY_PREFIX = {
    "INC": "incident", "CHG": "change_request", "PRB": "problem", "REQ": "sc_request", "RITM": "sc_req_item",
    "SCTASK": "sc_task", "CTASK": "change_task", "TASK": "task", "KB": "kb_knowledge",
}  # fmt: skip
SERVICENOW_FIELDS = (
    "number", "name", "title", "short_description", "description", "state", "priority", "impact", "urgency",
    "category", "assigned_to", "assignment_group", "caller_id", "opened_by", "opened_at", "resolved_at", "close_notes",
    "work_notes", "cmdb_ci", "company", "parent", "problem_id", "sys_class_name", "user_name", "email",
)  # fmt: skip
SERVICENOW_REFERENCE_FIELDS = {
    "parent": RelationshipType.BELONGS_TO,
    "parent_incident": RelationshipType.BELONGS_TO,
    "problem_id": RelationshipType.BELONGS_TO,
    "change_request": RelationshipType.BELONGS_TO,
    "request": RelationshipType.BELONGS_TO,
    "request_item": RelationshipType.BELONGS_TO,
    "assigned_to": RelationshipType.RELATES_TO,
    "assignment_group": RelationshipType.RELATES_TO,
    "caller_id": RelationshipType.RELATES_TO,
}


def parse_servicenow(record: Mapping) -> Entity | None:
    number = get_reference_name(record.get("number")) or ""
    numbered = SERVICENOW_NUMBER.fullmatch(number)
    own_id = parse_sys_id(record.get("sys_id")) or (number if numbered else None)
    if own_id is None:
        return None
    kind = get_reference_name(record.get("sys_class_name")) or (
        SERVICENOW_TYPE_BY_PREFIX[numbered[1]] if numbered else "record"
    )
    names = (get_reference_name(record.get(each)) for each in ("short_description", "title", "name", "number"))
    ref = (SERVICENOW, own_id)
    links = [
        EntityLink(ref, link_type, (SERVICENOW, other))
        for name, link_type in SERVICENOW_REFERENCE_FIELDS.items()
        if (other := parse_sys_id(record.get(name))) is not None
    ]
    return Entity(ref, kind, next(filter(None, names), None), pick_scalars(record, SERVICENOW_FIELDS), links)


def parse_sys_id(value: Any) -> str | None:
    text = to_label(value.get("value") if isinstance(value, Mapping) else value)
    return text if text and SERVICENOW_SYS_ID.fullmatch(text) else None
