"""The operations of the API as its own OpenAPI document describes them, and requests made from that."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

PREFIX = "/api/v1"
#: Operations that are not GET and change nothing all the same. One that is missing here must refuse a reader's key.
READ_ONLY_POSTS = {
    "/memories/search",
    "/knowledge/query",
    "/search",
    "/projects/search",
    "/insights/search",
    "/context",
}
#: Path parameters that a caller chooses himself: what he has not used yet is empty, and not an error.
CHOSEN_NAMES = {"session_id", "repo_id", "workflow_id", "user_id", "name", "key"}
#: Addresses of chosen names that are not there all the same while nothing is known of them.
PATHS_FOR_KNOWN_IDS = {
    "/users/{user_id}",
    "/users/{user_id}/graph",
    "/repositories/{repo_id}",
    "/preferences/{user_id}/{key}",
    "/memories/by-key/{key}",
    "/patterns/discover",
}


class NoExample(Exception):
    """The schema of a body shows no example."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One method of one address. `body` is the schema of its body, `query` and `path_names` its parameters,
    `answers` the schemas of its answers by status."""

    method: str
    path: str
    query: dict[str, dict]
    path_names: tuple[str, ...]
    body: dict | None
    answers: dict[str, dict]
    required_query: tuple[str, ...] = ()
    body_example: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def reads(self) -> bool:
        return self.method == "GET" or self.path in READ_ONLY_POSTS

    @property
    def is_known_only(self) -> bool:
        return self.path in PATHS_FOR_KNOWN_IDS and self.method != "PUT"

    @property
    def names_what_must_exist(self) -> bool:
        return (
            not set(self.path_names) <= CHOSEN_NAMES
            or self.method == "PATCH"
            or self.is_known_only
            or any("enum" not in self.query[name] for name in self.required_query)
        )

    def url(self, ids: Mapping[str, str]) -> str:
        """Return the address with ids and first choices filled in; a KeyError names a parameter that has no id."""
        query = urlencode(
            {
                name: self.query[name]["enum"][0] if "enum" in self.query[name] else ids[name]
                for name in self.required_query
            }
        )
        return self.path.format(**{name: ids[name] for name in self.path_names}) + (query and f"?{query}")

    def example(self) -> Any:
        """Return a valid body, from the schema's own example, or None. Raises NoExample."""
        if self.body is not None and self.body_example is None:
            raise NoExample(f"The schema of {self} shows no example body.")
        return deepcopy(self.body_example)


class ApiDocument:
    """An OpenAPI document."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content

    @cached_property
    def operations(self) -> list[Operation]:
        return list(self._list_operations())

    def _list_operations(self) -> Iterator[Operation]:
        for path, methods in self.content["paths"].items():
            for method, described in methods.items():
                yield self._build_operation(method.upper(), path.removeprefix(PREFIX), described)

    def _build_operation(self, method: str, path: str, described: Mapping[str, Any]) -> Operation:
        body = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        parameters = described.get("parameters", [])
        query = {each["name"]: each["schema"] for each in parameters if each["in"] == "query"}
        contents = {status: each.get("content", {}) for status, each in described["responses"].items()}
        answers = {str(status): next(iter(each.values()))["schema"] for status, each in contents.items() if each}
        names = tuple(each["name"] for each in parameters if each["in"] == "path")
        required = tuple(each["name"] for each in parameters if each["in"] == "query" and each["required"])
        content = self.resolve_reference(body) if body else None
        example = self.list_alternatives(content)[0].get("example") if content else None
        return Operation(method, path, query, names, content, answers, required, example)

    def resolve_reference(self, schema: dict) -> dict:
        """Return the schema itself behind a reference or a wrapping around a single one."""
        while True:
            wrapped = schema.get("allOf", [])
            if "$ref" in schema:
                schema = self.content["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            elif len(wrapped) == 1:
                schema = wrapped[0]
            else:
                return schema

    def list_alternatives(self, schema: dict) -> list[dict]:
        schema = self.resolve_reference(schema)
        parts = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
        return [each for part in parts for each in self.list_alternatives(part)] or [schema]
