"""Texts of insights, and texts in which they are marked."""

from memories.insights.models import Insight

LAZY_LESSON = "A queryset is lazy: nothing is read from the database before somebody looks at the rows of it."
#: Nearly the same: a Jaccard similarity of 0.9.
SIMILAR_LAZY_LESSON = "A queryset is lazy: nothing is read from the database before somebody looks at the rows in it."
VACUUM_LESSON = "Autovacuum needs a lower threshold on tables that only grow, because it counts what was deleted."
LETTERS = "".join(chr(0x4E00 + n) for n in range(1000))


def mark_insights(*lessons: str) -> str:
    return (
        "Some words before.\n" + "\n".join(f"★ Insight ─────\n{lesson}\n─────" for lesson in lessons) + "\nSome after."
    )


def get_insight(pk: str | None = None) -> Insight:
    rows = Insight.objects.select_related("memory")
    return rows.get() if pk is None else rows.get(pk=pk)


def add_insight(api, content: str = LAZY_LESSON, **fields: object) -> dict:
    response = api.post("/insights", {"content": content, **fields})
    assert response.status_code in (200, 201), response.content
    return response.json()
