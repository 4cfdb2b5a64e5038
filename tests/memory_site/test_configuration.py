"""docker-compose.yml, .env.example and docs/configuration.md follow the settings class."""

import re
import subprocess
import sys

import pytest
import yaml
from django.conf import settings

from memory_site.settings import DEFAULT_MODELS, Environment

COMPOSE = yaml.safe_load((settings.BASE_DIR / "docker-compose.yml").read_text())
EXAMPLE = (settings.BASE_DIR / ".env.example").read_text()
VARIABLES = {name.upper(): field for name, field in Environment.model_fields.items()}
SERVICES = ("web", "worker", "beat")
#: Replaced by DATABASE_URL, or for embedded mode only.
NOT_IN_COMPOSE = {name for name in VARIABLES if name.startswith("MEMORY_PG_")} | {"DATA_DIR"}
#: Names of the compose file's own services, and the embedder that the image contains.
SET_BY_COMPOSE = {
    "DATABASE_URL": "postgresql://memory:${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD in .env}@postgres:5432/memory",
    "REDIS_URL": "redis://valkey:6379/0",
    "OLLAMA_BASE_URL": "${OLLAMA_BASE_URL:-http://ollama:11434}",
    "EMBEDDER": "${EMBEDDER:-ollama}",
    "BACKUP_DIR": "/backups",
    "PROMETHEUS_MULTIPROC_DIR": "/metrics",
}
#: Read by the SDK of OpenTelemetry, not by the settings.
PASSED_TO_OPENTELEMETRY = {
    f"OTEL_{name}"
    for name in ("EXPORTER_OTLP_HEADERS", "SERVICE_NAME", "RESOURCE_ATTRIBUTES", "TRACES_SAMPLER", "TRACES_SAMPLER_ARG")
}
COMPOSE_ONLY = {"POSTGRES_PASSWORD", "PORT", "INGESTION_FOLDER", "BACKUP_FOLDER"}


def example_lines() -> dict[str, str]:
    """Return the variables of .env.example with their example values."""
    found = re.findall(r"^# ([A-Z_]+)=([^\n#]*)", EXAMPLE, re.MULTILINE)
    assert len(found) == len(dict(found)), "a variable stands twice in .env.example"
    return {name: value.strip() for name, value in found}


@pytest.mark.parametrize("service", SERVICES)
def test_compose_passes_every_variable(service):
    assert set(COMPOSE["services"][service]["environment"]) == set(VARIABLES) - NOT_IN_COMPOSE | PASSED_TO_OPENTELEMETRY


@pytest.mark.parametrize("service", SERVICES)
def test_compose_repeats_no_default(service):
    environment = COMPOSE["services"][service]["environment"]
    for name, value in environment.items():
        if name == "SECRET_KEY":
            assert value.startswith("${SECRET_KEY:?")
        else:
            assert value == SET_BY_COMPOSE.get(name), f"{name} must have no value of its own"


def test_compose_pulls_the_default_model():
    assert COMPOSE["services"]["model"]["entrypoint"][-1] == f"${{OLLAMA_MODEL:-{DEFAULT_MODELS['ollama']}}}"


@pytest.mark.parametrize("service", SERVICES)
def test_compose_mounts_volumes_that_all_services_share(service):
    """For folders to ingest, for backups, and for what each process counts."""
    mounts = ["${INGESTION_FOLDER:-ingestion}:/ingest:ro", "${BACKUP_FOLDER:-backups}:/backups", "metrics:/metrics"]
    assert COMPOSE["services"][service]["volumes"] == mounts
    assert {"ingestion", "backups", "metrics"} <= set(COMPOSE["volumes"])


def test_the_example_names_every_variable():
    assert set(example_lines()) == set(VARIABLES) | COMPOSE_ONLY


def test_the_example_shows_the_defaults():
    shown = example_lines()
    for name, field in VARIABLES.items():
        if field.default not in (None, "", False) and shown[name]:
            assert shown[name] == str(field.default), name


def test_the_example_is_valid(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    lines = [line.removeprefix("# ") for line in EXAMPLE.splitlines() if re.match(r"# [A-Z_]+=", line)]
    example = tmp_path / ".env"
    example.write_text("\n".join(line for line in lines if not line.startswith("SECRET_KEY=")) + "\n")
    monkeypatch.setenv("SECRET_KEY", "s" * 50)
    read = Environment(_env_file=example)
    assert (read.pg_pool_size, read.memory_pg_host, read.embedding_model) == (8, "db.example", None)


def test_every_variable_is_in_the_documentation():
    script = settings.BASE_DIR / "docs/generate_configuration.py"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    page = (settings.BASE_DIR / "docs/configuration.md").read_text()
    assert [name for name in VARIABLES if f"| `{name}` |" not in page] == []
