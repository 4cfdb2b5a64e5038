"""Entities of other systems inside a tool's result: what Salesforce, Jira and ServiceNow records look like.

Nothing is believed of a result: any JSON may come, records may stand anywhere in it, also as JSON inside a text. What
does not look like a record is passed over.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from memories.graph.models import RelationshipType
from memory_site.core.http.fields import MAX_SAFE_INTEGER, check_visible

MAX_ENTITIES, MAX_PARSE_DEPTH, MAX_PARSED_VALUES = 200, 24, 50_000
MAX_RECORD_FIELDS, MAX_FIELD_LENGTH, MAX_FIELD_NAME_LENGTH, MAX_JSON_TEXT_LENGTH = 40, 400, 80, 1_000_000
MAX_ENTITY_LABEL_LENGTH = 255
#: System and id.
EntityRef = tuple[str, str]

#: What an entity is called that does not say what it is.
GENERIC_TYPES = ("CustomObject", "Issue", "record")
SALESFORCE, JIRA, SERVICENOW = "salesforce", "jira", "servicenow"
SALESFORCE_ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")
SALESFORCE_TYPE_BY_PREFIX = {
    "001": "Account", "003": "Contact", "005": "User", "006": "Opportunity", "00Q": "Lead", "500": "Case",
    "00T": "Task", "00U": "Event", "701": "Campaign",
}  # fmt: skip
SALESFORCE_CUSTOM_ID = re.compile(r"a[0-9A-Za-z]{2}[0-9A-Za-z]*\d")
#: What a record belongs to, by the field that names it.
SALESFORCE_PARENT_FIELDS = (
    "AccountId",
    "ContactId",
    "OpportunityId",
    "CaseId",
    "CampaignId",
    "ParentId",
    "WhatId",
    "WhoId",
)
JIRA_ISSUE_KEY, JIRA_PROJECT_KEY = re.compile(r"[A-Z][A-Z0-9_]{0,99}-\d{1,18}"), re.compile(r"[A-Z][A-Z0-9_]{0,99}")
JIRA_ISSUE_FIELDS = (
    "summary", "status", "assignee", "reporter", "priority", "project", "issuetype", "resolution", "labels", "created",
    "updated", "duedate", "description", "parent", "epic",
)  # fmt: skip
JIRA_EPIC_FIELDS = ("epic", "epicLink", "epic_link", "customfield_10014")
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
# Of the answer to a change, not of the record.
SALESFORCE_RESPONSE_FIELDS = ("attributes", "id", "success", "errors")
UNSTORABLE_CHARACTERS = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


@dataclass(frozen=True)
class EntityLink:
    start: EntityRef
    type: str
    end: EntityRef


@dataclass
class Entity:
    """A record: what tells it apart, what it is, its own fields by name, and what it hangs together with."""

    key: EntityRef
    type: str
    name: str | None
    fields: dict[str, Any]
    links: list[EntityLink] = field(default_factory=list)


def extract_entities(result: Any) -> dict[EntityRef, Entity]:
    """The first 200 entities of a tool's result, in the order they stand there; of one that stands there twice, all
    that is said of it."""
    found: dict[EntityRef, Entity] = {}
    for record in iter_records(result):
        entity = next((entity for read in RECORD_PARSERS if (entity := read(record))), None)
        if entity is None or (entity.key not in found and len(found) == MAX_ENTITIES):
            continue
        known = found.setdefault(entity.key, entity)
        known.fields |= entity.fields
        known.name = known.name or entity.name
        known.links += entity.links if known is not entity else []
    return found


def iter_records(result: Any) -> Iterator[Mapping]:
    """Every object inside, as deep and as many as are worth reading."""
    waiting, read = [(result, 1)], 0
    while waiting and read < MAX_PARSED_VALUES:
        value, level = waiting.pop()
        value, read = parse_json(value) if isinstance(value, str) else value, read + 1
        children: Any = ()
        if isinstance(value, Mapping):
            yield value
            children = value.values()
        elif isinstance(value, list):
            children = value[:MAX_PARSED_VALUES]
        if level < MAX_PARSE_DEPTH:
            waiting.extend((child, level + 1) for child in reversed(list(children)))


def parse_json(text: str) -> Any:
    """The JSON object or list that is written in a text; None where there is none."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > MAX_JSON_TEXT_LENGTH:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def parse_salesforce(record: Mapping) -> Entity | None:
    own = find_salesforce_id(record)
    attributes = record.get("attributes")
    kind = (
        own and (to_label(attributes.get("type")) if isinstance(attributes, Mapping) else None)
    ) or infer_salesforce_type(own)
    if own is None or kind is None:
        return None
    told = {name: value for name, value in record.items() if name not in SALESFORCE_RESPONSE_FIELDS} | {"Id": own}
    person = " ".join(filter(None, (to_label(told.get("FirstName")), to_label(told.get("LastName"))))) or None
    name = next(filter(None, (to_label(told.get(each)) for each in ("Name", "Subject", "Title", "CaseNumber"))), person)
    return Entity(
        (SALESFORCE, own),
        kind,
        name,
        pick_scalars(told, tuple(told)),
        list(iter_salesforce_links((SALESFORCE, own), told)),
    )


