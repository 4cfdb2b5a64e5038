"""Writes groups.py and async_groups.py: a class for each group, a method for each operation, the same in both."""

import re
from collections.abc import Iterable

from client_generator.names import GROUPS, WITH_SLASHES, WITHOUT_SLASHES
from client_generator.operations import Argument, Operation
from client_generator.text import HEADER, LAZY, write_docstring
from client_generator.types import TypeWriter, find_references, name_type

PAGE_SIZE = 100
PAGING = [
    "limit: int | None = None",
    f"page_size: int = {PAGE_SIZE}",
    "cursor: str | None = None",
]
PAGING_DOCS = [
    "limit: at most this many in all.",
    "page_size: how many one request reads, at most 100.",
    "cursor: begins there, as `next` of a page says.",
]
KEY = "idempotency_key: str | None = None"


class GroupWriter:
    """Writes one of the two modules. They differ in `async`, `await` and the class of the lists."""

    def __init__(self, types: TypeWriter, results: TypeWriter, is_async: bool) -> None:
        self.types, self.results, self.is_async = types, results, is_async
        self.prefix = "Async" if is_async else ""

    def write(self, operations: list[Operation]) -> str:
        classes = [self.write_group(name, operations) for name in GROUPS]
        text = "\n\n\n".join([*classes, self.write_all()])
        kind = "asynchronous" if self.is_async else "synchronous"
        doc = f"Every operation of the API as a method of the {kind} client, in groups."
        return "\n".join([f'"""{doc}\n\n{HEADER}\n"""', *self.write_imports(), "\n", text])

    def write_imports(self) -> Iterable[str]:
        yield LAZY
        yield "from collections.abc import Mapping, Sequence"
        yield "from datetime import date, datetime"
        yield "from typing import Any, Literal, Unpack"
        yield "from uuid import UUID"
        yield "from memory_client import fields as f"
        yield "from memory_client import models as m"
        yield "from memory_client.calls import fill_path"
        yield f"from memory_client.group import {self.prefix}Group, given"
        yield f"from memory_client.listing import {self.prefix}Listing"
        yield f"from memory_client.transport import {self.prefix}Transport"

    def write_group(self, name: str, operations: list[Operation]) -> str:
        methods = [self.write_method(each) for each in operations if each.group == name]
        head = [f"class {self.name_group(name)}({self.prefix}Group):", *write_docstring(GROUPS[name])]
        return "\n    ".join(head) + "\n\n" + "\n\n".join(methods)

    def name_group(self, name: str) -> str:
        return f"{self.prefix}{name.title()}"

    def write_all(self) -> str:
        lines = [f"class {self.prefix}Groups({self.prefix}Group):", '    """All groups of methods."""', ""]
        lines.append(f"    def __init__(self, transport: {self.prefix}Transport) -> None:")
        lines.append("        super().__init__(transport)")
        lines += [f"        self.{name} = {self.name_group(name)}(transport)" for name in GROUPS]
        return "\n".join(lines)

    def write_method(self, operation: Operation) -> str:
        head = "async def" if self.is_async and not operation.is_paged else "def"
        arguments = ", ".join(["self", *self.write_arguments(operation)])
        docs = write_docstring(operation.description, self.write_details(operation))
        lines = [f"{head} {operation.name}({arguments}) -> {self.write_result(operation)}:"]
        lines += [f"    {line}".rstrip() for line in [*docs, *self.write_body(operation)]]
        return "\n".join(f"    {line}".rstrip() for line in lines)

    def write_arguments(self, operation: Operation) -> list[str]:
        positional = [operation.find_argument(name) for name in operation.positional]
        named = [each for each in operation.explicit if each not in positional]
        keywords = [self.write_argument(each) for each in sorted(named, key=lambda each: not each.is_required)]
        keywords += PAGING if operation.is_paged else []
        keywords += [KEY] if operation.takes_key else []
        bundles = [f"**{operation.bundle_name}: Unpack[f.{name}]" for name, _ in operation.bundles()]
        return [*map(self.write_argument, positional), *(["*", *keywords] if keywords else []), *bundles]

    def write_argument(self, argument: Argument) -> str:
        kind = self.qualify_fields(self.types.write(argument.schema))
        default = argument.default
        if argument.is_required:
            return f"{argument.python_name}: {kind}"
        if default is None and not kind.endswith("None"):
            kind += " | None"
        return f"{argument.python_name}: {kind} = {default!r}"

    def qualify_fields(self, kind: str) -> str:
        components = self.types.components
        return re.sub(r"(?<!['\w])[A-Z]\w+(?!['\w])", lambda m: f"f.{m[0]}" if m[0] in components else m[0], kind)

    def write_details(self, operation: Operation) -> list[str]:
        details = [f"{each.python_name}: {each.description}" for each in operation.explicit if each.description]
        details += PAGING_DOCS if operation.is_paged else []
        return details + [f"{operation.bundle_name}: see `fields.{name}`." for name, _ in operation.bundles()]

    def write_result(self, operation: Operation) -> str:
        kinds = list(dict.fromkeys(self.write_kind(schema) for schema in operation.results.values()))
        if operation.is_paged:
            return f"{self.prefix}Listing[{self.find_item(operation)}, {kinds[0]}]"
        return " | ".join(kinds)

    def write_kind(self, schema: object) -> str:
        if schema is None or isinstance(schema, str):
            return schema or "None"
        name = next(find_references(schema))
        return f"m.{name_type(name)}"

    def find_item(self, operation: Operation) -> str:
        page = self.results.components[next(find_references(operation.results[200]))]
        return self.write_kind(page["properties"]["results"]["items"])

    def write_kind_argument(self, operation: Operation) -> str:
        kinds = {status: self.write_kind(schema) for status, schema in operation.results.items()}
        if len(set(kinds.values())) == 1:
            return next(iter(kinds.values()))
        return f"{{{', '.join(f'{status}: {kind}' for status, kind in kinds.items())}}}"

    def write_body(self, operation: Operation) -> Iterable[str]:
        if operation.is_paged:
            params = write_params(operation) or "{}"
            page = self.write_kind(operation.results[200])
            yield f"return self.list_pages({write_path(operation)}, {page}, limit, page_size, cursor, {params})"
            return
        parts = [repr(operation.method), write_path(operation)]
        parts += [f"params={params}"] if (params := write_params(operation)) else []
        parts += [f"json={body}"] if (body := write_json(operation)) else []
        parts += [f"headers={headers}"] if (headers := write_headers(operation)) else []
        parts += ["idempotency_key=idempotency_key"] if operation.takes_key else []
        call = f"self.request({', '.join([*parts, f'type={self.write_kind_argument(operation)}'])})"
        yield f"return {'await ' if self.is_async else ''}{call}"


