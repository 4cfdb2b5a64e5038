"""`make lists`: the console's lists with a million memories: each filter, order and search, beside its SQL.

A page is drawn in this process by Django's test client, so that its statements can be timed too: `sql` is their share,
`cpu` that of Python, which a busy machine does not change.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[3] / ".cache" / "lists"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=20, help="drawings of each page (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=DIRECTORY, help="keeps the rows (default: %(default)s)")
    arguments = parser.parse_args()
    os.environ |= {"DATA_DIR": str(arguments.data.resolve()), "EMBEDDER": "hashing"}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_site.settings")
    import django  # noqa: PLC0415  (which reads the settings)

    django.setup()
    run(arguments.rows, arguments.rounds)


def run(rows: int, rounds: int) -> None:
    from django.core.management import call_command  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from memory_site.embedded.running_site import ensure_services_for_command  # noqa: PLC0415
    from tests.benchmarks.lists.load import load  # noqa: PLC0415
    from tests.benchmarks.lists.pages import list_addresses  # noqa: PLC0415

    with ensure_services_for_command():
        call_command("migrate", verbosity=0)
        namespace, client = load(rows), open_client()
        times = {name: measure(client, path, rounds) for name, path in list_addresses(namespace.pk).items()}
    Console(width=120).print(build_table(rows, rounds, times))


def open_client():
    """Return the test client of an operator, whose pages are not distorted by DEBUG's tools."""
    from django.conf import settings  # noqa: PLC0415
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    settings.ALLOWED_HOSTS = ["*"]
    operator, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(operator, "django.contrib.auth.backends.ModelBackend")
    return client


def measure(client, path: str, rounds: int) -> list[tuple[float, ...]]:
    """Return the milliseconds of each drawing, of its statements, and of Python's processor time."""
    from django.db import connection  # noqa: PLC0415

    def time_statement(execute, sql, parameters, many, context):
        started = time.perf_counter()
        try:
            return execute(sql, parameters, many, context)
        finally:
            spent.append(time.perf_counter() - started)

    times = []
    for number in range(rounds + 1):
        spent: list[float] = []
        started, cpu = time.perf_counter(), time.process_time()
        with connection.execute_wrapper(time_statement):
            response = client.get(path)
        assert response.status_code == 200, (path, response.status_code)
        if number:  # the first one loads templates
            seconds = (time.perf_counter() - started, sum(spent), time.process_time() - cpu)
            times.append(tuple(1000 * each for each in seconds))
    return times


def build_table(rows: int, rounds: int, times: dict[str, list[tuple[float, ...]]]):
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"{rows:,} memories, milliseconds, {rounds} drawings of each page")
    for title in ("page", "median", "p95", "sql", "cpu", "page / sql"):
        table.add_column(title, justify="left" if title == "page" else "right")
    for name, each in times.items():
        pages, statements, processor = zip(*each, strict=True)
        median, sql = statistics.median(pages), statistics.median(statements)
        p95 = statistics.quantiles(pages, n=20)[-1] if len(pages) > 1 else median
        table.add_row(
            name,
            f"{median:.0f}",
            f"{p95:.0f}",
            f"{sql:.0f}",
            f"{statistics.median(processor):.0f}",
            f"{median / max(sql, 0.1):.1f}",
        )
    return table


if __name__ == "__main__":
    main()
