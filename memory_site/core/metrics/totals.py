"""Add up what all processes of the machine have counted, as metrics for the exposition."""

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

from prometheus_client import Metric
from prometheus_client.utils import INF, floatToGoString

from memory_site.core.metrics.counters import bounds, registry
from memory_site.core.metrics.directory import BILLIONTHS, Totals, add
from memory_site.core.metrics.values import get_directory

Labels = tuple[tuple[str, str], ...]
#: Values in billionths, by name of the sample and its labels.
Samples = dict[tuple[str, Labels], int]
GAUGE, HISTOGRAM = "gauge", "histogram"
MAX_PARSED_KEYS = 50_000
BUCKET_LABEL = "le"


class ProcessMetrics:
    """What processes count, as a collector of the library. Raises OSError if the directory cannot be read."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all processes; without a shared directory, those of this one."""
        directory = get_directory()
        if directory is None:
            yield from registry.collect()
            return
        ended, living = directory.read()
        totals: Totals = {}
        for each in living:
            add(totals, each)
        samples = group_by_metric(totals, ended)
        for metric in registry.collect():
            yield build_metric(metric, samples[metric.name])


@lru_cache(MAX_PARSED_KEYS)
def parse_key(key: str) -> tuple[str, str, Labels]:
    """Return metric, sample and labels; no metric for a key of a damaged file."""
    try:
        metric, sample, labels, _ = json.loads(key)
        return metric, sample, tuple(labels.items())
    except (ValueError, TypeError, AttributeError):
        return "", "", ()


def group_by_metric(living: Totals, ended: Totals) -> defaultdict[str, Samples]:
    """Sum values of the same labels. A process that has ended says nothing in a gauge any more."""
    gauges = {metric.name for metric in registry.collect() if metric.type == GAUGE}
    samples: defaultdict[str, Samples] = defaultdict(lambda: defaultdict(int))
    for values, is_ended in ((living, False), (ended, True)):
        for key, value in values.items():
            metric, sample, labels = parse_key(key)
            if not (is_ended and metric in gauges):
                samples[metric][sample, labels] += value
    return samples


def build_metric(declared: Metric, samples: Samples) -> Metric:
    """Return the metric with these samples, and with 0 for those that are declared and were never counted."""
    metric = Metric(declared.name, declared.documentation, declared.type)
    for each in declared.samples:
        samples.setdefault((each.name, tuple(sorted(each.labels.items()))), 0)
    if declared.type == HISTOGRAM:
        add_histogram(metric, samples)
        return metric
    for (name, labels), value in samples.items():
        metric.add_sample(name, dict(labels), value / BILLIONTHS)
    return metric


def add_histogram(metric: Metric, samples: Samples) -> None:
    """Add the samples of a histogram. The files have the number of each bucket alone, and of empty buckets none."""
    sums = f"{metric.name}_sum"
    for labels in sorted({labels for name, labels in samples if name == sums}):
        counted = 0
        for bound in (*map(float, bounds[metric.name]), INF):
            le = (BUCKET_LABEL, floatToGoString(bound))
            counted += samples.get((f"{metric.name}_bucket", tuple(sorted((*labels, le)))), 0)
            metric.add_sample(f"{metric.name}_bucket", dict((*labels, le)), counted / BILLIONTHS)
        metric.add_sample(f"{metric.name}_count", dict(labels), counted / BILLIONTHS)
        metric.add_sample(sums, dict(labels), samples[sums, labels] / BILLIONTHS)