def find_salesforce_id(record: Mapping) -> str | None:
    """`Id`, or `id` where the record is sure to be one of theirs."""
    attributes = record.get("attributes")
    typed = isinstance(attributes, Mapping) and to_label(attributes.get("type")) is not None
    upper, lower = (to_label(record.get(name)) or "" for name in ("Id", "id"))
    address = to_label(attributes.get("url")) if typed else None
    if SALESFORCE_ID.fullmatch(upper) and (typed or infer_salesforce_type(upper)):
        return upper
    if SALESFORCE_ID.fullmatch(lower) and (typed or lower[:3] in SALESFORCE_TYPE_BY_PREFIX):
        return lower
    last = (address or "").rpartition("/")[2]
    return last if SALESFORCE_ID.fullmatch(last) else None


def infer_salesforce_type(own: str | None) -> str | None:
    if own is None:
        return None
    return SALESFORCE_TYPE_BY_PREFIX.get(own[:3]) or ("CustomObject" if SALESFORCE_CUSTOM_ID.match(own) else None)


def iter_salesforce_links(own: EntityRef, record: Mapping) -> Iterator[EntityLink]:
    for name in SALESFORCE_PARENT_FIELDS:
        whole = record.get(name.removesuffix("Id"))
        other = to_label(record.get(name)) or (find_salesforce_id(whole) if isinstance(whole, Mapping) else None)
        if other and SALESFORCE_ID.fullmatch(other):
            yield EntityLink(own, RelationshipType.BELONGS_TO, (SALESFORCE, other))


SALESFORCE_CHECKSUM_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def convert_salesforce_id(own: str) -> tuple[str, ...]:
    """The id of 18 letters for one of 15, in which case matters, and the other way round; nothing for other ids."""
    if not own.isascii() or not SALESFORCE_ID.fullmatch(own):
        return ()
    if len(own) == 18:
        return (own[:15],)
    fives = (own[start : start + 5] for start in (0, 5, 10))
    return (
        own
        + "".join(
            SALESFORCE_CHECKSUM_ALPHABET[sum(letter.isupper() << at for at, letter in enumerate(five))]
            for five in fives
        ),
    )


def parse_jira(record: Mapping) -> Entity | None:
    key = to_label(record.get("key"))
    inner = record.get("fields")
    said = inner if isinstance(inner, Mapping) else record
    address = to_label(record.get("self")) or ""
    if key and "/project/" in address and JIRA_PROJECT_KEY.fullmatch(key):
        return Entity(
            (JIRA, key), "Project", to_label(record.get("name")), pick_scalars(record, ("name", "projectTypeKey"))
        )
    if not key or not JIRA_ISSUE_KEY.fullmatch(key) or not ({"fields", "self", "id", "summary"} & record.keys()):
        return None
    own = (JIRA, key)
    kind = get_reference_name(said.get("issuetype")) or get_reference_name(said.get("issue_type")) or "Issue"
    return Entity(
        own,
        kind,
        to_label(said.get("summary")),
        pick_scalars(said, JIRA_ISSUE_FIELDS),
        list(iter_jira_links(own, record, said)),
    )


def iter_jira_links(own: EntityRef, record: Mapping, said: Mapping) -> Iterator[EntityLink]:
    for name in ("parent", *JIRA_EPIC_FIELDS):
        if (other := parse_issue_key(said.get(name))) is not None:
            yield EntityLink(own, RelationshipType.BELONGS_TO, (JIRA, other))
    project = said.get("project")
    project = to_label(project.get("key") if isinstance(project, Mapping) else project)
    if project and JIRA_PROJECT_KEY.fullmatch(project):
        yield EntityLink(own, RelationshipType.BELONGS_TO, (JIRA, project))
    below = said.get("subtasks")
    for task in below[:MAX_ENTITIES] if isinstance(below, list) else ():
        if (other := parse_issue_key(task)) is not None:
            yield EntityLink((JIRA, other), RelationshipType.BELONGS_TO, own)


