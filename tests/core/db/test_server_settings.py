"""Settings of the server that are stored with the role."""

import pytest
from django.conf import settings
from django.db import connection
from django.db.utils import ConnectionHandler

from memory_site.core.db.server_settings import (
    SettingsNotStored,
    find_wrong_settings,
    is_pooled,
    read_stored_settings,
    store_settings,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def plain():
    """A connection that sends no settings, as through a pooler."""
    options = {**settings.DATABASES["default"]["OPTIONS"], "options": ""}
    database = {**connection.settings_dict, "OPTIONS": options}
    plain = ConnectionHandler({"default": database})["default"]
    yield plain
    plain.close()


def test_migrate_stores_them_and_they_are_in_force_without_being_sent(plain):
    assert read_stored_settings(connection) == settings.SERVER_SETTINGS
    assert find_wrong_settings(plain, settings.SERVER_SETTINGS) == []


def test_only_what_differs_is_stored(plain):
    assert store_settings(connection, settings.SERVER_SETTINGS) == []
    try:
        assert store_settings(connection, settings.SERVER_SETTINGS | {"hnsw.ef_search": "100"}) == ["hnsw.ef_search"]
        [wrong] = find_wrong_settings(plain, settings.SERVER_SETTINGS)
        assert str(wrong) == "hnsw.ef_search is 100 instead of 200"
    finally:
        assert store_settings(connection, settings.SERVER_SETTINGS) == ["hnsw.ef_search"]


def test_what_a_connection_sends_wins_over_what_is_stored():
    try:
        store_settings(connection, {"jit": "on"})
        connection.close()
        assert find_wrong_settings(connection, settings.SERVER_SETTINGS) == []
    finally:
        store_settings(connection, settings.SERVER_SETTINGS)


def test_what_a_role_may_not_store_is_told_with_the_statement_for_an_administrator():
    with pytest.raises(SettingsNotStored, match=r"permission denied.*ALTER ROLE \"memory\" IN .* \"log_min"):
        store_settings(connection, {"log_min_messages": "error"})
    assert read_stored_settings(connection) == settings.SERVER_SETTINGS


def test_a_direct_connection_is_known():
    assert not is_pooled(connection)
