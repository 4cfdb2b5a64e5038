"""The API as its own OpenAPI document describes it, requests made from that, and what they leave in the database."""

import inspect
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import cache
from typing import Any

import psycopg
from django.apps import apps
from django.db import connection, connections
from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import Resolver404, resolve
from ninja.errors import HttpError
from ninja.params.models import ParamModel
from pydantic import ValidationError

from memory_site.api import api
from memory_site.operations.selftest.operations import CHOSEN_NAMES as CHOSEN_NAMES
from memory_site.operations.selftest.operations import ApiDocument, Operation

PROBLEM_FIELDS = {"type", "title", "status", "detail", "instance", "request_id"}
JSON_TYPES = {"string": str, "integer": int, "number": int | float, "boolean": bool, "object": dict, "null": type(None)}
PLACEHOLDER = "the value under test"
#: The id of a memory that is there: what a body names must exist.
SAMPLE_ID = "01980000-0000-7000-8000-000000000000"
SAMPLES = {"date-time": "2026-01-01T00:00:00Z", "uuid": SAMPLE_ID}


@cache
def load_openapi() -> dict:
    return json.loads(json.dumps(api.get_openapi_schema(path_prefix=""), default=str))


@cache
def load_document() -> ApiDocument:
    return ApiDocument(load_openapi())


def list_alternatives(schema: dict) -> list[dict]:
    return load_document().list_alternatives(schema)


def resolve_reference(schema: dict) -> dict:
    return load_document().resolve_reference(schema)


def list_operations() -> list[Operation]:
    return load_document().operations


def list_replica_reads() -> list[Operation]:
    """All that read, without what any key may ask: its answer is the key itself, which the primary has checked."""
    return [each for each in list_operations() if each.reads and each.path != "/key"]


def iter_fields(schema: dict, place: tuple = ()) -> Iterator[tuple[tuple, dict]]:
    """Every place in a body where a value may stand, with its schema: (("filters", "tags", 0), {"type": …})."""
    for each in list_alternatives(schema):
        for name, inner in each.get("properties", {}).items():
            if "x-anything" in inner:  # where everything is accepted, which its own tests show
                continue
            yield (*place, name), inner
            yield from iter_fields(inner, (*place, name))
        if "items" in each:
            yield (*place, 0), each["items"]
            yield from iter_fields(each["items"], (*place, 0))


def conforms_to_any(value: Any, schema: dict) -> bool:
    """Whether an answer has the shape that is documented: no field unknown, none missing, each of its type."""
    return any(conforms_to(value, each) for each in list_alternatives(schema))


