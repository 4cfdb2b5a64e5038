"""The SQL page reads the store as a role that can do nothing else, whatever is typed."""

import re
import time

import psycopg
import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection

from memory_site.operations.sql_page import role, run
from memory_site.operations.sql_page.readable import list_readable_columns
from memory_site.operations.sql_page.run import SqlProblem, run_statement

#: Names of columns that give access, or may.
SECRET_NAMES = re.compile(r"password|secret|token|salt|(?<!content_)(?<!user_)\bdigest|^key_|session_data|otp")


@pytest.fixture(scope="module", autouse=True)
def reader(django_db_setup, django_db_blocker):
    """The role with its grants, committed: the page has a connection of its own."""
    with django_db_blocker.unblock():
        role.make_embedded_role(is_on=True)
        role.grant(role.EMBEDDED_ROLE)
        connection.close()
        yield
        role.make_embedded_role(is_on=False)
        connection.close()


@pytest.fixture(autouse=True)
def take_any_time(db, monkeypatch) -> None:
    limits = re.sub(r"'\d+s'", "'10min'", run.LIMITS_SQL)
    assert limits.count("'10min'") == 3
    monkeypatch.setattr(run, "LIMITS_SQL", limits)
    monkeypatch.setattr(run, "TIMEOUT_SECONDS", 600)


def run_refused(statement: str) -> str:
    with pytest.raises(SqlProblem) as caught:
        run_statement(statement)
    return str(caught.value)


def open_reader(**options: object) -> psycopg.Connection:
    return psycopg.connect(**role.get_address(), **options)


def test_rows_are_texts_with_the_names_of_their_columns():
    result = run_statement("SELECT 1 AS n, NULL AS nothing, 'a' AS n, ARRAY[1, 2], '{\"b\": 1}'::jsonb AS data;")
    assert result.columns == ["n", "nothing", "n", "array", "data"]
    assert (result.rows, result.is_cut) == ([("1", None, "a", "{1,2}", '{"b": 1}')], False)


@pytest.mark.parametrize(
    "statement",
    [
        "WITH few AS (SELECT generate_series(3, 1, -1) AS n) SELECT n FROM few ORDER BY n",
        "VALUES (1), (2), (3)",
        "SELECT n FROM generate_series(1, 3) n -- a comment",
        "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 ;\n ",
    ],
)
def test_every_kind_of_query_is_run(statement):
    assert run_statement(statement).rows == [("1",), ("2",), ("3",)]


def test_rows_and_cells_are_cut(monkeypatch):
    monkeypatch.setattr(run, "MAX_CELL_LENGTH", 10)
    result = run_statement("SELECT n, repeat('x', 50000) FROM generate_series(1, 100000) n", max_rows=150)
    assert (len(result.rows), result.is_cut, result.rows[0]) == (150, True, ("1", "x" * 10 + "…"))


def test_bytes_are_bounded(monkeypatch):
    monkeypatch.setattr(run, "MAX_RESULT_BYTES", 1000)
    result = run_statement("SELECT repeat('x', 100) FROM generate_series(1, 10000)", max_rows=5000)
    assert (len(result.rows), result.is_cut) == (run.FETCHED_ROWS, True)


def test_exactly_the_limit_is_not_cut():
    assert run_statement("SELECT generate_series(1, 100)", max_rows=100).is_cut is False


