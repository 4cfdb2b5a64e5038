"""Decides how the index of the vectors is to be built and searched, and does it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from memories.search.recall import MIN_RECALL
from memories.search.scope_size import MIN_EXACT_ROWS
from memories.vacuum import BUSY, unlimited_time
from memory_site.core.leases.leases import hold_lease
from memory_site.operations.maintenance.run import VECTORS_LEASE, refuse_citus
from memory_site.operations.maintenance.vector_index import build
from memory_site.operations.maintenance.vector_index.layout import Layout, Options, read_ef_search, read_layout
from memory_site.operations.maintenance.vector_index.measure import Query, Recall, measure_recall, sample_queries

#: From so many vectors in the largest part on the index is built with these options at least.
OPTIONS_BY_SIZE = {0: Options(16, 128), 1_500_000: Options(16, 200), 5_000_000: Options(24, 200)}
#: What is tried when recall is short, from the cheapest on.
DENSER = (Options(16, 128), Options(16, 200), Options(24, 200), Options(32, 400))
WIDER = (200, 400, 800)
TOO_NARROW = f"Recall is below {MIN_RECALL}, and no wider search reaches it."
AS_DENSE_AS_KNOWN = " The index is as dense as is known to help; --m and --ef-construction try more."


@dataclass(frozen=True)
class Wish:
    """What the operator asks for; None: decide."""

    m: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None

    @property
    def of_options(self) -> bool:
        return self.m is not None or self.ef_construction is not None

    @property
    def is_open(self) -> bool:
        return not self.of_options and self.ef_search is None

    def apply(self, present: Options) -> Options:
        """Return the options asked for. pgvector wants twice as many candidates as neighbours at least: what was not
        given follows."""
        m = self.m or min(present.m, (self.ef_construction or present.ef_construction) // 2)
        return Options(m, self.ef_construction or max(present.ef_construction, 2 * m))


@dataclass
class Plan:
    """What is there, what was measured, and what is to be done: `options` None leaves the index as it is."""

    layout: Layout
    ef_search: int
    queries: list[Query] = field(default_factory=list)
    before: list[Recall] = field(default_factory=list)
    options: Options | None = None
    wanted_ef_search: int = 0
    expected: list[Recall] = field(default_factory=list)
    reason: str = ""


@contextmanager
def exclusive_tuning() -> Iterator[None]:
    """Keep other processes from rebuilding the index meanwhile. Raises AlreadyRunning and MaintenanceRefused."""
    refuse_citus()
    with hold_lease(VECTORS_LEASE, BUSY), unlimited_time():
        yield


def read_plan() -> Plan:
    layout, ef_search = read_layout(), read_ef_search()
    return Plan(layout, ef_search, wanted_ef_search=ef_search)


def is_tiny(layout: Layout) -> bool:
    """Return whether searches read all vectors instead of using the index, whatever it is like."""
    return layout.vectors <= MIN_EXACT_ROWS


def sample(plan: Plan, count: int) -> Iterator[None]:
    """Find the queries of the measurement and their exact answers. Yield after each."""
    for query in sample_queries(plan.layout.vectors, count):
        plan.queries.append(query)
        yield


def decide(plan: Plan, wish: Wish) -> None:
    """Measure the present state and decide what to do."""
    plan.before = measure_recall(plan.queries, plan.ef_search)
    plan.wanted_ef_search = wish.ef_search or plan.ef_search
    if wish.of_options:
        plan.options, plan.reason = wish.apply(plan.layout.options), "As asked."
    elif wish.ef_search is not None:
        plan.expected, plan.reason = measure_recall(plan.queries, wish.ef_search), "As asked."
    else:
        decide_by_recall(plan)


def decide_by_recall(plan: Plan) -> None:
    """Leave what is good. Else search wider, which takes no rebuild, if that suffices; else build denser."""
    if is_good(plan.before):
        plan.reason = f"Recall is {MIN_RECALL} or more: nothing is to be done."
        return
    for ef_search in (each for each in WIDER if each > plan.ef_search):
        recalls = measure_recall(plan.queries, ef_search)
        if is_good(recalls):
            plan.wanted_ef_search, plan.expected = ef_search, recalls
            plan.reason = f"Recall is below {MIN_RECALL}, and a wider search reaches it without a rebuild."
            return
    plan.options = choose_denser(plan.layout)
    plan.reason = TOO_NARROW if plan.options else TOO_NARROW + AS_DENSE_AS_KNOWN


def is_good(recalls: list[Recall]) -> bool:
    return all(recall.mean >= MIN_RECALL for recall in recalls)


def choose_denser(layout: Layout) -> Options | None:
    """Return the first options that are denser than the present ones, and dense enough for the size."""
    least = [options for size, options in OPTIONS_BY_SIZE.items() if layout.largest.vectors >= size][-1]
    present = layout.options
    for options in DENSER:
        is_denser = options.m >= present.m and options.ef_construction >= present.ef_construction and options != present
        if is_denser and options.m >= least.m and options.ef_construction >= least.ef_construction:
            return options
    return None


def is_better(before: list[Recall], after: list[Recall]) -> bool:
    """Return whether the worst kind of search finds more than before."""
    return min((recall.mean for recall in after), default=0) > min((recall.mean for recall in before), default=0)


def rebuild(plan: Plan, options: Options, report: build.Report) -> list[Recall]:
    """Build the candidates and return their recall, measured while the index is hidden. Raises NoSpace and
    TableBusy."""
    build.check_space(build.estimate_cost(plan.layout, options))
    build.build_candidates(plan.layout, options, report)
    return measure_recall(plan.queries, plan.wanted_ef_search, hidden=True)
