"""The archive of PostgreSQL's write-ahead log (WAL): the program that PostgreSQL calls, and the settings of it."""
