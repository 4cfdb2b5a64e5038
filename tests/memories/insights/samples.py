"""Texts of insights, and texts in which they are marked."""

from memories.insights.models import Insight

LAZY_LESSON = "A queryset is lazy: nothing is read from the database before somebody looks at the rows of it."
#: Nearly the same: a Jaccard similarity of 0.9.
SIMILAR_LAZY_LESSON = "A queryset is lazy: nothing is read from the database before somebody looks at the rows in it."
VACUUM_LESSON = "Autovacuum needs a lower threshold on tables that only grow, because it counts what was deleted."


def mark_insights(*lessons: str) -> str:
    return (
        "Some words before.\n" + "\n".join(f"★ Insight ─────\n{lesson}\n─────" for lesson in lessons) + "\nSome after."
    )


def get_insight(pk: str | None = None) -> Insight:
    rows = Insight.objects.select_related("memory")
    return rows.get() if pk is None else rows.get(pk=pk)