def test_a_long_statement_is_stopped(monkeypatch):
    assert role.TIMEOUT_SECONDS == 5
    monkeypatch.setattr(run, "LIMITS_SQL", f"{run.LIMITS_SQL}; SET LOCAL statement_timeout = '300ms'")
    assert run_refused("SELECT count(*) FROM generate_series(1, 10000000000)").startswith("The statement was stopped")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO memories_memory DEFAULT VALUES RETURNING 1",
        "DELETE FROM memories_memory RETURNING id",
        "UPDATE memories_memory SET content = 'x' RETURNING 1",
        "WITH gone AS (DELETE FROM memories_memory RETURNING id) SELECT * FROM gone",
        "MERGE INTO memories_memory USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE RETURNING 1",
        "SELECT * INTO stolen FROM memories_memory",
        "SELECT id FROM memories_memory FOR UPDATE",
        "SELECT id FROM memories_memory FOR SHARE",
        "CREATE TABLE x (y int)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "DROP TABLE memories_memory",
        "TRUNCATE memories_memory",
        "GRANT SELECT ON auth_user TO memory_site_reader",
        "ALTER ROLE memory_site_reader SUPERUSER",
        "SET ROLE memory",
        "RESET ROLE",
        "SET SESSION AUTHORIZATION memory",
        "SET statement_timeout = 0",
        "BEGIN",
        "COMMIT",
        "COPY memories_memory TO STDOUT",
        "COPY memories_memory TO PROGRAM 'sh'",
        "COPY (SELECT 1) TO '/tmp/x'",
        "COPY memories_memory FROM PROGRAM 'id'",
        "DO $$ BEGIN PERFORM 1; END $$",
        "CALL x()",
        "EXECUTE x",
        "PREPARE x AS SELECT 1",
        "DECLARE x CURSOR FOR SELECT 1",
        "FETCH 1 FROM x",
        "LISTEN x",
        "NOTIFY x",
        "LOCK TABLE memories_memory",
        "VACUUM",
        "SHOW data_directory",
        "EXPLAIN ANALYZE SELECT 1",
        "LOAD 'x'",
        "CHECKPOINT",
    ],
)
def test_nothing_but_a_query_is_run(statement):
    assert run_refused(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1; SELECT 2",
        "SELECT 1; COMMIT; DROP TABLE memories_memory",
        "SELECT 1) AS statement (c0); DROP TABLE memories_memory; --",
        "SELECT 1) AS statement (c0) UNION ALL SELECT 'x' --",
        "SELECT 1) s (c0), (SELECT 2",
        "SELECT 1 /*",
        "SELECT 1 $$",
        "SELECT '",
        'SELECT 1 AS "',
        "",
        " ; ",
        "-- only a comment",
        "SELECT\0 1",
        "SELECT '\ud800'",
        "SELECT 1 " + "-" * 10_001,
    ],
)
def test_one_whole_statement_is_run_and_no_other(statement):
    assert run_refused(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT digest FROM sessions_app_apikey",
        "SELECT * FROM sessions_app_apikey",
        "SELECT sessions_app_apikey FROM sessions_app_apikey",
        "SELECT to_jsonb(k) FROM sessions_app_apikey k",
        "SELECT count(digest) FROM sessions_app_apikey",
        "SELECT 1 FROM sessions_app_apikey ORDER BY digest",
        "SELECT body FROM sessions_app_idempotentanswer",
        "SELECT password FROM auth_user",
        "SELECT username FROM auth_user",
        "SELECT * FROM django_session",
        "SELECT * FROM django_admin_log",
        "SELECT statement FROM operations_sqlstatement",
        "SELECT rolpassword FROM pg_authid",
        "SELECT passwd FROM pg_shadow WHERE passwd IS NOT NULL",
        "SELECT subconninfo FROM pg_subscription",
        "SELECT * FROM pg_hba_file_rules",
        "SELECT current_setting('data_directory')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_read_binary_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT pg_stat_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT set_config('role', 'memory', true)",
        "SELECT set_config('statement_timeout', '0', false)",
        "SELECT query_to_xml('SELECT digest FROM sessions_app_apikey', true, false, '')",
        "SELECT pg_sleep(60)",
        "SELECT pg_sleep_for('1 minute')",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_xact_lock(1)",
        "SELECT pg_catalog.PG_Advisory_Lock(1)",
        'SELECT U&"pg_sl\\0065ep"(60)',
        "SELECT pg_terminate_backend(1)",
        "SELECT pg_logical_emit_message(false, 'x', 'x')",
        "SELECT pg_notify('x', 'y')",
        "SELECT nextval('graph_usertotal_id_seq')",
        "SELECT * FROM dblink('dbname=memory', 'SELECT 1') AS t (x int)",
    ],
)
def test_secrets_files_and_locks_are_out_of_reach(statement):
    assert run_refused(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT set_config('role', 'memory', true)",
        "SELECT digest FROM sessions_app_apikey",
        "SELECT query_to_xml('SELECT digest FROM sessions_app_apikey', true, false, '')",
        "SELECT password FROM auth_user",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "INSERT INTO graph_usertotal (namespace_id, user_id) VALUES (1, 'x')",
        "DELETE FROM memories_memory",
        "CREATE TABLE mine (x int)",
        "SELECT nextval('graph_usertotal_id_seq')",
        "ALTER ROLE memory_site_reader SUPERUSER",
        "SELECT lo_import('/etc/passwd')",
    ],
)
def test_the_role_alone_refuses_the_same_without_any_check_of_ours(statement):
    """What the page's own checks refuse is refused again by the database, in a transaction that may write."""
    with open_reader(autocommit=True) as reader, pytest.raises(psycopg.Error) as caught:
        reader.execute("SET default_transaction_read_only = off")
        reader.execute(statement)
    assert isinstance(caught.value, psycopg.errors.InsufficientPrivilege), caught.value


