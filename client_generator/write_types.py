"""Writes models.py (what comes back) and fields.py (what is passed)."""

from collections.abc import Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any

from client_generator.names import BASES
from client_generator.operations import FILTERS, Operation
from client_generator.text import HEADER, LAZY, write_comment, write_docstring
from client_generator.types import OBJECT, Schema, TypeWriter, find_references, name_type

#: Results that have the ETag of their answer.
WITH_ETAG = ("MemoryOut",)
ETAG = ["#: For `if_match`: names this version of the memory. None where the memory is one of several."]
ETAG += ["etag: str | None = None"]
MODEL_IMPORTS = f"""
{LAZY}
from datetime import date, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
"""
FIELD_IMPORTS = f"""
{LAZY}
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict
from uuid import UUID
"""


def write_models(components: Mapping[str, Schema], operations: Iterable[Operation]) -> str:
    """Return the module of the results."""
    found = [find_references(list(operation.results.values())) for operation in operations]
    names = sort_by_use(components, (name for names in found for name in names), BASES)
    types = TypeWriter(components, is_input=False)
    classes = [write_model(components, name, types) for name in names if components[name].get("type") == OBJECT]
    doc = "What the operations return. Fields that a later server adds are ignored."
    return "\n\n\n".join([f'"""{doc}\n\n{HEADER}\n"""\n{MODEL_IMPORTS}', *classes])


def sort_by_use(
    components: Mapping[str, Schema], names: Iterable[str], bases: Mapping[str, str] | None = None
) -> list[str]:
    """Return the components of these names and all that they use, each after those that it uses."""
    graph: dict[str, set[str]] = {}
    waiting = list(names)
    while waiting:
        if (name := waiting.pop()) not in graph:
            graph[name] = {*find_references(components[name]), *([bases[name]] if bases and name in bases else [])}
            waiting += graph[name]
    return list(TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)}).static_order())


def write_model(components: Mapping[str, Schema], name: str, types: TypeWriter) -> str:
    component, base = components[name], BASES.get(name)
    inherited = components[base]["properties"] if base else {}
    lines = [
        line
        for field, schema in component["properties"].items()
        if field not in inherited
        for line in write_model_field(field, schema, types)
    ]
    lines += ETAG if name in WITH_ETAG else []
    head = f"class {name_type(name)}({name_type(base)}, kw_only=True):" if base else None
    head = head or f"class {name_type(name)}(Struct, kw_only=True):"
    docs = write_docstring(component.get("description", ""))
    return "\n    ".join([head, *docs, *(lines or ["" if docs else "pass"])])


def write_model_field(name: str, schema: Schema, types: TypeWriter) -> Iterator[str]:
    """Yield the lines of a field. One that may be null may be missing too: an older server does not have it."""
    kind = types.write(schema)
    yield from write_comment(schema.get("description", ""))
    yield f"{name}: {kind}{' = None' if kind.endswith('None') else ''}"


def write_fields(components: Mapping[str, Schema], operations: list[Operation]) -> str:
    """Return the module of the arguments that are dictionaries."""
    types = TypeWriter(components, is_input=True)
    used = {name for each in operations for argument in each.arguments for name in find_references(argument.schema)}
    names = sort_by_use(components, used)
    aliases = [f"{name} = {write_values(components[name])}" for name in names if "enum" in components[name]]
    nested = [write_nested(components[name], name, types) for name in names if components[name].get("type") == OBJECT]
    bundles = dict(bundle for operation in operations for bundle in iterate_bundles(operation))
    optional = [write_bundle(name, fields, types) for name, fields in sorted(bundles.items())]
    doc = "Arguments that are dictionaries, and keyword arguments that several methods share."
    return "\n\n\n".join([f'"""{doc}\n\n{HEADER}\n"""\n{FIELD_IMPORTS}', "\n".join(aliases), *nested, *optional])


def write_values(component: Schema) -> str:
    return f"Literal[{', '.join(map(repr, component['enum']))}]"


def write_nested(component: Schema, name: str, types: TypeWriter) -> str:
    required = component.get("required", [])
    return write_dictionary(name, component["properties"], required, component.get("description", ""), types)


def iterate_bundles(operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, arguments in operation.bundles():
        yield name, {each.name: {**each.schema, "description": each.description} for each in arguments}


def write_bundle(name: str, fields: dict[str, Any], types: TypeWriter) -> str:
    doc = "Conditions that must all hold." if name.endswith(FILTERS) else ""
    return write_dictionary(name, fields, [], doc, types)


def write_dictionary(name: str, fields: Mapping[str, Any], required: list[str], doc: str, types: TypeWriter) -> str:
    lines = [f"class {name}(TypedDict, total=False):", *write_docstring(doc)]
    for field, schema in fields.items():
        kind = types.write(schema)
        lines += write_comment(schema.get("description", ""))
        lines.append(f"{field}: {f'Required[{kind}]' if field in required else kind}")
    return "\n    ".join(lines)
