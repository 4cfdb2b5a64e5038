"""Examples of JSON responses, built from their schemas and example values of fields."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

JSON_TYPES = {
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}
EXAMPLE_ID = "01980000-0000-7000-8000-000000000000"
#: By format, then by type. Fields that need other values have them in the examples by name.
EXAMPLE_BY_FORMAT = {"uuid": EXAMPLE_ID, "date-time": "2026-01-01T09:00:00Z", "date": "2026-01-01"}
EXAMPLE_BY_TYPE = {"string": "text", "integer": 1, "number": 0.5, "boolean": False, "null": None}


class ExampleBuilder:
    """Builds the example of a schema of an OpenAPI document.

    A value comes from the schema's own `example`, else from `examples` by the field's name if the schema allows it,
    else from its type. Of alternatives the first counts.
    """

    def __init__(self, components: Mapping[str, dict], examples: Mapping[str, Any]) -> None:
        self.components, self.examples = components, examples

    def build(self, schema: Mapping[str, Any], name: str = "") -> Any:
        kinds = list(self.iterate_kinds(schema))
        for each in (schema, *kinds):
            if "example" in each:
                return deepcopy(each["example"])
        if name in self.examples and any(allows(each, self.examples[name]) for each in kinds):
            return deepcopy(self.examples[name])
        return self.build_from_type(kinds[0], name)

    def iterate_kinds(self, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield the schemas behind references and alternatives."""
        parts = [part for key in ("anyOf", "oneOf", "allOf") for part in schema.get(key, [])]
        if "$ref" in schema:
            parts.append(self.components[schema["$ref"].rpartition("/")[2]])
        if not parts:
            yield schema
        for part in parts:
            yield from self.iterate_kinds(part)

    def build_from_type(self, schema: Mapping[str, Any], name: str) -> Any:
        if "const" in schema or "enum" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        match schema.get("type"):
            case "object":
                return {key: self.build(field, key) for key, field in schema.get("properties", {}).items()}
            case "array":
                return [self.build(schema["items"], name)]
            case kind:
                return EXAMPLE_BY_FORMAT.get(schema.get("format", ""), EXAMPLE_BY_TYPE.get(kind or ""))


def allows(schema: Mapping[str, Any], value: Any) -> bool:
    """Return whether a schema without references allows the value, by its type and its list of values."""
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    if schema.get("type") == "object" and "properties" in schema:
        return False  # built of its fields
    kind = JSON_TYPES.get(schema.get("type", ""))
    return kind is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool)))
