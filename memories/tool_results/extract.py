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
from memory_site.core.http.fields import LARGEST_INTEGER, visible

ENTITIES_AT_MOST, DEEPEST, VALUES_READ = 200, 24, 50_000
FIELDS_KEPT, LONGEST_FIELD, LONGEST_NAME, LONGEST_TEXT = 40, 400, 80, 1_000_000
LABEL = 255
#: System and id.
Key = tuple[str, str]

#: What an entity is called that does not say what it is.
GUESSED = ("CustomObject", "Issue", "record")
SALESFORCE, JIRA, SERVICENOW = "salesforce", "jira", "servicenow"
SALESFORCE_ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")
PREFIXES = {
    "001": "Account", "003": "Contact", "005": "User", "006": "Opportunity", "00Q": "Lead", "500": "Case",
    "00T": "Task", "00U": "Event", "701": "Campaign",
}  # fmt: skip
CUSTOM = re.compile(r"a[0-9A-Za-z]{2}[0-9A-Za-z]*\d")
#: What a record belongs to, by the field that names it.
SALESFORCE_PARENTS = ("AccountId", "ContactId", "OpportunityId", "CaseId", "CampaignId", "ParentId", "WhatId", "WhoId")
ISSUE_KEY, PROJECT_KEY = re.compile(r"[A-Z][A-Z0-9_]{0,99}-\d{1,18}"), re.compile(r"[A-Z][A-Z0-9_]{0,99}")
ISSUE_FIELDS = (
    "summary", "status", "assignee", "reporter", "priority", "project", "issuetype", "resolution", "labels", "created",
    "updated", "duedate", "description", "parent", "epic",
)  # fmt: skip
EPIC_LINKS = ("epic", "epicLink", "epic_link", "customfield_10014")
SYS_ID = re.compile(r"[0-9a-f]{32}")
NUMBER = re.compile(r"(INC|CHG|PRB|REQ|RITM|SCTASK|CTASK|TASK|KB)\d{4,20}")
CLASSES = {
    "INC": "incident", "CHG": "change_request", "PRB": "problem", "REQ": "sc_request", "RITM": "sc_req_item",
    "SCTASK": "sc_task", "CTASK": "change_task", "TASK": "task", "KB": "kb_knowledge",
}  # fmt: skip
RECORD_FIELDS = (
    "number", "name", "title", "short_description", "description", "state", "priority", "impact", "urgency",
    "category", "assigned_to", "assignment_group", "caller_id", "opened_by", "opened_at", "resolved_at", "close_notes",
    "work_notes", "cmdb_ci", "company", "parent", "problem_id", "sys_class_name", "user_name", "email",
)  # fmt: skip
SERVICENOW_PARENTS = {
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
NOT_FIELDS = ("attributes", "id", "success", "errors")
UNSTORABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


@dataclass(frozen=True)
class Link:
    start: Key
    type: str
    end: Key


@dataclass
class Entity:
    """A record: what tells it apart, what it is, its own fields by name, and what it hangs together with."""

    key: Key
    type: str
    name: str | None
    fields: dict[str, Any]
    links: list[Link] = field(default_factory=list)


def entities_in(result: Any) -> dict[Key, Entity]:
    """The first 200 entities of a tool's result, in the order they stand there; of one that stands there twice, all
    that is said of it."""
    found: dict[Key, Entity] = {}
    for record in records(result):
        entity = next((entity for read in READERS if (entity := read(record))), None)
        if entity is None or (entity.key not in found and len(found) == ENTITIES_AT_MOST):
            continue
        known = found.setdefault(entity.key, entity)
        known.fields |= entity.fields
        known.name = known.name or entity.name
        known.links += entity.links if known is not entity else []
    return found


def records(result: Any) -> Iterator[Mapping]:
    """Every object inside, as deep and as many as are worth reading."""
    waiting, read = [(result, 1)], 0
    while waiting and read < VALUES_READ:
        value, level = waiting.pop()
        value, read = parsed(value) if isinstance(value, str) else value, read + 1
        children: Any = ()
        if isinstance(value, Mapping):
            yield value
            children = value.values()
        elif isinstance(value, list):
            children = value[:VALUES_READ]
        if level < DEEPEST:
            waiting.extend((child, level + 1) for child in reversed(list(children)))


def parsed(text: str) -> Any:
    """The JSON object or list that is written in a text; None where there is none."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > LONGEST_TEXT:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def salesforce(record: Mapping) -> Entity | None:
    own = salesforce_id(record)
    attributes = record.get("attributes")
    kind = own and (text(attributes.get("type")) if isinstance(attributes, Mapping) else None) or salesforce_type(own)
    if own is None or kind is None:
        return None
    told = {name: value for name, value in record.items() if name not in NOT_FIELDS} | {"Id": own}
    person = " ".join(filter(None, (text(told.get("FirstName")), text(told.get("LastName"))))) or None
    name = next(filter(None, (text(told.get(each)) for each in ("Name", "Subject", "Title", "CaseNumber"))), person)
    return Entity(
        (SALESFORCE, own), kind, name, scalars(told, tuple(told)), list(parents_in_salesforce((SALESFORCE, own), told))
    )


def salesforce_id(record: Mapping) -> str | None:
    """`Id`, or `id` where the record is sure to be one of theirs."""
    attributes = record.get("attributes")
    typed = isinstance(attributes, Mapping) and text(attributes.get("type")) is not None
    upper, lower = (text(record.get(name)) or "" for name in ("Id", "id"))
    address = text(attributes.get("url")) if typed else None
    if SALESFORCE_ID.fullmatch(upper) and (typed or salesforce_type(upper)):
        return upper
    if SALESFORCE_ID.fullmatch(lower) and (typed or lower[:3] in PREFIXES):
        return lower
    last = (address or "").rpartition("/")[2]
    return last if SALESFORCE_ID.fullmatch(last) else None


def salesforce_type(own: str | None) -> str | None:
    if own is None:
        return None
    return PREFIXES.get(own[:3]) or ("CustomObject" if CUSTOM.match(own) else None)


def parents_in_salesforce(own: Key, record: Mapping) -> Iterator[Link]:
    for name in SALESFORCE_PARENTS:
        whole = record.get(name.removesuffix("Id"))
        other = text(record.get(name)) or (salesforce_id(whole) if isinstance(whole, Mapping) else None)
        if other and SALESFORCE_ID.fullmatch(other):
            yield Link(own, RelationshipType.BELONGS_TO, (SALESFORCE, other))


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def other_form(own: str) -> tuple[str, ...]:
    """The id of 18 letters for one of 15, in which case matters, and the other way round; nothing for other ids."""
    if not own.isascii() or not SALESFORCE_ID.fullmatch(own):
        return ()
    if len(own) == 18:
        return (own[:15],)
    fives = (own[start : start + 5] for start in (0, 5, 10))
    return (own + "".join(ALPHABET[sum(letter.isupper() << at for at, letter in enumerate(five))] for five in fives),)


def jira(record: Mapping) -> Entity | None:
    key = text(record.get("key"))
    inner = record.get("fields")
    said = inner if isinstance(inner, Mapping) else record
    address = text(record.get("self")) or ""
    if key and "/project/" in address and PROJECT_KEY.fullmatch(key):
        return Entity((JIRA, key), "Project", text(record.get("name")), scalars(record, ("name", "projectTypeKey")))
    if not key or not ISSUE_KEY.fullmatch(key) or not ({"fields", "self", "id", "summary"} & record.keys()):
        return None
    own = (JIRA, key)
    kind = called(said.get("issuetype")) or called(said.get("issue_type")) or "Issue"
    return Entity(
        own, kind, text(said.get("summary")), scalars(said, ISSUE_FIELDS), list(links_in_jira(own, record, said))
    )


def links_in_jira(own: Key, record: Mapping, said: Mapping) -> Iterator[Link]:
    for name in ("parent", *EPIC_LINKS):
        if (other := issue_key(said.get(name))) is not None:
            yield Link(own, RelationshipType.BELONGS_TO, (JIRA, other))
    project = said.get("project")
    project = text(project.get("key") if isinstance(project, Mapping) else project)
    if project and PROJECT_KEY.fullmatch(project):
        yield Link(own, RelationshipType.BELONGS_TO, (JIRA, project))
    below = said.get("subtasks")
    for task in below[:ENTITIES_AT_MOST] if isinstance(below, list) else ():
        if (other := issue_key(task)) is not None:
            yield Link((JIRA, other), RelationshipType.BELONGS_TO, own)


def issue_key(value: Any) -> str | None:
    key = text(value.get("key") if isinstance(value, Mapping) else value)
    return key if key and ISSUE_KEY.fullmatch(key) else None


def servicenow(record: Mapping) -> Entity | None:
    number = called(record.get("number")) or ""
    numbered = NUMBER.fullmatch(number)
    own = sys_id(record.get("sys_id")) or (number if numbered else None)
    if own is None:
        return None
    kind = called(record.get("sys_class_name")) or (CLASSES[numbered[1]] if numbered else "record")
    names = (called(record.get(each)) for each in ("short_description", "title", "name", "number"))
    key = (SERVICENOW, own)
    links = [
        Link(key, kind_of_link, (SERVICENOW, other))
        for name, kind_of_link in SERVICENOW_PARENTS.items()
        if (other := sys_id(record.get(name))) is not None
    ]
    return Entity(key, kind, next(filter(None, names), None), scalars(record, RECORD_FIELDS), links)


def sys_id(value: Any) -> str | None:
    own = text(value.get("value") if isinstance(value, Mapping) else value)
    return own if own and SYS_ID.fullmatch(own) else None


READERS = (servicenow, jira, salesforce)


def scalars(record: Mapping, wanted: tuple) -> dict[str, Any]:
    """The fields that are single values, or say which one they mean; those without a value are left out."""
    told: dict[str, Any] = {}
    for name in wanted:
        value = plain(record.get(name)) if name in record else None
        if value is not None and len(told) < FIELDS_KEPT and isinstance(name, str):
            told[clean(name)[:LONGEST_NAME]] = value
    return told


def plain(value: Any) -> Any:
    """A value by itself: of an object the name it goes by, of a list its plain values in a text."""
    match value:
        case bool():
            return value
        case int():
            return value if abs(value) <= LARGEST_INTEGER else None
        case float():
            return value if abs(value) < 1e15 else None  # neither NaN nor infinity
        case str():
            return clean(value)[:LONGEST_FIELD].strip() or None
        case Mapping() if value.get("type") == "doc":
            return " ".join(texts(value))[:LONGEST_FIELD] or None
        case Mapping():
            names = ("display_value", "displayName", "name", "Name", "value", "key")
            return next(filter(None, (text(value.get(name)) for name in names)), None)
        case list():
            return ", ".join(filter(None, (text(each) for each in value[:FIELDS_KEPT])))[:LONGEST_FIELD] or None
    return None


def texts(value: Any, level: int = 1) -> Iterator[str]:
    """What is written in a document of Atlassian's."""
    if isinstance(value, list):
        for each in value[:FIELDS_KEPT]:
            yield from texts(each, level)
    elif isinstance(value, Mapping) and level < DEEPEST:
        if (said := text(value.get("text"))) is not None:
            yield said
        yield from texts(value.get("content"), level + 1)


def called(value: Any) -> str | None:
    """What a value, or the object it is, goes by."""
    return text(plain(value))


def text(value: Any) -> str | None:
    """A text that may be a label; None for everything else."""
    if not isinstance(value, str):
        return None
    try:
        return visible(clean(value[: 2 * LABEL]).strip()[:LABEL])
    except ValueError:
        return None


def clean(value: str) -> str:
    """Without what PostgreSQL cannot keep or nobody can see."""
    return UNSTORABLE.sub("\ufffd", value)
