"""`manage.py tune_index`: measure the recall of the index of the vectors and, where it is short, build it denser."""

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError
from pydantic_core import to_json

from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.maintenance.run import MaintenanceRefused
from memory_site.operations.maintenance.vector_index import tune
from memory_site.operations.maintenance.vector_index.build import NoSpace, drop_candidates, estimate_cost, swap
from memory_site.operations.maintenance.vector_index.measure import Recall, TableBusy
from sessions_app.commands import EXIT_CHECK_FAILED, EXIT_FAILED, EXIT_USAGE_ERROR, FORMATS
from sessions_app.long_commands import LongCommand

#: What pgvector accepts.
RANGES = {"m": (2, 100), "ef_construction": (4, 1000), "ef_search": (1, 1000), "queries": (1, 10_000)}
TINY = "There are {:,} vectors: searches read all of them up to 5,000, and find everything. Nothing is to be done."
NO_QUERIES = "No vector of an active model was found to search with."


class Command(LongCommand):
    help = (
        "Measure recall with stored vectors as queries. Where it is short, search wider or build the index denser: "
        "beside the present one, whose place it takes if it finds more, or as asked. Searches and writes go on. An "
        "interrupted build is begun again by the next run; parts that were finished stay."
    )
    item_name = "queries"
    max_cell_length = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--m", type=int, help="neighbours of a vector, 2 to 100; by default it is decided")
        parser.add_argument("--ef-construction", type=int, help="candidates for neighbours, 4 to 1000")
        parser.add_argument("--ef-search", type=int, help="candidates of a search, 1 to 1000")
        parser.add_argument("--queries", type=int, default=50, help="vectors to search with (default: 50)")
        parser.add_argument("--dry-run", action="store_true", help="only measure, and say what it would cost")
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")

    def handle(self, *, queries: int, dry_run: bool, format: str, **options: Any) -> None:
        wish = tune.Wish(options["m"], options["ef_construction"], options["ef_search"])
        check_ranges(asdict(wish) | {"queries": queries})
        if wish.m and wish.ef_construction and wish.ef_construction < 2 * wish.m:
            raise CommandError("--ef-construction must be twice --m at least.", returncode=EXIT_USAGE_ERROR)
        try:
            with tune.exclusive_tuning():
                self.follow(wish, queries, dry_run, format)
        except (AlreadyRunning, MaintenanceRefused, NoSpace, TableBusy) as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from None

    def follow(self, wish: tune.Wish, queries: int, dry_run: bool, format: str) -> None:
        plan = tune.read_plan()
        if wish.is_open and tune.is_tiny(plan.layout):
            self.report(plan, format, TINY.format(plan.layout.vectors))
            return
        for _ in self.track_progress(tune.sample(plan, queries), queries):
            pass
        if not plan.queries:
            raise CommandError(NO_QUERIES, returncode=EXIT_USAGE_ERROR)
        tune.decide(plan, wish)
        if plan.options is None:
            self.report(plan, format, plan.reason)
        elif dry_run:
            cost = estimate_cost(plan.layout, plan.options)
            self.report(plan, format, f"{plan.reason} {plan.options} would cost {cost}")
        else:
            self.rebuild(plan, plan.options, format, as_asked=wish.of_options)

    def rebuild(self, plan: tune.Plan, options: tune.Options, format: str, *, as_asked: bool) -> None:
        self.say(f"{plan.reason} Building {options}: {estimate_cost(plan.layout, options)}")
        self.item_name, self.done = "vectors", 0
        with self.show_progress(plan.layout.vectors):
            plan.expected = tune.rebuild(plan, options, self.show_built)
        if as_asked or tune.is_better(plan.before, plan.expected):
            swap(plan.layout, options)
            self.report(plan, format, f"The index is now built with {options}.")
            return
        drop_candidates(plan.layout)
        self.report(plan, format, f"{options} finds no more, so the index stays as it was.")
        raise CommandError("Nothing was changed.", returncode=EXIT_CHECK_FAILED)

    def show_built(self, done: int, total: int, what: str) -> None:
        self.set_total(total)
        self.advance(done - self.done)

    def say(self, text: str) -> None:
        self.stderr.write(text, lambda text: text)

    def report(self, plan: tune.Plan, format: str, result: str) -> None:
        """Print recall before and after, and what is left to do."""
        advice = describe_ef_search(plan)
        rows = [*describe(plan, plan.before, after=False), *describe(plan, plan.expected, after=True)]
        if format == "table":
            if rows:
                self.print_table(rows)
                self.stdout.write("\n")
            self.stdout.write(" ".join(filter(None, (result, advice))))
        else:
            state = {"vectors": plan.layout.vectors, "result": result, "advice": advice, "recall": rows}
            self.stdout.write(to_json(state, indent=2 if format == "json" else None).decode())


def check_ranges(values: dict[str, int | None]) -> None:
    """Raise CommandError for what pgvector would refuse."""
    for name, (least, most) in RANGES.items():
        value = values[name]
        if value is not None and not least <= value <= most:
            option = f"--{name.replace('_', '-')}"
            raise CommandError(f"{option} must lie in {least} to {most}.", returncode=EXIT_USAGE_ERROR)


def describe(plan: tune.Plan, recalls: list[Recall], *, after: bool) -> list[dict[str, Any]]:
    """Return a row for each kind of filter: the index, and the recall measured with it."""
    options = (plan.options or plan.layout.options) if after else plan.layout.options
    ef_search = plan.wanted_ef_search if after else plan.ef_search
    head = {"state": "after" if after else "before", **asdict(options), "ef_search": ef_search}
    return [{**head, "filter": each.kind} | describe_figures(each) for each in recalls]


def describe_figures(recall: Recall) -> dict[str, Any]:
    return {name: value for name, value in asdict(recall).items() if name != "kind"}


def describe_ef_search(plan: tune.Plan) -> str:
    """Return what makes the searches of every process as wide as was decided."""
    if plan.wanted_ef_search == plan.ef_search:
        return ""
    return f"Set HNSW_EF_SEARCH={plan.wanted_ef_search} in .env and restart the site: it holds for new connections."
