"""Count the memories of each namespace, for searches (memories/search/scope_size.py)."""

from collections import Counter

from django.db import connection

from memories.models import NamespaceSize
from sessions_app.models import Namespace
from sessions_app.namespaces import Failures

#: Counting stops here, after about 0.1 s: of larger numbers only the logarithm matters.
MAX_COUNTED_MEMORIES = 1_000_000
# `part`: the table that holds the namespace's vectors, of which each has an index of its own.
COUNT_MEMORIES_SQL = f"""
SELECT (SELECT tableoid FROM memories_embedding WHERE namespace_id = %(namespace)s LIMIT 1) AS part,
       count(*) FROM (SELECT FROM memories_memory WHERE namespace_id = %(namespace)s LIMIT {MAX_COUNTED_MEMORIES}) own
"""


def measure_namespaces() -> int:
    """Store the sizes of all namespaces. Return how many changed. Raises NamespacesFailed at the end."""
    failures, changed = Failures("Counting memories"), 0
    counted: dict[int, tuple[int | None, int]] = {}
    for namespace_id in Namespace.objects.values_list("pk", flat=True):
        with failures.expected(namespace_id):
            counted[namespace_id] = count_memories(namespace_id)
    totals: Counter[int | None] = Counter()
    for part, memories in counted.values():
        totals[part] += memories
    for namespace_id, (part, memories) in counted.items():
        with failures.expected(namespace_id):
            changed += store_size(namespace_id, memories, totals[part])
    failures.raise_if_any()
    return changed


def count_memories(namespace_id: int) -> tuple[int | None, int]:
    """Return the table of the namespace's vectors, None without any, and the number of its memories."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT_MEMORIES_SQL, {"namespace": namespace_id})
        return cursor.fetchone()


def store_size(namespace_id: int, memories: int, memories_in_index: int) -> bool:
    """Store the size of a namespace. Return whether it changed."""
    size = {"memories": memories, "memories_in_index": memories_in_index}
    rows = NamespaceSize.objects.filter(namespace=namespace_id)
    if rows.filter(**size).exists():
        return False
    if not rows.update(**size):
        NamespaceSize.objects.bulk_create([NamespaceSize(namespace_id=namespace_id, **size)], ignore_conflicts=True)
    return True
