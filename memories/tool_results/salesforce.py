"""Salesforce records."""

import re
from collections.abc import Iterator, Mapping

from memories.entity_ids import SALESFORCE, SALESFORCE_ID, complete_entity_id
from memories.graph.models import RelationshipType
from memories.graph.relationships import EntityRef
from memories.tool_results.records import Entity, EntityLink, pick_scalars, to_label

SALESFORCE_TYPE_BY_PREFIX = {
    "001": "Account", "003": "Contact", "005": "User", "006": "Opportunity", "00Q": "Lead", "500": "Case",
    "00T": "Task", "00U": "Event", "701": "Campaign",
}  # fmt: skip
SALESFORCE_CUSTOM_ID = re.compile(r"a[0-9A-Za-z]{2}[0-9A-Za-z]*\d")
#: Fields that name the records to which a record belongs.
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
#: Fields of the response to a change, not of the record.
SALESFORCE_RESPONSE_FIELDS = ("attributes", "id", "success", "errors")
SALESFORCE_NAME_FIELDS = ("Name", "Subject", "Title", "CaseNumber")


def parse_salesforce(record: Mapping) -> Entity | None:
    own_id = find_salesforce_id(record)
    attributes = record.get("attributes")
    if own_id is None:
        return None
    named_type = to_label(attributes.get("type")) if isinstance(attributes, Mapping) else None
    kind = named_type or infer_salesforce_type(own_id)
    if kind is None:
        return None
    own_id = complete_entity_id(SALESFORCE, own_id)
    fields = {name: value for name, value in record.items() if name not in SALESFORCE_RESPONSE_FIELDS} | {"Id": own_id}
    ref = (SALESFORCE, own_id)
    return Entity(ref, kind, get_name(fields), pick_scalars(fields, tuple(fields)), list(iter_links(ref, fields)))


def get_name(fields: Mapping) -> str | None:
    person = " ".join(filter(None, (to_label(fields.get("FirstName")), to_label(fields.get("LastName"))))) or None
    return next(filter(None, (to_label(fields.get(each)) for each in SALESFORCE_NAME_FIELDS)), person)


def find_salesforce_id(record: Mapping) -> str | None:
    """Return `Id`, or `id` or the end of the URL where the record is certainly from Salesforce."""
    attributes = record.get("attributes")
    attributes = attributes if isinstance(attributes, Mapping) else {}
    typed = to_label(attributes.get("type")) is not None
    upper, lower = (to_label(record.get(name)) or "" for name in ("Id", "id"))
    url = to_label(attributes.get("url")) if typed else None
    if SALESFORCE_ID.fullmatch(upper) and (typed or infer_salesforce_type(upper)):
        return upper
    if SALESFORCE_ID.fullmatch(lower) and (typed or lower[:3] in SALESFORCE_TYPE_BY_PREFIX):
        return lower
    last = (url or "").rpartition("/")[2]
    return last if SALESFORCE_ID.fullmatch(last) else None


def infer_salesforce_type(own_id: str) -> str | None:
    """Return the type that the first three characters of an id name."""
    return SALESFORCE_TYPE_BY_PREFIX.get(own_id[:3]) or ("CustomObject" if SALESFORCE_CUSTOM_ID.match(own_id) else None)


def iter_links(ref: EntityRef, record: Mapping) -> Iterator[EntityLink]:
    for name in SALESFORCE_PARENT_FIELDS:
        parent = record.get(name.removesuffix("Id"))
        other = to_label(record.get(name)) or (find_salesforce_id(parent) if isinstance(parent, Mapping) else None)
        if other and SALESFORCE_ID.fullmatch(other):
            yield EntityLink(ref, RelationshipType.BELONGS_TO, (SALESFORCE, complete_entity_id(SALESFORCE, other)))
