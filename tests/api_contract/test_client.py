"""Every method of the Python client calls its operation with the example of the API, and reads its answer."""

import asyncio
import types
from collections.abc import Callable, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

import httpx2
import pytest

from client_generator.operations import Operation, read_operations
from memory_client import AsyncMemoryClient, MemoryClient
from memory_client.listing import AsyncListing, Listing
from tests.conftest import get_handler
from tests.wire import load_openapi

METHODS = read_operations(load_openapi())
ADDRESS = "http://testserver"
#: Of bodies for which the API shows none.
EXAMPLES = {"InteractionsIn": {"interactions": [{"query": "Where?", "answer": "Here."}]}}


def run_site(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer as the site does, in the transaction that has the rows."""
    response = get_handler()(environ)
    start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
    return [b"".join(response)]


class Recorder(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Keeps what was asked and answered; asynchronously, it answers the same once more."""

    def __init__(self) -> None:
        self.site = httpx2.WSGITransport(app=run_site)
        self.asked: list[tuple[Any, ...]] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(describe(request))
        response = self.site.handle_request(request)
        self.answer = {"status_code": response.status_code, "headers": response.headers, "content": response.read()}
        return httpx2.Response(**self.answer)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(describe(request))
        return httpx2.Response(**self.answer)


def describe(request: httpx2.Request) -> tuple[Any, ...]:
    headers = {name: value for name, value in request.headers.items() if name != "idempotency-key"}
    return request.method, str(request.url), headers, request.content, "idempotency-key" in request.headers


def build_arguments(operation: Operation, ids: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of the API's example, by name."""
    schema = load_openapi()["components"]["schemas"].get(operation.body, {})
    body = dict(schema.get("example") or EXAMPLES.get(operation.body, {}))
    body |= body.pop("filters", {})
    given = {}
    for argument in operation.arguments:
        if argument.place == "path" or (argument.place == "query" and argument.is_required):
            given[argument.python_name] = argument.schema.get("enum", [ids.get(argument.name)])[0]
        elif argument.name in body:
            given[argument.python_name] = body[argument.name]
    return given


def is_of(result: Any, kind: Any) -> bool:
    """Return whether a result is what the method's signature says."""
    if get_origin(kind) in (Union, types.UnionType):
        return any(is_of(result, each) for each in get_args(kind))
    return result is None if kind in (None, type(None)) else isinstance(result, kind)


@pytest.mark.django_db
@pytest.mark.parametrize("operation", METHODS, ids=lambda each: f"{each.group}.{each.name}")
def test_method_calls_its_operation(made, ids, operation):
    api, recorder, arguments = made[0], Recorder(), build_arguments(operation, ids)
    with MemoryClient(ADDRESS, api.token, retries=0) as client:
        headers = client.transport.settings.headers
        client.transport.http = httpx2.Client(transport=recorder, headers=headers)
        method = getattr(getattr(client, operation.group), operation.name)
        result, kind = method(**arguments), get_type_hints(method)["return"]
        if isinstance(result, Listing):
            item, kind = get_args(kind)
            result = next(result.pages())
            assert all(isinstance(each, item) for each in result.results)
    assert is_of(result, kind)

    async def call() -> Any:
        async with AsyncMemoryClient(ADDRESS, api.token, retries=0) as client:
            client.transport.http = httpx2.AsyncClient(transport=recorder, headers=headers)
            result = getattr(getattr(client, operation.group), operation.name)(**arguments)
            return await (anext(result.pages()) if isinstance(result, AsyncListing) else result)

    assert asyncio.run(call()) == result
    assert recorder.asked[0] == recorder.asked[1]
