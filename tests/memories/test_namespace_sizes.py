"""The numbers of memories by which a search chooses between the exact scan and the index."""

import pytest

from memories import tasks
from memories.models import Memory, NamespaceSize
from memories.search.execute import build_scope, execute
from memories.search.query import Search
from memories.search.scope_size import EXACT_ROWS_DIVISOR, MIN_EXACT_ROWS

pytestmark = pytest.mark.django_db


def add_memories(namespace, count: int) -> None:
    rows = (Memory(namespace=namespace, content=f"Berth {n}.", source_system="test") for n in range(count))
    Memory.objects.bulk_create(rows, batch_size=1000)


def get_size(namespace) -> tuple[int, int]:
    return NamespaceSize.objects.values_list("memories", "memories_in_index").get(namespace=namespace)


def choose_scan(namespace) -> bool:
    """Return whether a search of the namespace, of unknown size, would scan it."""
    [*_, (*_, few)] = execute(build_scope(namespace.pk, None, "m"), Search("berth", None, "m", 1), None)
    return few


def test_sizes_are_those_of_a_namespace_and_of_the_index(namespace, elsewhere):
    add_memories(namespace, 3)
    add_memories(elsewhere, 2)
    assert tasks.measure_namespaces() == 2
    assert get_size(namespace) == (3, 5)
    assert get_size(elsewhere) == (2, 5)


def test_sizes_follow_changes_and_are_written_only_then(namespace):
    add_memories(namespace, 3)
    tasks.measure_namespaces()
    assert tasks.measure_namespaces() == 0
    Memory.objects.all()[:1].get().delete()
    assert tasks.measure_namespaces() == 1
    assert get_size(namespace) == (2, 2)


def test_size_goes_with_its_namespace(namespace):
    tasks.measure_namespaces()
    namespace.delete()
    assert not NamespaceSize.objects.exists()


def test_more_is_scanned_where_the_index_holds_many(namespace):
    """In a large index a filter that keeps few rows finds less, and takes longer."""
    add_memories(namespace, MIN_EXACT_ROWS + 1)
    assert not choose_scan(namespace)
    size = NamespaceSize(namespace=namespace, memories=MIN_EXACT_ROWS + 1)
    size.memories_in_index = EXACT_ROWS_DIVISOR * (MIN_EXACT_ROWS + 1)
    size.save(force_insert=True)
    assert choose_scan(namespace)


def test_a_large_scope_has_the_rows_that_were_counted(namespace):
    NamespaceSize.objects.create(namespace=namespace, memories=70_000, memories_in_index=70_000)
    add_memories(namespace, MIN_EXACT_ROWS + 1)
    [*_, (*_, rows, _)] = execute(build_scope(namespace.pk, None, "m"), Search("berth", None, "m", 1), None)
    assert rows == 70_000
    NamespaceSize.objects.update(memories=10)
    [*_, (*_, rows, _)] = execute(build_scope(namespace.pk, None, "m"), Search("berth", None, "m", 1), None)
    assert rows > MIN_EXACT_ROWS