def parse_issue_key(value: Any) -> str | None:
    key = to_label(value.get("key") if isinstance(value, Mapping) else value)
    return key if key and JIRA_ISSUE_KEY.fullmatch(key) else None


def parse_servicenow(record: Mapping) -> Entity | None:
    number = get_reference_name(record.get("number")) or ""
    numbered = SERVICENOW_NUMBER.fullmatch(number)
    own = parse_sys_id(record.get("sys_id")) or (number if numbered else None)
    if own is None:
        return None
    kind = get_reference_name(record.get("sys_class_name")) or (
        SERVICENOW_TYPE_BY_PREFIX[numbered[1]] if numbered else "record"
    )
    names = (get_reference_name(record.get(each)) for each in ("short_description", "title", "name", "number"))
    key = (SERVICENOW, own)
    links = [
        EntityLink(key, kind_of_link, (SERVICENOW, other))
        for name, kind_of_link in SERVICENOW_REFERENCE_FIELDS.items()
        if (other := parse_sys_id(record.get(name))) is not None
    ]
    return Entity(key, kind, next(filter(None, names), None), pick_scalars(record, SERVICENOW_FIELDS), links)


def parse_sys_id(value: Any) -> str | None:
    own = to_label(value.get("value") if isinstance(value, Mapping) else value)
    return own if own and SERVICENOW_SYS_ID.fullmatch(own) else None


RECORD_PARSERS = (parse_servicenow, parse_jira, parse_salesforce)


def pick_scalars(record: Mapping, wanted: tuple) -> dict[str, Any]:
    """The fields that are single values, or say which one they mean; those without a value are left out."""
    told: dict[str, Any] = {}
    for name in wanted:
        value = to_scalar(record.get(name)) if name in record else None
        if value is not None and len(told) < MAX_RECORD_FIELDS and isinstance(name, str):
            told[replace_unstorable(name)[:MAX_FIELD_NAME_LENGTH]] = value
    return told


def to_scalar(value: Any) -> Any:
    """A value by itself: of an object the name it goes by, of a list its plain values in a text."""
    match value:
        case bool():
            return value
        case int():
            return value if abs(value) <= MAX_SAFE_INTEGER else None
        case float():
            return value if abs(value) < 1e15 else None  # neither NaN nor infinity
        case str():
            return replace_unstorable(value)[:MAX_FIELD_LENGTH].strip() or None
        case Mapping() if value.get("type") == "doc":
            return " ".join(iter_document_texts(value))[:MAX_FIELD_LENGTH] or None
        case Mapping():
            names = ("display_value", "displayName", "name", "Name", "value", "key")
            return next(filter(None, (to_label(value.get(name)) for name in names)), None)
        case list():
            return (
                ", ".join(filter(None, (to_label(each) for each in value[:MAX_RECORD_FIELDS])))[:MAX_FIELD_LENGTH]
                or None
            )
    return None


def iter_document_texts(value: Any, level: int = 1) -> Iterator[str]:
    """What is written in a document of Atlassian's."""
    if isinstance(value, list):
        for each in value[:MAX_RECORD_FIELDS]:
            yield from iter_document_texts(each, level)
    elif isinstance(value, Mapping) and level < MAX_PARSE_DEPTH:
        if (said := to_label(value.get("text"))) is not None:
            yield said
        yield from iter_document_texts(value.get("content"), level + 1)


def get_reference_name(value: Any) -> str | None:
    """What a value, or the object it is, goes by."""
    return to_label(to_scalar(value))


def to_label(value: Any) -> str | None:
    """A text that may be a label; None for everything else."""
    if not isinstance(value, str):
        return None
    try:
        return check_visible(replace_unstorable(value[: 2 * MAX_ENTITY_LABEL_LENGTH]).strip()[:MAX_ENTITY_LABEL_LENGTH])
    except ValueError:
        return None


def replace_unstorable(value: str) -> str:
    """Without what PostgreSQL cannot keep or nobody can see."""
    return UNSTORABLE_CHARACTERS.sub("\ufffd", value)
