"""The operations of an OpenAPI document, with the methods that the client has for them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from client_generator.names import ARGUMENTS, METHODS
from client_generator.types import Schema, find_name

API_PATH = "/api/v1"
#: For every operation alike: the client's own, not an argument of each method.
COMMON_HEADERS = ("Idempotency-Key", "X-Consistency", "X-Consistency-Token")
#: That of operations that only read, whatever their verb.
READING_HEADER = "X-Consistency-Token"
PAGING = ("limit", "cursor")
METHOD = re.compile(r"(\w+)\.(\w+)(?:\((.*)\))?")
FILTERS = "Filters"
#: Optional fields of one body that are arguments of their own.
MAX_EXPLICIT = 8


class UnnamedOperation(Exception):
    """The API has an operation without a method, or the table names one that the API does not have."""


@dataclass
class Argument:
    """`place`: path, query, header, body or filters. `name`: in the API."""

    name: str
    place: str
    schema: Schema
    is_required: bool
    description: str

    @property
    def default(self) -> Any:
        """The API's own default, or None where it is a list, an object or nothing."""
        default = self.schema.get("default")
        return default if isinstance(default, bool | int | float | str) else None

    @property
    def is_sent_as_null(self) -> bool:
        """Whether null says something else than the API's default."""
        kinds = [kind.get("type") for kind in self.schema.get("anyOf", [])]
        return self.default is not None and "null" in kinds

    @property
    def python_name(self) -> str:
        name = ARGUMENTS.get(self.name, self.name) if self.place == "path" else self.name
        return name.lower().replace("-", "_")


@dataclass
class Operation:
    """One method of the client.

    `results`: the schema of each status, None for no body, "bytes" for a file. `is_partly_addressed`: some fields of
    the body are in the address, and only there.
    """

    id: str
    group: str
    name: str
    method: str
    path: str
    description: str
    positional: list[str]
    arguments: list[Argument]
    results: dict[int, Any]
    reads: bool
    body: str
    is_paged: bool
    needs_filters: bool
    has_all_filters: bool
    is_partly_addressed: bool

    @property
    def takes_key(self) -> bool:
        return self.method == "PUT" or (self.method == "POST" and not self.reads)

    @property
    def filters(self) -> list[Argument]:
        return [each for each in self.arguments if each.place == "filters"]

    @property
    def has_query_filters(self) -> bool:
        return bool(self.filters) and self.method == "GET"

    @property
    def has_body_filters(self) -> bool:
        return bool(self.filters) and self.method != "GET"

    @property
    def bundled(self) -> list[Argument]:
        """Arguments that are keys of a dictionary of keywords: all of a PATCH, where None is a value and not the
        absence of one; filters; and optional fields, if there are many."""
        if self.filters:
            return self.filters
        optional = [each for each in self.arguments if each.place == "body" and not each.is_required]
        return optional if self.method == "PATCH" or len(optional) > MAX_EXPLICIT else []

    @property
    def explicit(self) -> list[Argument]:
        return [each for each in self.arguments if each not in self.bundled]

    @property
    def bundle_name(self) -> str:
        return "filters" if self.filters else "changes" if self.method == "PATCH" else "fields"

    def bundles(self) -> list[tuple[str, list[Argument]]]:
        """Return the dictionary of keywords as its class and its arguments, or nothing."""
        if not self.bundled:
            return []
        name = f"{self.name.title() if self.is_partly_addressed else ''}{self.body.removesuffix('In')}Fields"
        if self.filters:
            name = FILTERS if self.has_all_filters else self.body.removesuffix("In") + FILTERS
        return [(self.body if self.method == "PATCH" else name, self.bundled)]

    def find_argument(self, name: str) -> Argument:
        return next(each for each in self.arguments if each.python_name == name)


