"""The client has every operation of the API, with its fields, and nothing that the API does not have."""

import inspect
import json
import re
from copy import deepcopy

import pytest
from ninja.responses import NinjaJSONEncoder

from client_generator.__main__ import PACKAGE, write_modules
from client_generator.names import GROUPS, METHODS, WITH_SLASHES, WITHOUT_SLASHES
from client_generator.operations import UnnamedOperation
from memory_client import AsyncMemoryClient, MemoryClient, async_groups, groups
from memory_client.operations import OPERATIONS
from memory_site.api import api

#: Of a route, with its converter: only some take slashes.
PARAMETER = re.compile(r"{(?:(\w+):)?(\w+)}")


@pytest.fixture(scope="module")
def document() -> dict:
    return json.loads(json.dumps(api.get_openapi_schema(), cls=NinjaJSONEncoder))


def test_generated_modules_are_up_to_date(document):
    old = [name for name, text in write_modules(document).items() if text != (PACKAGE / name).read_text()]
    assert old == [], "make client-code"


def test_every_operation_has_a_method_and_every_method_an_operation(document):
    offered = {(verb.upper(), path) for path, verbs in document["paths"].items() for verb in verbs}
    assert {(verb, f"/api/v1{path}") for verb, path in OPERATIONS} == offered
    called = sorted(name for names in OPERATIONS.values() for name in names)
    for module, prefix in ((groups, ""), (async_groups, "Async")):
        classes = {name: getattr(module, f"{prefix}{name.title()}") for name in GROUPS}
        assert called == sorted(
            f"{group}.{name}" for group, kind in classes.items() for name in vars(kind) if name[0] != "_"
        )


def test_operation_without_a_name_is_reported(document):
    more = deepcopy(document)
    more["paths"]["/api/v1/new"] = {"get": {"operationId": "list_new", "responses": {}}}
    with pytest.raises(UnnamedOperation, match="list_new"):
        write_modules(more)
    less = deepcopy(document)
    del less["paths"]["/api/v1/summary"]
    with pytest.raises(UnnamedOperation, match="get_summary"):
        write_modules(less)


def test_new_field_of_a_request_or_a_response_makes_them_out_of_date(document):
    more = deepcopy(document)
    for name in ("MemoryIn", "MemoryOut"):
        more["components"]["schemas"][name]["properties"]["mood"] = {"type": "string"}
    changed = {name for name, text in write_modules(more).items() if text != (PACKAGE / name).read_text()}
    assert changed == {"fields.py", "models.py"}


def test_slashes_are_allowed_where_the_api_routes_them():
    """The document says nothing of it: only its routes do."""
    routes = {path for _, router in api._routers for path in router.path_operations}
    places = {(re.sub(r"\w+:", "", path), kind, name) for path in routes for kind, name in PARAMETER.findall(path)}
    routed = {(path, name) for path, kind, name in places if kind in ("path", "any")}
    allowed = {(path, name) for path, _, name in places if name in WITH_SLASHES} - WITHOUT_SLASHES
    assert allowed == routed


def test_both_clients_have_the_same_methods_and_arguments():
    with MemoryClient("http://localhost", "mem_x") as client:
        other = AsyncMemoryClient("http://localhost", "mem_x")
        for group in GROUPS:
            ours, theirs = type(getattr(client, group)), type(getattr(other, group))
            for name in vars(ours):
                if name[0] != "_":
                    arguments = [list(inspect.signature(getattr(each, name)).parameters) for each in (ours, theirs)]
                    assert arguments[0] == arguments[1], (group, name)


def test_names_are_unique():
    named = [name for each in METHODS.values() for name in (each.values() if isinstance(each, dict) else [each])]
    methods = [name.partition("(")[0] for name in named]
    assert len(methods) == len(set(methods))