def conforms_to(value: Any, schema: dict) -> bool:
    match schema.get("type"):
        case "object" if "properties" in schema:
            known = schema["properties"]
            return (
                isinstance(value, dict)
                and set(schema.get("required", [])) <= set(value) <= set(known)
                and all(conforms_to_any(inner, known[name]) for name, inner in value.items())
            )
        case "array":
            return isinstance(value, list) and all(conforms_to_any(inner, schema["items"]) for inner in value)
        case None:
            return True
        case kind:
            return isinstance(value, JSON_TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def list_json_types(schema: dict) -> set[str]:
    """The JSON types a schema lets pass; empty for any."""
    return {each["type"] for each in list_alternatives(schema) if "type" in each}


def build_sample(schema: dict) -> Any:
    """The smallest value a schema lets pass."""
    each = list_alternatives(schema)[0]
    if "example" in each or "enum" in each or "const" in each:
        return deepcopy(each["example"] if "example" in each else each.get("const", each.get("enum", [None])[0]))
    match each.get("type"):
        case "object":
            return {name: build_sample(each["properties"][name]) for name in each.get("required", [])}
        case "array":
            return [build_sample(each["items"])] * each.get("minItems", 1)
        case "string":
            return SAMPLES.get(each.get("format"), "a" * each.get("minLength", 1))
        case "boolean":
            return True
        case _:
            return each.get("minimum", 1)


def build_raw_body(operation: Operation, place: tuple, raw: str) -> bytes:
    """A body that is valid but for `raw`, JSON or not, standing at `place`."""
    body = place_value(operation.example(), operation.body, place)
    return json.dumps(body).replace(json.dumps(PLACEHOLDER), raw).encode("utf-8", "surrogatepass")


def place_value(value: Any, schema: dict, place: tuple) -> Any:
    if not place:
        return PLACEHOLDER
    step, *rest = place
    if step == 0:
        [kind] = [each for each in list_alternatives(schema) if "items" in each]
        items = value or build_sample(kind)
        return [place_value(items[0], kind["items"], rest), *items[1:]]
    kinds = [each for each in list_alternatives(schema) if "properties" in each]
    kind = next((each for each in kinds if step in each["properties"]), kinds[0])
    if value is None or not set(value) <= set(kind["properties"]):
        value = deepcopy(kind["example"]) if "example" in kind else build_sample(kind)
    return value | {step: place_value(value.get(step), kind["properties"].get(step, {}), rest)}


def list_refusals(method: str, url: str, body: bytes | None) -> frozenset[str]:
    """What the schema of an operation has against a request, one text for each kind of error; empty when it has
    nothing. The request is read as the API reads it, and goes no further."""
    content = {} if body is None else {"data": body, "content_type": "application/json"}
    request = RequestFactory().generic(method, f"/api/v1{url}", **content)
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return frozenset({"There is nothing at this address."})
    view = inspect.getclosurevars(match.func).nonlocals.get("self")
    models = [model for each in getattr(view, "operations", ()) if method in each.methods for model in each.models]
    return frozenset(kind for model in models for kind in _refusals(model, request, match.kwargs))


def _refusals(model: type[ParamModel], request: HttpRequest, path: dict[str, Any]) -> list[str]:
    try:
        model.resolve(request, api, path)
    except ValidationError as error:
        return [_kind(each) for each in error.errors(include_url=False, include_input=False)]
    except HttpError as error:
        return [re.sub("[0-9]+", "n", str(error.__cause__))]  # wherever in the text it stands
    return []


def _kind(error: dict[str, Any]) -> str:
    """Of a field that is not known also its name, for that stands in the answer."""
    match error["type"]:
        case "value_error":
            return error["msg"]
        case "extra_forbidden":
            return repr(error["loc"][-1])
        case kind:
            return kind


def is_problem(response: Any, *statuses: int) -> bool:
    """Whether the answer is a whole problem document, of one of the statuses when any are named."""
    if statuses and response.status_code not in statuses:
        return False
    body = json.loads(response.content)
    return (
        response["Content-Type"] == "application/problem+json"
        and set(body) >= PROBLEM_FIELDS
        and body["status"] == response.status_code
        and body["request_id"] == response["X-Request-ID"]
    )


def list_blamed_fields(response: Any) -> set[str]:
    """The fields a problem document names."""
    return {error["field"] for error in response.json().get("errors", [])}


def list_tables(namespaced: bool) -> list[str]:
    """Our tables: all, or those whose rows belong to a namespace. API keys note their own use and are left out."""
    ours = [model for model in apps.get_models() if not model.__module__.startswith(("django", "unfold"))]
    ours = [model for model in ours if model.__name__ != "ApiKey"]
    return [
        model._meta.db_table
        for model in ours
        if not namespaced or any(field.column == "namespace_id" for field in model._meta.concrete_fields)
    ]


def fingerprint_tables(namespace_id: int | None = None) -> dict[str, tuple]:
    """What is in our tables, each as (rows, sum of the rows' hashes); of one namespace when it is given."""
    where = "" if namespace_id is None else f" WHERE namespace_id = {namespace_id}"
    parts = [
        f"SELECT '{table}', count(*), sum(hashtextextended(t::text, 0)) FROM {table} t{where}"
        for table in list_tables(namespace_id is not None)
    ]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        return {table: rest for table, *rest in cursor.fetchall()}


def transaction_is_broken() -> bool:
    return connection.connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR


def is_lock_awaited() -> bool:
    """Whether some client of the test's database waits for a lock. PostgreSQL's own processes may do so at any time."""
    with connection.cursor() as cursor:
        # A transaction goes on seeing the clients that were there when it first looked at them.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND backend_type = 'client backend' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def run_at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of calls that start together, each in a thread with its own connection."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            start.wait(60)
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(run, call) for call in calls]]
