"""All metrics of the site together, in Prometheus's text format."""

import logging
from collections.abc import Iterator, Sequence

from django.conf import settings
from prometheus_client import Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from memory_site.core.metrics.counters import PREFIX, registry
from memory_site.core.metrics.totals import ProcessMetrics
from memory_site.operations.metrics import backups, database, maintenance, pitr, processes, store
from memory_site.operations.metrics.figures import COLLECTED, GAUGE, UP, Source, build_metrics, read_sources

log = logging.getLogger(__name__)
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
#: The health checks ask other programs too, and an archive may have many files: not for every scrape.
COSTLY_SECONDS = 30.0
#: The first one says whether the database is up.
SOURCES: Sequence[Source] = (
    Source("store", store.FIGURES, store.read_store),
    Source("database", database.FIGURES, database.read_database),
    Source("backups", backups.FIGURES, backups.read_backups),
    Source("maintenance", maintenance.FIGURES, maintenance.read_maintenance),
    Source("heartbeats", processes.HEARTBEAT_FIGURES, processes.read_heartbeats),
    Source("health", processes.HEALTH_FIGURES, processes.read_health, COSTLY_SECONDS),
    Source("pitr", pitr.FIGURES, pitr.read_pitr, COSTLY_SECONDS),
    Source("disks", processes.DISK_FIGURES, processes.read_disks),
    *([Source("replicas", processes.REPLICA_FIGURES, processes.read_replicas, 1)] if settings.REPLICAS else ()),
)
#: Those of replicas as well, which this site may not have.
ALL_FIGURES = (
    *(UP, COLLECTED, *store.FIGURES, *database.FIGURES, *backups.FIGURES, *pitr.FIGURES, *maintenance.FIGURES),
    *(*processes.HEARTBEAT_FIGURES, *processes.HEALTH_FIGURES, *processes.DISK_FIGURES, *processes.REPLICA_FIGURES),
)


class SiteMetrics:
    """What processes have counted and, in a web process, what the store knows, as a collector of the library."""

    def __init__(self, sources: Sequence[Source] = ()) -> None:
        self.sources = sources

    def collect(self) -> Iterator[Metric]:
        yield from build_metrics(read_sources(self.sources) if self.sources else ())
        try:
            yield from list(ProcessMetrics().collect())
        except OSError as error:
            log.warning("What processes count is missing in /metrics: %s", error)


def write_metrics(sources: Sequence[Source] = ()) -> bytes:
    return generate_latest(SiteMetrics(sources))


def list_metrics() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield name, type, labels and help of everything that `/metrics` may show, for the documentation."""
    for figure in ALL_FIGURES:
        yield f"{PREFIX}_{figure.name}", GAUGE, figure.labels, figure.text
    for collector in registry._collector_to_names:
        [metric] = collector.describe()  # type: ignore[attr-defined]
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        yield name, metric.type, tuple(collector._labelnames), metric.documentation  # type: ignore[attr-defined]
