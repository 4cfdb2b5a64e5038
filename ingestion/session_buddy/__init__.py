"""Exchange with the DuckDB files of Session-Buddy, which keeps reflections, conversations and insights of its own.

Only the command imports what stands here: it needs the package `duckdb`, which the server does without."""
