"""The OpenAPI document, completed with what applies to every operation."""

from collections.abc import Mapping
from typing import Any

from ninja import NinjaAPI
from ninja.operation import Operation

PROBLEM_MEDIA_TYPE = "application/problem+json"
IDEMPOTENCY_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "A retry with the same key and body gets the same response, for 24 hours.",
}


class DescribedAPI(NinjaAPI):
    """A NinjaAPI that documents problem responses and the Idempotency-Key of every POST.

    `id_prefixes` maps a module to the prefix of its operation ids. Generated clients name their methods by these ids,
    so they stay when a module moves.
    """

    def __init__(self, *, id_prefixes: Mapping[str, str], **options: Any) -> None:
        super().__init__(**options)
        self.id_prefixes = id_prefixes

    def get_openapi_operation_id(self, operation: Operation) -> str:
        function = operation.view_func
        return f"{self.id_prefixes[function.__module__]}_{function.__name__}"

    def get_openapi_schema(self, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # any of its arguments
        schema = super().get_openapi_schema(**kwargs)
        for methods in schema["paths"].values():
            for method, operation in methods.items():
                set_problem_media_type(operation["responses"])
                if method == "post" and IDEMPOTENCY_PARAMETER not in operation.setdefault("parameters", []):
                    operation["parameters"].append(IDEMPOTENCY_PARAMETER)
        return schema


def set_problem_media_type(responses: dict[Any, dict]) -> None:
    for status, response in responses.items():
        if int(status) >= 400 and "application/json" in response.get("content", {}):
            response["content"] = {PROBLEM_MEDIA_TYPE: response["content"]["application/json"]}
