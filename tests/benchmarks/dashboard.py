"""What the dashboard costs: each card beside its own statement, and the whole page with cold and with kept figures.

`DATA_DIR=… python -m tests.benchmarks.dashboard --load 1000000` fills the store of a site that runs up to so many rows,
made by the database itself, and measures. Times on a shared machine are noise; their ratios are not.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  (the models need django.setup)
from django.db import connection  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402

from memories.memory_types import MemoryType  # noqa: E402
from memories.models import Memory  # noqa: E402
from memories.namespace_sizes import measure_namespaces  # noqa: E402
from memories.users.statistics import compact_totals  # noqa: E402
from memory_site.core.caches import clear_all_caches  # noqa: E402
from memory_site.operations.dashboard.cards import CARDS  # noqa: E402
from memory_site.operations.dashboard.content import Card, Scope  # noqa: E402
from memory_site.operations.dashboard.periods import PERIODS  # noqa: E402
from memory_site.operations.dashboard.view import build_dashboard  # noqa: E402
from memory_site.operations.health.latest import check_again, keep_report  # noqa: E402
from sessions_app.models import Namespace  # noqa: E402

PART_ROWS = 20_000
# Five thousand users, a few of whom have most; a year of rows, each as wide as a paragraph.
INSERT_SQL = """
INSERT INTO memories_memory (
    namespace_id, id, content, metadata, memory_type, source_system, user_id, importance, confidence, tags,
    created_at, updated_at, access_count
)
SELECT %(namespace)s, gen_random_uuid(), n || ' ' || repeat('harbour pilot berth ', 20), '{}',
       (%(types)s::text[])[1 + n %% 12],
       'source ' || floor(sqrt(n %% 400)), CASE WHEN n %% 5 > 0 THEN 'user ' || floor(5000 * random() * random()) END,
       1 + n %% 5, 1, '{}', now() - n * interval '31 seconds', now(), 0
FROM generate_series(%(first)s::int, %(first)s::int + %(rows)s - 1) n
"""


def load(rows: int) -> None:
    namespace, _ = Namespace.objects.get_or_create(name="dashboard")
    there = Memory.objects.filter(namespace=namespace).count()
    for first in track(range(there, rows, PART_ROWS), f"{rows:,} memories"):
        values = {"namespace": namespace.pk, "types": list(MemoryType), "first": first, "rows": PART_ROWS}
        with connection.cursor() as cursor:
            cursor.execute(INSERT_SQL, values)
            cursor.execute("DELETE FROM memories_dueembedding WHERE namespace_id = %s", [namespace.pk])
    if there < rows:
        compact_totals(namespace.pk)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        measure_namespaces()


def capture_statements(build: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        build()
    return [query["sql"] for query in captured]


def run_statements(statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            cursor.fetchall()


def measure(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the median milliseconds of two functions that take turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for function, spent in zip((first, second), times, strict=True):
            started = time.perf_counter()
            function()
            spent.append((time.perf_counter() - started) * 1000)
    return median(times[0]), median(times[1])


def measure_card(card: Card, scope: Scope, rounds: int) -> tuple[float, float]:
    def build() -> object:
        return card.build(scope)

    statements = capture_statements(build)
    return measure(build, lambda: run_statements(statements), rounds)


def build_page(scope: Scope) -> None:
    request = RequestFactory().get("/admin/", scope.filters | {"period": scope.period.name})
    request.user = User(is_superuser=True, is_active=True, is_staff=True)
    build_dashboard(request, {})


def measure_page(scope: Scope, rounds: int) -> list[float]:
    """Return the milliseconds of reading all cards and notices, none of them kept, in order.

    The checks of health run beside the pages, so their report is there.
    """
    times, report = [], check_again(30)
    for _ in range(rounds):
        clear_all_caches()
        keep_report(report)
        started = time.perf_counter()
        build_page(scope)
        times.append((time.perf_counter() - started) * 1000)
    return sorted(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--load", type=int, default=0, metavar="ROWS")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    load(arguments.load)
    largest = Memory.objects.values_list("namespace_id", flat=True).first()
    table = Table("card", "scope", "card, ms", "its SQL, ms", "ratio", title=f"{Memory.objects.count():,} memories")
    for card in CARDS:
        for period in PERIODS.values() if card.has_period else [PERIODS["30d"]]:
            for name, namespace in {"all": None, "one": largest}.items() if card.is_namespaced else [("site", None)]:
                ours, sql = measure_card(card, Scope(namespace, period), rounds)
                label = f"{card.name} {period.name}" if card.has_period else card.name
                table.add_row(label, name, f"{ours:.1f}", f"{sql:.1f}", f"{ours / sql:.2f}" if sql else "-")
    Console(width=100).print(table)
    for period in PERIODS.values():
        cold = measure_page(Scope(largest, period), rounds)
        kept, _ = measure(lambda: build_page(Scope(largest, period)), lambda: None, rounds)  # noqa: B023
        worst = cold[max(round(0.95 * len(cold)) - 1, 0)]
        print(f"page, {period.title}: cold median {median(cold):.0f} ms, p95 {worst:.0f} ms; kept {kept:.1f} ms")


if __name__ == "__main__":
    main()