def test_what_is_not_secret_of_a_key_can_be_read():
    assert run_statement("SELECT id, namespace_id, name, scopes, last_used_at FROM sessions_app_apikey").rows == []
    assert run_statement("SELECT count(*) FROM memories_memory").rows == [("0",)]


def test_no_column_with_a_secret_name_is_readable():
    readable = {(table, column) for table, columns in list_readable_columns().items() for column in columns}
    assert {each for each in readable if SECRET_NAMES.search(each[1])} <= {
        ("ingestion_document", "digest"),
        ("insights_insight", "digest"),
        ("cleanup_inspection", "secrets"),  # the kinds of what looks like one
        ("cleanup_inspection", "secrets"),  # kinds of secrets, not the secrets
    }
    tables = {model._meta.db_table for model in apps.get_models() if model._meta.app_label in ("auth", "sessions")}
    assert tables.isdisjoint(list_readable_columns())


@pytest.mark.parametrize(
    ("grant", "revoke", "fault"),
    [
        ("GRANT SELECT (digest) ON sessions_app_apikey", "REVOKE SELECT (digest) ON sessions_app_apikey", "secrets"),
        ("GRANT UPDATE (name) ON sessions_app_apikey", "REVOKE UPDATE (name) ON sessions_app_apikey", "may write"),
        ("GRANT DELETE ON memories_memory", "REVOKE DELETE ON memories_memory", "may write"),
        ("GRANT SELECT ON auth_user", "REVOKE SELECT ON auth_user", "secrets"),
    ],
)
def test_a_role_with_a_right_too_many_is_not_used(grant, revoke, fault):
    with psycopg.connect(**connection.get_connection_params() | {"autocommit": True}) as owner:
        owner.execute(f"{grant} TO memory_site_reader")
        try:
            assert fault in run_refused("SELECT 1")
        finally:
            owner.execute(f"{revoke} FROM memory_site_reader")
    assert run_statement("SELECT 1").rows == [("1",)]


def test_the_sites_own_role_is_not_used(monkeypatch):
    known = {name: connection.settings_dict[name.upper()] for name in ("host", "port", "user", "password")}
    monkeypatch.setattr(run, "get_address", lambda: known | {"dbname": connection.settings_dict["NAME"]})
    assert run_refused("SELECT 1").startswith("The role of SQL_PAGE_DATABASE_URL is not used: it ")


def test_no_session_outlives_its_statement():
    assert run_refused("SELECT 1/0") == "division by zero"
    with connection.cursor() as cursor:
        for _ in range(600):
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'memory_site_reader'")
            if cursor.fetchone() == (0,):
                return
            time.sleep(0.1)
    pytest.fail("A session is left.")


def test_while_the_page_is_off_the_role_cannot_log_in():
    role.make_embedded_role(is_on=False)
    try:
        assert run_refused("SELECT 1").startswith("The database does not answer the SQL page: ")
    finally:
        role.make_embedded_role(is_on=True)


def test_the_password_of_the_role_is_kept_with_the_data():
    assert role.get_address()["password"] == settings.HOME.secret("sql_page")
    assert (
        "NOSUPERUSER" in role.describe_setup()[0] and settings.HOME.secret("sql_page") not in role.describe_setup()[0]
    )
