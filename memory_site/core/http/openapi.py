"""The OpenAPI document, completed with what applies to every operation."""

from collections.abc import Iterator, Mapping
from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from memory_site.core.http.consistency import EVENTUAL, HEADER, STRONG, TOKEN_HEADER, TOKEN_PATTERN, replica_reads
from memory_site.core.http.openapi_examples import ExampleBuilder
from memory_site.core.http.problems import PROBLEM_MEDIA_TYPE

JSON_MEDIA_TYPE = "application/json"
IDEMPOTENCY_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "A retry with the same key and body gets the same response, for 24 hours.",
}
ETAG_HEADER = {
    "schema": {"type": "string"},
    "description": "Its `revision` in quotes, for `If-Match` and `If-None-Match`. Reading does not move it.",
}
#: For the operations that read, and for all others.
CONSISTENCY_SCHEMA = {
    "in": "header",
    "name": HEADER,
    "required": False,
    "schema": {"type": "string", "enum": [STRONG, EVENTUAL]},
}
READ_PARAMETERS = [
    CONSISTENCY_SCHEMA
    | {
        "description": "`eventual` permits an answer from a replica, whose data may be seconds old; the answer's "
        "`X-Consistency` says how old at most, as in `eventual; server=replica_1; lag=0.31`."
    },
    {
        "in": "header",
        "name": TOKEN_HEADER,
        "required": False,
        "schema": {"type": "string", "pattern": f"^{TOKEN_PATTERN.pattern}$"},
        "description": "From the answer to a write: only a replica that has this write is read.",
    },
]
WRITE_PARAMETERS = [
    CONSISTENCY_SCHEMA
    | {"description": "Where replicas are read, the answer to `eventual` has an `X-Consistency-Token` for later reads."}
]


class DescribedAPI(NinjaAPI):
    """A NinjaAPI that documents every field, parameter and response, and the Idempotency-Key of every POST and PUT.

    An operation's id is the name of its function. Generated clients name their methods by it, so it stays when a module
    moves. `fields`, `parameters`: descriptions by name, for those without one of their own. `examples`: values by name.
    """

    def __init__(
        self,
        *,
        fields: Mapping[str, str],
        parameters: Mapping[str, str],
        examples: Mapping[str, Any],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.fields, self.parameters, self.examples = fields, parameters, examples
        self._documents: dict[str, OpenAPISchema] = {}

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """Return the document, always the same object: making it takes seconds, and strangers may ask for it."""
        prefix = self.get_root_path(path_params or {}) if path_prefix is None else path_prefix
        if prefix not in self._documents:
            self._documents[prefix] = self._build_document(prefix)
        return self._documents[prefix]

    def _build_document(self, path_prefix: str) -> OpenAPISchema:
        schema = super().get_openapi_schema(path_prefix=path_prefix)
        components = schema["components"]["schemas"]
        for component in components.values():
            describe_fields(component, self.fields)
        builder = ExampleBuilder(components, self.examples)
        for method, operation in iterate_operations(schema):
            set_problem_media_type(operation["responses"])
            describe_parameters(operation.setdefault("parameters", []), self.parameters)
            add_examples(operation["responses"], builder)
            describe_etag(operation["responses"], components)
            operation["parameters"] += get_consistency_parameters(operation["operationId"], operation["parameters"])
            if method in ("post", "put") and IDEMPOTENCY_PARAMETER not in operation["parameters"]:
                operation["parameters"].append(IDEMPOTENCY_PARAMETER)
        return schema


def get_consistency_parameters(operation_id: str, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those that are missing: the document of an operation may be a part of the last one."""
    parameters = READ_PARAMETERS if operation_id in replica_reads else WRITE_PARAMETERS
    return [parameter for parameter in parameters if parameter not in known]


def iterate_operations(schema: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for methods in schema["paths"].values():
        yield from methods.items()


def describe_fields(component: dict[str, Any], descriptions: Mapping[str, str]) -> None:
    for name, field in component.get("properties", {}).items():
        set_description(field, find_description(field) or descriptions.get(name))


def describe_parameters(parameters: list[dict[str, Any]], descriptions: Mapping[str, str]) -> None:
    for parameter in parameters:
        own = parameter.get("description") or find_description(parameter["schema"])
        set_description(parameter, own or descriptions.get(parameter["name"]))


def set_description(described: dict[str, Any], text: str | None) -> None:
    if text:
        described["description"] = text


def find_description(schema: Mapping[str, Any]) -> str | None:
    """Return the description of a schema, or of its type when that may also be null."""
    own = (each.get("description") for each in (schema, *schema.get("anyOf", [])))
    return next((text for text in own if text), None)


def add_examples(responses: dict[Any, dict], builder: ExampleBuilder) -> None:
    """Add an example to every response with a JSON body that is no problem document."""
    for response in responses.values():
        if content := response.get("content", {}).get(JSON_MEDIA_TYPE):
            content["example"] = builder.build(content["schema"])


def describe_etag(responses: dict[Any, dict], components: Mapping[str, Any]) -> None:
    """Document the ETag of each answer that is one object with a revision."""
    for response in responses.values():
        schema = response.get("content", {}).get(JSON_MEDIA_TYPE, {}).get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        if "revision" in components.get(name, {}).get("properties", {}):
            response["headers"] = {"ETag": ETAG_HEADER}


def set_problem_media_type(responses: dict[Any, dict]) -> None:
    for status, response in responses.items():
        if int(status) >= 400 and JSON_MEDIA_TYPE in response.get("content", {}):
            response["content"] = {PROBLEM_MEDIA_TYPE: response["content"][JSON_MEDIA_TYPE]}
