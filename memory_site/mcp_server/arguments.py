"""Types of tools' arguments: forgiving about form, since models write them, and strict about meaning."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Arguments(BaseModel):
    """A tool's arguments. Unknown ones are left out, and named in the answer."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


def read_list(value: Any) -> Any:
    """Return a list that came as JSON text, or a text as a list of one."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [value]
    return read_json_text(value, list)


def read_object(value: Any) -> Any:
    return read_json_text(value, dict) if isinstance(value, str) else value


def read_json_text(text: str, kind: type) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, kind):
        raise ValueError(f"must be a JSON {'list' if kind is list else 'object'}")
    return found


def read_moment(value: Any) -> Any:
    """Return a day or a time as ISO 8601 with offset; without one it is UTC."""
    try:
        moment = datetime.fromisoformat(value)  # of a day alone its first moment
    except (ValueError, TypeError):
        raise ValueError("must be a day or a time, such as 2026-11-30 or 2026-11-30T09:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def parse_id(text: str) -> UUID | None:
    """Return a memory's id, None for a text that is none."""
    try:
        return UUID(text.strip().removeprefix("memory://"))
    except ValueError:
        return None


Strings = Annotated[list[str], BeforeValidator(read_list)]
Object = Annotated[dict[str, Any], BeforeValidator(read_object)]
Moment = Annotated[str, BeforeValidator(read_moment)]
User = Annotated[str | None, Field(description="Whose memory; `*` for everybody's.")]
Project = Annotated[str | None, Field(description="The project or repository; `*` for every one.")]
MaxTokens = Annotated[int, Field(ge=100, le=20_000, description="Longest answer, in tokens of about 4 bytes.")]


def build_schema(model: type[BaseModel], *without: str) -> dict[str, Any]:
    """Return a model's JSON Schema, short and without references, since models and not programs read it."""
    schema = model.model_json_schema()
    simple = simplify(schema, schema.pop("$defs", {}))
    for name in without:
        simple["properties"].pop(name, None)
    simple.pop("description", None)
    return {"type": "object", "properties": {}} | simple


def simplify(schema: Any, definitions: dict[str, Any]) -> Any:
    """Put definitions in the place of references; leave out titles, and that an absent value is null."""
    if isinstance(schema, list):
        return [simplify(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return simplify(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(kinds) == 1:
        schema = {**schema, **kinds[0]}
        schema.pop("anyOf")
    plain = {name: value for name, value in schema.items() if name != "title" and (name, value) != ("default", None)}
    if isinstance(properties := plain.pop("properties", None), dict):
        named = {"properties": {name: simplify(each, definitions) for name, each in properties.items()}}
        return {"type": "object"} | named | {name: simplify(value, definitions) for name, value in plain.items()}
    return {name: simplify(value, definitions) for name, value in plain.items()}
