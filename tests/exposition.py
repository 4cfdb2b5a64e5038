"""Reads Prometheus's text format as Prometheus does."""

from prometheus_client.parser import text_string_to_metric_families


def read_samples(text: str) -> dict[str, float]:
    """Return the values by sample as it is written, with its labels in alphabetical order."""
    families = text_string_to_metric_families(text)
    return {write_sample(sample.name, sample.labels): sample.value for each in families for sample in each.samples}


def write_sample(name: str, labels: dict[str, str]) -> str:
    pairs = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}" if pairs else name
