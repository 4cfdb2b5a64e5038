"""Dashboard, alerts and documentation name metrics that /metrics has, and the alerts fire when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from memory_site.core.metrics.counters import bounds
from memory_site.operations.metrics.exposition import list_metrics, write_metrics

MONITORING = settings.BASE_DIR / "docs/monitoring"
HERE = Path(__file__).parent
RULES = [rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
#: Of Prometheus itself.
FOREIGN = {"up"}
SELECTOR = re.compile(r"\b(memory_site_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r'(\w+)\s*[=!]~?\s*"')
#: Added by Prometheus, and by the buckets of a histogram.
ADDED_LABELS = {"job", "instance", "le"}
#: For those who look closer.
UNUSED = {
    *("memory_site_processes", "memory_site_process_threads", "memory_site_heartbeat_age_seconds"),
    *("memory_site_pool_connections", "memory_site_pitr_enabled"),
}
LABELS = {name: set(labels) for name, _, labels, _ in list_metrics()}
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed"
)


def get_base_name(name: str) -> str:
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return base if base in bounds else name


def list_expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def test_every_metric_of_dashboard_and_alerts_is_shown():
    for expression in list_expressions():
        for name, labels in SELECTOR.findall(expression):
            assert get_base_name(name) in LABELS, f"{name} in {expression}"
            assert set(LABEL.findall(labels)) <= LABELS[get_base_name(name)] | ADDED_LABELS, expression


def test_labels_that_texts_and_legends_show_exist():
    for rule in RULES:
        known = set().union(*(LABELS[get_base_name(name)] for name, _ in SELECTOR.findall(rule["expr"])), ADDED_LABELS)
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= known, rule["alert"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            names = [get_base_name(name) for name, _ in SELECTOR.findall(target["expr"])]
            known = set().union(*(LABELS[name] for name in names), ADDED_LABELS)
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known, panel["title"]


def test_everything_that_is_shown_is_in_the_dashboard_or_an_alert():
    used = {get_base_name(name) for expression in list_expressions() for name, _ in SELECTOR.findall(expression)}
    assert set(LABELS) - used == UNUSED


def test_each_alert_says_what_is_wrong_and_what_to_do():
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["action"]


def test_every_command_that_an_alert_names_exists():
    commands = {path.stem for path in settings.BASE_DIR.glob("**/management/commands/*.py")}
    named = {name for rule in RULES for name in re.findall(r"manage\.py (\w+)", rule["annotations"]["action"])}
    assert named <= commands


def test_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_documentation_has_the_table_of_all_metrics():
    page = (settings.BASE_DIR / "docs/operations/metrics.md").read_text()
    rows = re.findall(r"^\| `(memory_site_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert rows == [(name, kind, ", ".join(f"`{each}`" for each in labels) or "-", text)
                    for name, kind, labels, text in list_metrics()]  # fmt: skip


@needs_promtool
def test_names_and_texts_follow_the_conventions():
    run("promtool", "check", "metrics", input=write_metrics())


@needs_promtool
def test_the_rules_are_valid(tmp_path):
    """Prometheus parses the panels' expressions as well, as rules that record."""
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    expressions = [each.replace("$__rate_interval", "5m").replace("$job", "memory-site") for each in expressions]
    recorded = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    run("promtool", "check", "rules", "--lint=none", str(MONITORING / "alerts.yml"), str(tmp_path / "panels.yml"))


@needs_promtool
def test_alerts_fire_when_they_should_and_at_no_other_time(tmp_path):
    files = [MONITORING / "alerts.yml", HERE / "alerts_test.yml", HERE / "alerts_of_days_test.yml"]
    for file in files:
        shutil.copy(file, tmp_path)
    run("promtool", "test", "rules", *(file.name for file in files[1:]), cwd=tmp_path)
    tested = "".join(file.read_text() for file in files[1:])
    assert [rule["alert"] for rule in RULES if f'alertname="{rule["alert"]}"' not in tested] == []


def run(*command: str, **options) -> None:
    ended = subprocess.run(command, capture_output=True, timeout=120, **options)
    assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()