def read_operations(document: Mapping[str, Any]) -> list[Operation]:
    """Return them in the order of names.METHODS. Raises UnnamedOperation when that and the document differ."""
    known = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}
    if wrong := known ^ METHODS.keys():
        raise UnnamedOperation(f"client_generator/names.py and the API differ: {', '.join(sorted(wrong))}")
    order = list(METHODS)
    operations = [
        operation
        for path, methods in document["paths"].items()
        for method, each in methods.items()
        for operation in read_forms(document["components"]["schemas"], path, method.upper(), each)
    ]
    return sorted(operations, key=lambda operation: order.index(operation.id))


def read_forms(components: Mapping[str, Schema], path: str, method: str, each: Schema) -> Iterator[Operation]:
    """Yield one operation, or one for each form of its body."""
    named = METHODS[each["operationId"]]
    body = find_body(each)
    if isinstance(named, str):
        yield read_operation(components, path, method, each, named, body)
        return
    forms = {find_name(form): form for form in body["oneOf"]}
    for form, name in named.items():
        yield read_operation(components, path, method, each, name, forms[form])


def find_body(each: Schema) -> Schema:
    """Return the schema of the body, which may be optional."""
    schema: Schema = each.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return next((part for part in schema.get("anyOf", []) if find_name(part)), schema)


def read_operation(
    components: Mapping[str, Schema], path: str, method: str, each: Schema, named: str, body: Schema
) -> Operation:
    group, name, positional = METHOD.fullmatch(named).groups()  # type: ignore[union-attr]  # the table is ours
    parameters = [parameter for parameter in each["parameters"] if parameter["name"] not in COMMON_HEADERS]
    names = {parameter["name"] for parameter in each["parameters"]}
    is_paged = "cursor" in names
    arguments = [read_parameter(each) for each in parameters if not (is_paged and each["name"] in PAGING)]
    taken = {argument.python_name for argument in arguments}
    fields = list(read_body(components, body))
    arguments += [each for each in fields if each.name not in taken]
    mark_filters(components, arguments)
    filters = {argument.name for argument in arguments if argument.place == "filters"}
    return Operation(
        id=each["operationId"],
        group=group,
        name=name,
        method=method,
        path=path.removeprefix(API_PATH),
        description=each.get("description", each["summary"] + "."),
        positional=[argument.python_name for argument in arguments if argument.place == "path"]
        + [name.strip() for name in (positional or "").split(",") if name.strip()],
        arguments=arguments,
        results={int(status): find_result(answer) for status, answer in each["responses"].items() if int(status) < 300},
        reads=method == "GET" or READING_HEADER in names,
        body=find_name(body),
        is_paged=is_paged,
        needs_filters="filters" in components.get(find_name(body), {}).get("required", []),
        is_partly_addressed=any(each.name in taken for each in fields),
        has_all_filters=filters == components[FILTERS]["properties"].keys(),
    )


def read_parameter(parameter: Schema) -> Argument:
    schema, name = parameter["schema"], parameter["name"]
    return Argument(name, parameter["in"], schema, parameter.get("required", False), parameter.get("description", ""))


def mark_filters(components: Mapping[str, Schema], arguments: list[Argument]) -> None:
    """Query parameters that are all of the filters are filters too."""
    parameters = {argument.name for argument in arguments if argument.place == "query"}
    filters = components[FILTERS]["properties"].keys()
    for argument in arguments if filters <= parameters else []:
        if argument.place == "query" and argument.name in filters:
            argument.place = "filters"


def read_body(components: Mapping[str, Schema], body: Schema) -> Iterator[Argument]:
    """Yield the fields of a body. Those of its filters come last, without those that the body has itself."""
    component = components.get(find_name(body), {})
    fields = component.get("properties", {})
    for name, schema in fields.items():
        if name != "filters":
            required = name in component.get("required", [])
            yield Argument(name, "body", schema, required, schema.get("description", ""))
    if "filters" in fields:
        for name, schema in components[FILTERS]["properties"].items():
            if name not in fields:
                yield Argument(name, "filters", schema, False, schema.get("description", ""))


def find_result(answer: Schema) -> Any:
    content = answer.get("content", {})
    if not content:
        return None
    return content["application/json"]["schema"] if "application/json" in content else "bytes"
