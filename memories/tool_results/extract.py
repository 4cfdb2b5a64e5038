"""Find entities in the result of a tool: records of Salesforce, Jira and ServiceNow.

A result is untrusted input: any JSON, with records anywhere in it, also as JSON inside a text. What does not look like
a record is ignored.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from memories.graph.relationships import EntityRef
from memories.tool_results.jira import parse_jira
from memories.tool_results.records import MAX_PARSE_DEPTH, Entity
from memories.tool_results.salesforce import parse_salesforce
from memories.tool_results.servicenow import parse_servicenow

MAX_ENTITIES, MAX_PARSED_VALUES, MAX_JSON_TEXT_LENGTH = 200, 50_000, 1_000_000
RECORD_PARSERS = (parse_servicenow, parse_jira, parse_salesforce)


def extract_entities(result: Any) -> dict[EntityRef, Entity]:
    """Return the first MAX_ENTITIES entities of a tool's result in order; repeated entities are merged."""
    found: dict[EntityRef, Entity] = {}
    for record in iter_records(result):
        entity = next((entity for parse in RECORD_PARSERS if (entity := parse(record))), None)
        if entity is None or (entity.key not in found and len(found) == MAX_ENTITIES):
            continue
        known = found.setdefault(entity.key, entity)
        known.fields |= entity.fields
        known.name = known.name or entity.name
        known.links += entity.links if known is not entity else []
    return found


def iter_records(result: Any) -> Iterator[Mapping]:
    """Yield the objects inside a result, also in JSON texts, down to MAX_PARSE_DEPTH and up to MAX_PARSED_VALUES."""
    stack: list[tuple[Any, int]] = [(result, 1)]
    parsed = 0
    while stack and parsed < MAX_PARSED_VALUES:
        value, level = stack.pop()
        value, parsed = parse_json(value) if isinstance(value, str) else value, parsed + 1
        children: Any = ()
        if isinstance(value, Mapping):
            yield value
            children = value.values()
        elif isinstance(value, list):
            children = value[:MAX_PARSED_VALUES]
        if level < MAX_PARSE_DEPTH:
            stack.extend((child, level + 1) for child in reversed(list(children)))


def parse_json(text: str) -> Any:
    """Return the JSON object or list that a text contains; None for other texts."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > MAX_JSON_TEXT_LENGTH:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
