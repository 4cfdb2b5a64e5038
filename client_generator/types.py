"""Schemas of an OpenAPI document as Python types, written out."""

from collections.abc import Iterator, Mapping
from typing import Any

from client_generator.names import TYPES

Schema = Mapping[str, Any]
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
RESULT_FORMATS = {"uuid": "UUID", "date-time": "datetime", "date": "date"}
INPUT_FORMATS = {"uuid": "UUID | str", "date-time": "datetime | str", "date": "date | str"}
#: Components that are objects of fields have classes; all others are written where they are used.
OBJECT = "object"


def find_name(schema: Schema) -> str:
    """Return the name of the component that a schema refers to, or ''."""
    return schema.get("$ref", "").rpartition("/")[2]


def find_references(schema: Any) -> Iterator[str]:
    """Yield the names of components somewhere in a schema."""
    if isinstance(schema, dict):
        if name := find_name(schema):
            yield name
        for value in schema.values():
            yield from find_references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from find_references(value)


def name_type(component: str) -> str:
    """Return the client's name of a component: that of the table, else without `Out`."""
    return TYPES.get(component, component.removesuffix("Out"))


class TypeWriter:
    """Writes types of results (is_input=False) or of arguments.

    Results have `str` where the API has a list of values, so that a value that a later server adds can be read.
    """

    def __init__(self, components: Mapping[str, Schema], is_input: bool) -> None:
        self.components, self.is_input = components, is_input

    def write(self, schema: Schema) -> str:
        if name := find_name(schema):
            return self.write_component(name)
        if parts := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            kinds = list(dict.fromkeys(self.write(part) for part in parts))
            return " | ".join(sorted(kinds, key=lambda kind: kind == "None"))
        if values := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
            return self.write_values(values)
        return self.write_kind(schema)

    def write_component(self, name: str) -> str:
        component = self.components[name]
        if component.get("type") == OBJECT:
            return name if self.is_input else name_type(name)
        return name if self.is_input and "enum" in component else self.write(component)

    def write_values(self, values: list[Any]) -> str:
        if self.is_input:
            return f"Literal[{', '.join(map(repr, values))}]"
        return type(values[0]).__name__

    def write_kind(self, schema: Schema) -> str:
        kind = schema.get("type")
        if kind == "array":
            return f"{'Sequence' if self.is_input else 'list'}[{self.write(schema.get('items', {}))}]"
        if kind == OBJECT:
            values = schema.get("additionalProperties")
            value = self.write(values) if isinstance(values, dict) else "Any"
            return f"{'Mapping' if self.is_input else 'dict'}[str, {value}]"
        formats = INPUT_FORMATS if self.is_input else RESULT_FORMATS
        return formats.get(schema.get("format", ""), PLAIN.get(kind or "", "Any"))
