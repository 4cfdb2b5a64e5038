"""Getting a memory."""

from uuid import uuid4

import pytest

from memories.schemas import MemoryOut
from tests.wire import fingerprint_tables, is_problem

pytestmark = pytest.mark.django_db


def test_get_returns_every_field(api):
    memory = api.add("Ada likes tea.", user_id="ada", tags=["taste"])
    memory.pop("created")
    response = api.get(f"/memories/{memory['id']}")
    assert response.status_code == 200
    assert response.json() == memory
    assert set(memory) == set(MemoryOut.model_fields)
    MemoryOut.model_validate_json(response.content)


def test_times_are_iso_8601_with_offset(api):
    memory = api.add("tea", expires_at="2190-06-01T12:00:00+02:00")
    assert memory["expires_at"] == "2190-06-01T10:00:00Z"
    assert memory["created_at"].endswith("Z")


def test_get_takes_one_statement_after_authentication(api, takes):
    memory = api.add("tea")
    with takes(1):
        api.get(f"/memories/{memory['id']}")


def test_reading_changes_nothing(api):
    memory = api.add("tea")
    before = fingerprint_tables()
    api.get(f"/memories/{memory['id']}")
    assert fingerprint_tables() == before


def test_missing_memory_is_404(api):
    assert is_problem(api.get(f"/memories/{uuid4()}"), 404)


def test_memory_of_another_namespace_is_404(api, outsider):
    assert is_problem(outsider.get(f"/memories/{api.add('tea')['id']}"), 404)


@pytest.mark.parametrize("text", ["x", "1", "00000000-0000-0000-0000-00000000000g", "null", "%00"])
def test_invalid_id_is_refused(api, text):
    assert is_problem(api.get(f"/memories/{text}"), 404, 422)
