"""Slow statements, when the extension pg_stat_statements counts them.

The bundled PostgreSQL has no contrib modules, so that in embedded mode nothing counts statements.
"""

from collections.abc import Iterator

from django.conf import settings

from memory_site.operations.maintenance.findings import Finding, Severity, build_psql_command, fetch

#: Mean milliseconds from which a statement is slow, and how many are named.
MIN_MEAN_MS, MAX_NAMED = 100, 10
MAX_TEXT = 200

SELECT_STATE_SQL = """
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements'),
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements'),
       current_setting('pg_stat_statements.max', true) IS NOT NULL
"""
# The extension puts $1 in place of constants in these statements, so that no content is shown; not in others.
SELECT_SLOW_SQL = """
SELECT queryid::text, calls, mean_exec_time, total_exec_time / nullif(sum(total_exec_time) OVER (), 0),
       regexp_replace(query, '\\s+', ' ', 'g')
FROM {schema}.pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND userid = (SELECT oid FROM pg_roles WHERE rolname = current_user)
  AND query ~* '^\\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)'
ORDER BY total_exec_time DESC
"""
SELECT_SCHEMA_SQL = """
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'pg_stat_statements'
"""
EMBEDDED_ADVICE = "a server of your own with postgresql-contrib, named in DATABASE_URL"
SLOW_ADVICE = "see docs/operations/maintenance.md, Slow statements"
PRELOAD = "shared_preload_libraries = 'pg_stat_statements' in postgresql.conf, restart, then CREATE EXTENSION"


def find_slow_statements() -> Iterator[Finding]:
    """Yield the statements of the site's role that take the longest on average; the one that takes most time in all
    comes first. Or say how to have them counted."""
    is_created, is_available, is_loaded = fetch(SELECT_STATE_SQL)[0]
    if is_created and is_loaded:
        yield from list_slow()
        return
    if not is_available:
        mend = EMBEDDED_ADVICE if settings.EMBEDDED else "install the server's package postgresql-contrib"
    else:
        mend = build_psql_command("CREATE EXTENSION pg_stat_statements") if is_loaded else PRELOAD
    message = "pg_stat_statements is not there: slow statements are not counted."
    yield Finding(Severity.NOTE, "slow statements", "pg_stat_statements", message, mend)


def list_slow() -> Iterator[Finding]:
    [(schema,)] = fetch(SELECT_SCHEMA_SQL)
    rows = fetch(SELECT_SLOW_SQL.format(schema=schema))
    for number, calls, mean, share, text in [row for row in rows if row[2] >= MIN_MEAN_MS][:MAX_NAMED]:
        message = f"{mean:,.0f} ms on average, {calls:,} calls, {share or 0:.0%} of all time: {text[:MAX_TEXT]}"
        yield Finding(Severity.NOTE, "slow statement", number, message, SLOW_ADVICE)
