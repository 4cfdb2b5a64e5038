"""Session links: adding, listing and deleting."""

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


def test_new_link_is_201_and_related_by_default(api, namespace):
    response = api.post("/session-links", build_body())
    assert response.status_code == 201
    link, stored = response.json(), SessionLink.objects.get()
    assert (stored.namespace, str(stored.pk)) == (namespace, link["id"])
    assert (link["source_session_id"], link["target_session_id"]) == ("tuesday", "monday")
    assert (link["link_type"], link["context"]) == ("related", None)
    assert link["created_at"] == link["updated_at"]


def test_repeated_link_is_200_and_updates_context(api):
    first = add_link(api, context="the same question")
    response = api.post("/session-links", build_body(context="the answer to it"))
    assert response.status_code == 200
    again = response.json()
    assert again["context"] == "the answer to it"
    assert again["updated_at"] > first["updated_at"]
    assert {name for name in first if first[name] != again[name]} == {"context", "updated_at"}
    assert SessionLink.objects.count() == 1


def test_omitted_context_is_kept(api):
    add_link(api, context="the same question")
    assert add_link(api)["context"] == add_link(api, context=None)["context"] == "the same question"


def test_each_type_and_direction_is_a_separate_link(api):
    links = [add_link(api, link_type=kind) for kind in LinkType.values] + [add_link(api, "monday", "tuesday")]
    assert len({each["id"] for each in links}) == SessionLink.objects.count() == 5


def test_namespaces_do_not_share_links(api, outsider):
    ours, theirs = add_link(api, context="ours"), add_link(outsider)
    assert theirs["id"] != ours["id"]
    assert theirs["context"] is None


def test_session_cannot_be_linked_to_itself(api):
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
def test_invalid_field_is_named(api, field, value):
    response = api.post("/session-links", build_body() | {field: value})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
    assert not SessionLink.objects.exists()


def test_longest_values_are_accepted(api):
    wide = "".join(chr(0x20000 + 97 * number) for number in range(255))
    add_link(api, wide, wide[::-1], context="x" * 10_000)


@pytest.mark.parametrize("field", ["source_session_id", "target_session_id"])
def test_both_ends_are_required(api, field):
    ends = build_body()
    del ends[field]
    assert list_blamed_fields(api.post("/session-links", ends)) == {field}


def test_linking_takes_one_statement(api, takes):
    for _ in range(2):
        with takes(1):
            add_link(api, context="x")


@pytest.mark.django_db(transaction=True)
def test_concurrent_equal_links_are_stored_once(api):
    answers = run_at_once(
        [partial(api.post, "/session-links", build_body(context=f"from {each}")) for each in range(8)]
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == SessionLink.objects.count() == 1


def test_idempotency_key_replays_the_first_answer(api):
    answers = [api.post("/session-links", build_body(), **{"Idempotency-Key": "a"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]


# Listing


def test_list_is_newest_first_and_matches_either_end(api):
    first, second = add_link(api, "monday", "tuesday"), add_link(api, "tuesday", "wednesday")
    add_link(api, "thursday", "friday")
    assert list_links(api, session_id="tuesday")["results"] == [second, first]
    assert list_ids(list_links(api, session_id="monday")) == [first["id"]]
    assert len(list_links(api)["results"]) == 3
    assert list_links(api, session_id="sunday")["results"] == []


def test_list_can_be_filtered_by_type(api):
    needed = add_link(api, link_type="dependency")
    add_link(api, link_type="reference")
    assert list_ids(list_links(api, link_type="dependency")) == [needed["id"]]
    assert list_links(api, link_type="dependency", session_id="friday")["results"] == []


def test_pages_cover_all_links_in_both_directions(api):
    for number in range(5):
        add_link(api, "monday", f"number {number}")
    pages = [list_links(api, limit=2)]
    while cursor := pages[-1]["next"]:
        pages.append(list_links(api, limit=2, cursor=cursor))
    assert [each for page in pages for each in list_ids(page)] == list_ids(list_links(api))
    assert list_ids(list_links(api, limit=2, cursor=pages[1]["previous"])) == list_ids(pages[0])


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=x", "link_type=parent", "session_id=", "source=a"])
def test_invalid_parameter_is_named(api, query):
    response = api.get(f"/session-links?{query}")
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {query.split("=")[0]}


def test_listing_takes_one_statement(api, takes):
    add_link(api)
    with takes(1):
        list_links(api, session_id="monday", link_type="related")


# Deleting


def test_second_deletion_is_404(api):
    path = f"/session-links/{add_link(api)['id']}"
    assert (api.delete(path).status_code, SessionLink.objects.count()) == (204, 0)
    assert is_problem(api.delete(path), 404)
    assert is_problem(api.delete(f"/session-links/{uuid4()}"), 404)


def test_outsider_and_reader_cannot_change_links(api, outsider, reader):
    mine, before = add_link(api), fingerprint_tables()
    assert list_links(outsider)["results"] == list_links(outsider, session_id="monday")["results"] == []
    assert is_problem(outsider.delete(f"/session-links/{mine['id']}"), 404)
    assert is_problem(reader.delete(f"/session-links/{mine['id']}"), 403)
    assert is_problem(reader.post("/session-links", build_body("friday")), 403)
    assert list_ids(list_links(reader)) == [mine["id"]]
    assert fingerprint_tables() == before
