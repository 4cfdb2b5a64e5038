"""The addresses of the primary and its replicas: what a comma in them means."""

import pytest

from memory_site.settings import (
    Environment,
    SettingsError,
    build_replica_settings,
    parse_database_url,
    read_environment,
    split_database_urls,
)

ONE, OTHER = "postgresql://memory:secret@db2/memory", "postgres://memory:secret@db3:5433/memory?sslmode=require"
MANY_HOSTS = "postgresql://memory@db1:5432,db2:5433/memory?target_session_attrs=read-write"
SITE = {"REDIS_URL": "redis://broker", "SECRET_KEY": "s" * 50, "DATABASE_URL": "postgresql://db1/memory"}


@pytest.fixture
def set_variables(monkeypatch):
    def set_variables(**variables):
        for name in Environment.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("", []),
        (" , ", [","]),
        (ONE, [ONE]),
        (f"{ONE},{OTHER}", [ONE, OTHER]),
        (f" {ONE} ,\n  {OTHER} ", [ONE, OTHER]),
        (MANY_HOSTS, [MANY_HOSTS]),
        (f"{MANY_HOSTS},{ONE}", [MANY_HOSTS, ONE]),
        (f"{ONE},db4", [f"{ONE},db4"]),
    ],
)
def test_a_comma_before_a_scheme_separates_addresses_and_any_other_separates_hosts(text, addresses):
    assert split_database_urls(text) == addresses


def test_an_address_may_name_several_hosts():
    database = parse_database_url(MANY_HOSTS)
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db1,db2", "5432,5433", "memory")
    assert database["OPTIONS"] == {"target_session_attrs": "read-write"}


def test_a_replica_is_not_checked_before_each_request():
    """A frozen one would not answer the check, which nothing bounds."""
    replica = build_replica_settings(OTHER)
    assert (replica["HOST"], replica["PORT"], replica["CONN_HEALTH_CHECKS"]) == ("db3", "5433", False)
    assert replica["OPTIONS"]["sslmode"] == "require"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DATABASE_REPLICA_URLS": "db2"}, "DATABASE_REPLICA_URLS: must start with postgresql://"),
        ({"DATABASE_REPLICA_URLS": f"{ONE},{ONE}?no_such=1"}, "DATABASE_REPLICA_URLS: is not a PostgreSQL address"),
        ({"DATABASE_URL": f"{ONE},{OTHER}"}, "DATABASE_URL: is more than one address"),
        ({"DATABASE_REPLICA_MAX_LAG": "0"}, "DATABASE_REPLICA_MAX_LAG: "),
        ({"DEFAULT_CONSISTENCY": "weak"}, "DEFAULT_CONSISTENCY: must be one of strong, eventual"),
        ({"DATABASE_URL": "", "DATABASE_REPLICA_URLS": ONE}, "DATABASE_REPLICA_URLS needs DATABASE_URL"),
    ],
)
def test_wrong_addresses_are_named(set_variables, variables, message):
    set_variables(**SITE | variables)
    with pytest.raises(SettingsError) as error:
        read_environment()
    assert message in str(error.value)
    assert "secret" not in str(error.value)


def test_several_replicas_are_read(set_variables):
    set_variables(**SITE, DATABASE_REPLICA_URLS=f"{MANY_HOSTS}, {ONE}")
    assert split_database_urls(read_environment().database_replica_urls) == [MANY_HOSTS, ONE]
