"""How two sessions are linked."""

from functools import partial
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from sessions_app.models import SessionLink
from sessions_app.models.sessions import LinkType
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db


def build_body(source: str = "tuesday", target: str = "monday", **more: object) -> dict:
    return {"source_session_id": source, "target_session_id": target, **more}


def add_link(api, *ends: str, **more: object) -> dict:
    response = api.post("/session-links", build_body(*ends, **more))
    assert response.status_code in (200, 201), response.content
    return response.json()


def list_links(api, **parameters: object) -> dict:
    response = api.get(f"/session-links?{urlencode(parameters)}")
    assert response.status_code == 200, response.content
    return response.json()


def list_ids(page: dict) -> list[str]:
    return [each["id"] for each in page["results"]]


def test_a_new_link_is_201_and_related_by_default(api, namespace):
    response = api.post("/session-links", build_body())
    assert response.status_code == 201
    told, kept = response.json(), SessionLink.objects.get()
    assert (kept.namespace, str(kept.pk)) == (namespace, told["id"])
    assert (told["source_session_id"], told["target_session_id"]) == ("tuesday", "monday")
    assert (told["link_type"], told["context"]) == ("related", None)
    assert told["created_at"] == told["updated_at"]


def test_linking_again_is_200_and_renews_the_context(api):
    first = add_link(api, context="the same question")
    response = api.post("/session-links", build_body(context="the answer to it"))
    assert response.status_code == 200
    again = response.json()
    assert again["context"] == "the answer to it"
    assert again["updated_at"] > first["updated_at"]
    assert {name for name in first if first[name] != again[name]} == {"context", "updated_at"}
    assert SessionLink.objects.count() == 1


def test_a_context_that_is_not_said_again_stays(api):
    add_link(api, context="the same question")
    assert add_link(api)["context"] == add_link(api, context=None)["context"] == "the same question"


def test_each_type_and_each_direction_is_a_link_of_its_own(api):
    links = [add_link(api, link_type=kind) for kind in LinkType.values] + [add_link(api, "monday", "tuesday")]
    assert len({each["id"] for each in links}) == SessionLink.objects.count() == 5


def test_namespaces_do_not_share_links(api, outsider):
    ours, theirs = add_link(api, context="ours"), add_link(outsider)
    assert theirs["id"] != ours["id"]
    assert theirs["context"] is None


def test_a_session_is_not_linked_to_itself(api):
    response = api.post("/session-links", build_body("monday", "monday"))
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"target_session_id"}
    assert not SessionLink.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("source_session_id", value) for value in ("", "x" * 256, None, 1, "a\nb", "x/context")),
        *(("target_session_id", value) for value in (" ", "x" * 256, None, [])),
        *(("link_type", value) for value in ("", "RELATED", "parent", None)),
        *(("context", value) for value in ("", "x" * 10_001, 1, {})),
        *((name, "x") for name in ("id", "created_at", "namespace_id")),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_not_valid_is_refused_by_its_name(api, field, value):
    response = api.post("/session-links", build_body() | {field: value})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
    assert not SessionLink.objects.exists()


def test_the_longest_is_accepted(api):
    wide = "".join(chr(0x20000 + 97 * number) for number in range(255))
    add_link(api, wide, wide[::-1], context="x" * 10_000)


@pytest.mark.parametrize("field", ["source_session_id", "target_session_id"])
def test_both_ends_are_needed(api, field):
    ends = build_body()
    del ends[field]
    assert list_blamed_fields(api.post("/session-links", ends)) == {field}


def test_linking_takes_one_statement_new_or_not(api, takes):
    for _ in range(2):
        with takes(1):
            add_link(api, context="x")


@pytest.mark.django_db(transaction=True)
def test_links_made_at_once_are_one(api):
    answers = run_at_once(
        [partial(api.post, "/session-links", build_body(context=f"from {each}")) for each in range(8)]
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == SessionLink.objects.count() == 1


def test_an_idempotency_key_replays_the_first_answer(api):
    answers = [api.post("/session-links", build_body(), **{"Idempotency-Key": "a"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]


# Listing


def test_the_newest_comes_first_and_either_end_counts(api):
    first, second = add_link(api, "monday", "tuesday"), add_link(api, "tuesday", "wednesday")
    add_link(api, "thursday", "friday")
    assert list_links(api, session_id="tuesday")["results"] == [second, first]
    assert list_ids(list_links(api, session_id="monday")) == [first["id"]]
    assert len(list_links(api)["results"]) == 3
    assert list_links(api, session_id="sunday")["results"] == []


def test_only_links_of_one_type_are_listed(api):
    needed = add_link(api, link_type="dependency")
    add_link(api, link_type="reference")
    assert list_ids(list_links(api, link_type="dependency")) == [needed["id"]]
    assert list_links(api, link_type="dependency", session_id="friday")["results"] == []


def test_pages_lead_through_everything_and_back(api):
    for number in range(5):
        add_link(api, "monday", f"number {number}")
    pages = [list_links(api, limit=2)]
    while cursor := pages[-1]["next"]:
        pages.append(list_links(api, limit=2, cursor=cursor))
    assert sum(map(list_ids, pages), []) == list_ids(list_links(api))
    assert list_ids(list_links(api, limit=2, cursor=pages[1]["previous"])) == list_ids(pages[0])


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=x", "link_type=parent", "session_id=", "source=a"])
def test_a_parameter_that_is_not_valid_is_named(api, query):
    response = api.get(f"/session-links?{query}")
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {query.split("=")[0]}


def test_listing_takes_one_statement(api, takes):
    add_link(api)
    with takes(1):
        list_links(api, session_id="monday", link_type="related")


# Removing


def test_a_link_is_removed_once(api):
    path = f"/session-links/{add_link(api)['id']}"
    assert (api.delete(path).status_code, SessionLink.objects.count()) == (204, 0)
    assert is_problem(api.delete(path), 404)
    assert is_problem(api.delete(f"/session-links/{uuid4()}"), 404)


def test_who_is_not_one_of_us_sees_and_removes_nothing(api, outsider, reader):
    mine, before = add_link(api), fingerprint_tables()
    assert list_links(outsider)["results"] == list_links(outsider, session_id="monday")["results"] == []
    assert is_problem(outsider.delete(f"/session-links/{mine['id']}"), 404)
    assert is_problem(reader.delete(f"/session-links/{mine['id']}"), 403)
    assert is_problem(reader.post("/session-links", build_body("friday")), 403)
    assert list_ids(list_links(reader)) == [mine["id"]]
    assert fingerprint_tables() == before
