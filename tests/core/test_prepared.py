"""Statements that are compiled once and run with other values."""

from uuid import UUID, uuid4

import pytest

from memories.models import Memory
from memory_site.core.db.prepared import PreparedQuery


def test_a_prepared_query_finds_what_its_queryset_finds(api, outsider):
    mine, theirs = api.add("mine"), outsider.add("theirs")
    query = PreparedQuery(
        lambda namespace_id, pk: Memory.objects.in_namespace(namespace_id).filter(pk=pk).values_list("content"),
        **{"namespace_id": int, "pk": UUID},
    )
    for memory in (mine, theirs, {"id": str(uuid4())}):
        for namespace_id in Memory.objects.values_list("namespace_id", flat=True):
            rows = Memory.objects.in_namespace(namespace_id).filter(pk=memory["id"]).values_list("content")
            assert query.fetch(namespace_id=namespace_id, pk=UUID(memory["id"])) == list(rows)


def test_other_parameters_of_the_statement_stay(api):
    api.add("kept", importance=1)
    api.add("other", importance=4)
    query = PreparedQuery(
        lambda pk: Memory.objects.filter(importance=1, access_count=0).exclude(pk=pk).values_list("content"), pk=UUID
    )
    assert query.fetch(pk=uuid4()) == [("kept",)]


def test_a_value_that_the_statement_does_not_have_is_an_error():
    with pytest.raises(ValueError, match="not in the statement: pk"):
        PreparedQuery(lambda pk: Memory.objects.filter(user_id="ada").values_list("pk"), pk=UUID)
