"""Recovery to a moment: base backups and an archive of the write-ahead log, by which the database of any time returns.

The truth is on disk: `base/` and `wal/` in the archive, and what PostgreSQL says of itself. No table of the database
belongs to it, because it has to work when there is no database.
"""
