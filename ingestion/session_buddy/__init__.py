"""Exchange with the DuckDB files of Session-Buddy, which has reflections, conversations and insights.

Only the command `session_buddy` imports this package: it needs `duckdb`, which the server does not."""
