"""Variables that are meant for this site and ignored are told, others are not."""

import pytest
from django.core.checks import run_checks

from memory_site.operations.unknown_settings import find_unknown_settings
from memory_site.settings import Environment
from tests.stack.stack import run_manage

#: What a shell, a container, Kubernetes and other programs set.
OTHERS = [
    *("PATH", "HOME", "LANG", "DISPLAY", "EDITOR", "PORT", "HOSTNAME", "PWD", "TERM", "LOGNAME", "XDG_DATA_DIRS", "TZ"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "VIRTUAL_ENV", "PYTHONPATH", "PGPASSWORD", "PGDATABASE", "DEBUG_COLORS"),
    *("DJANGO_SETTINGS_MODULE", "COMPOSE_PROJECT_NAME", "OLLAMA_HOST", "OLLAMA_MODELS_DIR", "OPENAI_ORGANIZATION"),
    *("REDIS_PORT", "REDIS_SERVICE_HOST", "WEB_CONCURRENCY", "SECRET", "CI", "GITHUB_TOKEN", "INGESTION_FOLDER"),
    *("MEMORY_URL", "MEMORY_KEY", "MEMORY_USER", "MEMORY_PROJECT", "MEMORY_RECALL"),
    *(name.upper() for name in Environment.model_fields),
]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("EMBEDER", "EMBEDDER"), ("DATABSE_URL", "DATABASE_URL"), ("ALLOWED_HOST", "ALLOWED_HOSTS")),
        *(("REDIS_URI", "REDIS_URL"), ("LOGLEVEL", "LOG_LEVEL"), ("WEB_WORKER", "WEB_WORKERS")),
        *(("ingestion_root", "INGESTION_ROOTS"), ("MEMORY_PG_HOSTS", "MEMORY_PG_HOST")),
        *(("MEMORY_PG_SSLMODE", None), ("EMBEDDING_BATCH_SIZE", None), ("MEMORY_LIMIT", None)),
        *(("POSTGRES_HOST", "MEMORY_PG_HOST"), ("POSTGRES_DB", "MEMORY_PG_DATABASE")),
        *(("POSTGRES_PASSWORD", "MEMORY_PG_PASSWORD"), ("MAHAVISHNU_PG_HOST", "MEMORY_PG_HOST")),
        *(("MAHAVISHNU_PG_DATABASE", "MEMORY_PG_DATABASE"), ("MAHAVISHNU_PG_POOL", None)),
    ],
)
def test_a_name_that_was_meant_for_the_site_is_found(name, meant):
    [found] = find_unknown_settings({name: "x"})
    assert found == (name.upper(), meant)
    assert str(found).startswith(f"{name.upper()} is set, but")
    assert str(found).endswith(f"did you mean {meant}?" if meant else ".")


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_are_not(name):
    assert find_unknown_settings({name: "x"}) == []


@pytest.mark.parametrize("variables", [{"EMBEDER": ""}, {"EMBEDER": None}, {"REDIS_URI": "x", "REDIS_URL": "x"}])
def test_a_blank_name_or_one_beside_the_right_one_is_not(variables):
    assert find_unknown_settings(variables) == []


@pytest.mark.parametrize("ours", ["DATABASE_URL", "MEMORY_PG_HOST"])
def test_settings_of_the_database_image_are_right_beside_our_own(ours):
    """docker-compose.yml needs POSTGRES_PASSWORD in .env."""
    assert find_unknown_settings({"POSTGRES_PASSWORD": "x", "POSTGRES_USER": "x", ours: "x"}) == []


def test_the_system_check_warns(monkeypatch):
    monkeypatch.setenv("POSTGRES_HOST", "db.example")
    [warning] = [each for each in run_checks() if each.id == "operations.W001"]
    assert warning.msg == "POSTGRES_HOST is set, but this site has no such setting: did you mean MEMORY_PG_HOST?"


@pytest.mark.parametrize(
    ("command", "told"), [(("check",), True), (("doctor",), True), (("counts",), False), (("health",), False)]
)
def test_check_and_doctor_tell_it_and_other_commands_do_not(command, told):
    environment = {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"}
    result = run_manage(*command, SECRET_KEY="s" * 50, MEMORY_TTL="3", **environment)
    assert ("MEMORY_TTL is set" in result.stdout + result.stderr) is told, result