def write_path(operation: Operation) -> str:
    arguments = [each for each in operation.arguments if each.place == "path"]
    if not arguments:
        return repr(operation.path)
    path = operation.path
    for each in arguments:
        may_have_slashes = each.name in WITH_SLASHES and (operation.path, each.name) not in WITHOUT_SLASHES
        path = path.replace(f"{{{each.name}}}", f"{{{'*' if may_have_slashes else ''}{each.python_name}}}")
    return f"fill_path({path!r}, {', '.join(f'{each.python_name}={each.python_name}' for each in arguments)})"


def write_params(operation: Operation) -> str:
    pairs = [f"{each.name!r}: {each.python_name}" for each in operation.explicit if each.place == "query"]
    if operation.has_query_filters:
        pairs.append(f"**{operation.bundle_name}")
    return f"{{{', '.join(pairs)}}}" if pairs else ""


def write_json(operation: Operation) -> str:
    """Return the body: required fields and those whose null counts as they are, of the others those that are given."""
    if not operation.body:
        return ""
    fields = [each for each in operation.explicit if each.place == "body"]
    always = [each for each in fields if each.is_required or each.is_sent_as_null]
    parts = [f"{each.name!r}: {each.python_name}" for each in always]
    optional = ", ".join(f"{each.name}={each.python_name}" for each in fields if each not in always)
    bundle = operation.bundle_name
    if operation.has_body_filters:
        if operation.needs_filters:
            parts.append(f"'filters': given(**{bundle})")
        else:
            optional = ", ".join(filter(None, [optional, f"filters=given(**{bundle}) or None"]))
    elif operation.bundles() and operation.method == "PATCH":
        parts.append(f"**{bundle}")
    elif operation.bundles():
        optional = ", ".join(filter(None, [optional, f"**{bundle}"]))
    if optional and not parts:
        return f"given({optional})"
    return f"{{{', '.join([*parts, *([f'**given({optional})'] if optional else [])])}}}"


def write_headers(operation: Operation) -> str:
    pairs = [f"{each.name!r}: {each.python_name}" for each in operation.arguments if each.place == "header"]
    return f"{{{', '.join(pairs)}}}" if pairs else ""
