"""How a memory is added."""

import pytest

from memories.models import Memory

pytestmark = pytest.mark.django_db


def test_only_the_content_is_required(api):
    memory = api.add("Ada likes short answers.")
    assert memory["created"] is True
    assert memory["memory_type"] == "agent"
    assert memory["source_system"] == "api"
    assert (memory["importance"], memory["confidence"]) == (3, 1.0)
    assert memory["embedded"] is False
